"""The engine diffusers draws what it is asked for, and just what the library itself would draw.

The model knows a square of a colour on grey (`scripts/models/tiny-sd.py`); the library's own pictures are made by
`library/draw.py`, with the engine's interpreter.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .drawing import (
    COLOURS,
    EDIT,
    GENERATE,
    INPAINT,
    STEPS,
    SUBJECT,
    VARY,
    distance,
    drawn,
    file_of,
    generate,
    left_half,
    looks,
    make_things,
    refusal,
    run,
    square,
    text_of,
    upload,
)
from .harness import Connection, Engine, until

pytestmark = [*SUBJECT.marks(), pytest.mark.timeout(600)]  # the library needs its time on a busy machine


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a LoRA adapter and a ControlNet for the model."""
    return make_things(tmp_path_factory.mktemp("things"))


@pytest.fixture(scope="module")
def engine(things: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One engine for all tests that do it no harm."""
    subject = SUBJECT.but(launch={"lora": [{"name": "style.v1", "path": str(things / "lora")}]})
    with Engine(subject, tmp_path_factory.mktemp("engine")) as started:
        started.wait_ready()
        yield started


# Words


@pytest.mark.parametrize("colour", COLOURS)
def test_a_picture_shows_what_its_prompt_says(engine: Engine, colour: str) -> None:
    (picture,) = generate(engine, f"a {colour} square", seed=0)
    assert picture.size == (64, 64)
    assert looks(picture) == colour


def test_a_picture_changes_with_its_seed_and_not_without(engine: Engine) -> None:
    one, again, other = (generate(engine, seed=seed)[0] for seed in (1, 1, 2))
    assert distance(one, again) == 0
    assert distance(one, other) > 0


def test_pictures_without_a_seed_differ(engine: Engine) -> None:
    assert distance(*generate(engine, n=2)) > 0
    assert distance(generate(engine)[0], generate(engine, seed=-1)[0]) > 0


def test_several_pictures_have_seeds_that_follow_each_other(engine: Engine) -> None:
    """Also beyond one batch, of which five pictures make two. Batches round a little differently."""
    several = generate(engine, n=5, seed=7)
    assert len(several) == 5
    for number, picture in enumerate(several):
        (alone,) = generate(engine, seed=7 + number)
        assert distance(picture, alone) <= 3


@pytest.mark.parametrize("size", ["96x64", "96*64"])
def test_a_size_is_width_by_height(engine: Engine, size: str) -> None:
    assert generate(engine, size=size)[0].size == (96, 64)


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_the_file_has_the_format_that_was_asked_for(engine: Engine, kind: str, magic: bytes) -> None:
    answer = engine.post(GENERATE, prompt="a red square", output_format=kind)
    assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(magic)


def test_a_request_overrules_the_definitions_defaults(engine: Engine) -> None:
    usual, same, other = (
        generate(engine, seed=3, **steps)[0] for steps in ({}, STEPS, {"num_inference_steps": 2, "guidance_scale": 1})
    )
    assert distance(usual, same) == 0
    assert distance(usual, other) > 0


def test_further_parameters_may_come_as_json_text(engine: Engine) -> None:
    """As Xinference's clients send them, with a size beside that nobody chose."""
    kwargs = json.dumps({"seed": 4, "width": 64, "height": 64, "num_inference_steps": 3})
    (one,) = generate(engine, size="1024*1024", response_format="url", kwargs=kwargs)
    (other,) = generate(engine, seed=4, num_inference_steps=3)
    assert distance(one, other) == 0


def test_what_openais_clients_send_beside_is_no_error(engine: Engine) -> None:
    assert generate(engine, quality="standard", style="vivid", user="me", size="auto", stream=False)


@pytest.mark.parametrize("name", ["Euler a", "DPM++ 2M Karras", "UniPC", "PNDM", "HeunDiscreteScheduler", "LCM"])
def test_a_scheduler_can_be_named(engine: Engine, name: str) -> None:
    (usual,), (other,) = (generate(engine, seed=5, **more) for more in ({}, {"scheduler": name}))
    assert distance(usual, other) > 0
    (again,) = generate(engine, seed=5, sampler_name=name)
    assert distance(other, again) == 0
    assert distance(usual, generate(engine, seed=5)[0]) == 0  # it holds for that request alone


# Pictures


def test_a_variation_keeps_more_of_its_picture_the_less_its_strength_is(engine: Engine) -> None:
    weak, strong = (
        drawn(engine, VARY, {"image": square("red")}, prompt="a blue square", seed=0, strength=strength)[0]
        for strength in (0.2, 1)
    )
    assert looks(weak) == "red"
    assert looks(strong) == "blue"


def test_a_variation_has_its_pictures_size_unless_another_is_asked_for(engine: Engine) -> None:
    files = {"image": square("red", (96, 64))}
    assert drawn(engine, VARY, files)[0].size == (96, 64)
    assert drawn(engine, VARY, files, size="64x96")[0].size == (64, 96)
    assert drawn(engine, VARY, files, size="original")[0].size == (96, 64)


def test_a_size_that_cannot_be_drawn_is_rounded_down_or_padded_and_cut(engine: Engine) -> None:
    files = {"image": square("red", (93, 70))}
    assert drawn(engine, VARY, files)[0].size == (88, 64)
    assert drawn(engine, VARY, files, kwargs='{"padding_image_to_multiple": 16}')[0].size == (93, 70)


def test_forms_hold_numbers_as_text_and_empty_fields(engine: Engine) -> None:
    files = {"image": square("red")}
    fields = {"prompt": "a blue square", "negative_prompt": "", "size": "", "response_format": "url"}
    (one,) = drawn(engine, VARY, files, n="1", seed="3", strength="0.5", **fields)
    (other,) = drawn(engine, VARY, files, **fields, kwargs='{"seed": 3, "strength": 0.5}')
    assert distance(one, other) == 0


@pytest.mark.parametrize("name", ["mask_image", "mask"])
def test_what_a_mask_leaves_out_keeps_its_very_pixels(engine: Engine, name: str) -> None:
    """Also those that are finer than what the model can give back."""
    original = Image.effect_noise((64, 64), 80).convert("RGB")
    files = {"image": original, name: left_half(255, 0)}
    (picture,) = drawn(engine, INPAINT, files, prompt="a green square", seed=0)
    assert distance(picture.crop((32, 0, 64, 64)), original.crop((32, 0, 64, 64))) == 0
    assert looks(picture, (12, 12, 28, 52)) == "green"


def test_an_edit_with_a_mask_repaints_where_the_mask_is_transparent_or_white(engine: Engine) -> None:
    original = square("red")
    transparent = left_half((0, 0, 0, 0), (0, 0, 0, 255), "RGBA")
    cut = original.convert("RGBA")
    cut.putalpha(left_half(0, 255))
    asked = {"prompt": "a green square", "seed": 0}
    by_white, by_hole = (
        drawn(engine, EDIT, {"image": original, "mask": mask}, **asked)[0] for mask in (left_half(255, 0), transparent)
    )
    assert distance(by_white, by_hole) == 0
    assert looks(by_white, (12, 12, 28, 52)) == "green"
    (by_itself,) = drawn(engine, EDIT, {"image": cut}, **asked)
    assert looks(by_itself, (12, 12, 28, 52)) == "green"
    assert distance(by_itself.crop((32, 0, 64, 64)), original.crop((32, 0, 64, 64))) == 0


@pytest.mark.parametrize("name", ["image", "image[]", "images", "images[]"])
def test_an_edit_without_a_mask_changes_the_whole_picture(engine: Engine, name: str) -> None:
    asked = {"prompt": "a blue square", "seed": 0, "strength": 0.9}
    (edited,) = drawn(engine, EDIT, {name: square("red")}, **asked)
    assert looks(edited) == "blue"
    assert distance(edited, drawn(engine, VARY, {"image": square("red")}, **asked)[0]) == 0


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_pictures_are_taken_in_the_usual_formats(engine: Engine, kind: str) -> None:
    file = io.BytesIO()
    square("red").save(file, kind)
    (picture,) = drawn(engine, VARY, {"image": file.getvalue()}, prompt="a red square", strength=0.3)
    assert looks(picture) == "red"


# Equal to the library


def test_pictures_are_the_librarys_own(engine: Engine, things: Path) -> None:
    words = {"prompt": "a yellow square", "negative_prompt": "red", "num_inference_steps": 6, "guidance_scale": 4}
    red, mask = square("red"), left_half(255, 0)
    cases = [
        {"kind": "Text2Image", "seeds": [11], "arguments": words},
        {"kind": "Text2Image", "seeds": [11, 12, 13], "arguments": words},
        {"kind": "Image2Image", "seeds": [21], "arguments": {**words, "strength": 0.7}, "image": text_of(red)},
        {
            "kind": "Inpainting",
            "seeds": [31],
            "arguments": {**words, "strength": 0.9, "width": 64, "height": 64},
            "image": text_of(red),
            "mask_image": text_of(mask),
        },
        {"kind": "Text2Image", "seeds": [41], "arguments": words, "lora": str(things / "lora")},
        {"kind": "Text2Image", "seeds": [41], "arguments": words},
    ]
    theirs = [
        [Image.open(io.BytesIO(base64.b64decode(one))) for one in case]
        for case in json.loads(run("draw.py", given=cases))
    ]
    ours = [
        generate(engine, **words, seed=11),
        generate(engine, **words, seed=11, n=3),
        drawn(engine, VARY, {"image": red}, **words, seed=21, strength=0.7),
        drawn(engine, INPAINT, {"image": red, "mask_image": mask}, **words, seed=31, strength=0.9),
        generate(engine, **words, seed=41, model="style.v1"),
        generate(engine, **words, seed=41),
    ]
    theirs[3] = [
        Image.composite(theirs[3][0], red, mask)
    ]  # what is masked out is kept, of which the library knows nothing
    for mine, expected in zip(ours, theirs, strict=True):
        assert [distance(a, b) for a, b in zip(mine, expected, strict=True)] == [0] * len(expected)
    assert distance(ours[4][0], ours[5][0]) > 0  # the adapter did something


# Progress, turns and departures


def progress(engine: Engine, name: str) -> float | None:
    status, answer = engine.ask("GET", f"/progress?request_id={name}")
    return json.loads(answer)["progress"] if status == 200 else None


def test_progress_rises_while_a_request_is_under_way(engine: Engine) -> None:
    assert progress(engine, "p1") is None
    body = {"prompt": "a red square", "request_id": "p1", "num_inference_steps": 60, "n": 5}
    request = threading.Thread(target=lambda: engine.post(GENERATE, **body))
    request.start()
    seen: list[float] = []
    while request.is_alive():
        if (share := progress(engine, "p1")) is not None:
            seen.append(share)
    request.join()
    assert seen == sorted(seen)
    assert len(set(seen)) > 2
    assert 0 <= seen[0] < 0.5 < seen[-1] <= 1
    assert progress(engine, "p1") is None


def test_an_id_may_come_in_the_header_or_among_further_parameters(engine: Engine) -> None:
    for header, member in (("p2", {}), (None, {"kwargs": '{"request_id": "p2"}'})):
        body = {"model": "served", "prompt": "a", "num_inference_steps": 500, **member}
        connection = Connection(engine.socket)
        connection.request("POST", GENERATE, json.dumps(body), {"x-request-id": header} if header else {})
        until(lambda: progress(engine, "p2"), "some of it was done")
        connection.close()
        until(lambda: engine.busy() == 0, "the departed client's work ended")
        assert progress(engine, "p2") is None


def test_a_request_whose_client_leaves_before_its_turn_is_never_begun(engine: Engine) -> None:
    body = {"model": "served", "prompt": "a red square", "num_inference_steps": 500}
    first = engine.send("POST", GENERATE, {**body, "n": 10, "request_id": "first"})
    until(lambda: progress(engine, "first"), "the first one began")
    second = engine.send("POST", GENERATE, {**body, "request_id": "second"})
    until(lambda: engine.busy() == 2, "the second one waits")
    assert progress(engine, "second") is None
    second.close()
    first.close()
    until(lambda: engine.busy() == 0, "both ended")
    assert looks(generate(engine)[0]) == "red"


# What is refused


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"size": "large"}, "size must be written as 512x512"),
        ({"size": "0x64"}, "size must be written as 512x512"),
        ({"size": "9999x64"}, "more than 2048 pixels"),
        ({"size": "63x64"}, "refuses this"),
        ({"width": 64}, "height must be a whole number"),
        ({"n": 0}, "n must be a whole number"),
        ({"n": 11}, "n may be at most 10"),
        ({"n": "two"}, "n must be a whole number"),
        ({"seed": -2}, "seed must be"),
        ({"seed": 2**63}, "seed must be"),
        ({"num_inference_steps": 501}, "at most 500"),
        ({"num_inference_steps": 0}, "num_inference_steps must be from 1"),
        ({"num_inference_steps": True}, "num_inference_steps must be a whole number"),
        ({"guidance_scale": "high"}, "guidance_scale must be a number"),
        ({"guidance": 3}, "Did you mean guidance_scale?"),
        ({"strength": 0.5}, "StableDiffusionPipeline takes no strength"),
        ({"latents": [0]}, "There is no parameter latents"),
        ({"scheduler": "Eular"}, "did you mean Euler?"),
        ({"stream": True}, "not streamed"),
        ({"prompt": None}, "There must be a prompt"),
        ({"prompt": ["a"]}, "prompt must be a text"),
        ({"kwargs": "{"}, "kwargs must be the text of a JSON object"),
        ({"response_format": "gif"}, "response_format must be"),
        ({"output_format": "gif"}, "output_format must be"),
    ],
)
def test_a_request_that_cannot_be_is_told_why(engine: Engine, body: dict[str, Any], words: str) -> None:
    status, answer = engine.ask("POST", GENERATE, {"model": "served", "prompt": "a", **body})
    assert words in refusal(status, json.loads(answer))


def claiming(width: int, height: int) -> bytes:
    """A PNG file that claims to have so many pixels, and has none."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    pieces = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "cannot be read"),
        (b"no picture", "cannot be read"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "cannot be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "cannot be read"),
        (file_of(Image.effect_noise((64, 64), 50))[:900], "cannot be read"),
        (claiming(100_000, 100_000), "too many pixels"),
        (claiming(12_000, 10_000), "12000x10000 pixels"),
        (claiming(64, 2049), "64x2049 pixels"),
    ],
    ids=["empty", "text", "svg", "postscript", "cut short", "a bomb", "large", "just too high"],
)
def test_an_upload_that_is_no_picture_is_told_so(engine: Engine, file: bytes, words: str) -> None:
    assert words in refusal(*upload(engine, VARY, {"image": file}))
    assert words in refusal(*upload(engine, INPAINT, {"image": square("red"), "mask_image": file}))


def test_what_is_missing_in_a_form_is_named(engine: Engine) -> None:
    assert "file named image" in refusal(*upload(engine, VARY, {}))
    assert "file named mask_image" in refusal(*upload(engine, INPAINT, {"image": square("red")}))
    status, answer = engine.ask("POST", VARY, {"model": "served"})
    assert "multipart/form-data" in refusal(status, json.loads(answer))


def test_several_pictures_are_refused_where_one_is_all_that_counts(engine: Engine) -> None:
    assert "takes one image, not 2" in refusal(*upload(engine, EDIT, {"image[]": [square("red"), square("blue")]}))
