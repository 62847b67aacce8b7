"""How the engine diffusers starts: what definitions and options do, what is refused, and what scarce memory does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import Starter
from .drawing import STEPS, SUBJECT, VARY, distance, drawn, generate, looks, make_things, refusal, run, square, upload
from .harness import Engine

pytestmark = [*SUBJECT.marks(), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a LoRA adapter and a ControlNet for the model."""
    return make_things(tmp_path_factory.mktemp("things"))


@pytest.fixture
def patient(request: pytest.FixtureRequest) -> None:
    """For tests that start the engine with all its libraries once more."""
    if not request.config.getoption("--long", None):
        pytest.skip("starts a heavy engine: --long")


# What is declared


@pytest.mark.usefixtures("patient")
def test_a_definition_without_an_ability_does_not_serve_it(start: Starter) -> None:
    engine = start(SUBJECT, definition={"model_ability": ["text2image"], "default_generate_config": {"n": 2, **STEPS}})
    engine.wait_ready()
    assert len(generate(engine)) == 2  # a default of requests
    assert "does not have the ability image2image" in refusal(*upload(engine, VARY, {"image": square("red")}))


@pytest.mark.usefixtures("patient")
def test_a_controlnet_guides_every_picture(start: Starter, things: Path) -> None:
    declared = [{"model_name": "lines", "model_uri": f"file://{things / 'control'}"}]
    engine = start(SUBJECT, definition={"controlnet": declared}, options={"controlnet": "lines"})
    engine.wait_ready()
    assert "StableDiffusionControlNetPipeline" in engine.text()
    asked = {"prompt": "a red square", "seed": 0}
    white, black = (Image.new("RGB", (64, 64), colour) for colour in ("white", "black"))
    (by_white,), (by_black,) = (drawn(engine, VARY, {"image": picture}, **asked) for picture in (white, black))
    assert distance(by_white, by_black) > 0
    (unguided,) = generate(engine, **asked)
    assert distance(unguided, by_black) == 0
    (off,) = drawn(engine, VARY, {"image": white}, **asked, controlnet_conditioning_scale=0)
    assert distance(off, by_white) > 0


def test_loading_takes_what_the_definition_says(start: Starter) -> None:
    config = {"torch_dtype": "torch.bfloat16", "safety_checker": False, "vae_slicing": True, "attention_slicing": True}
    engine = start(
        SUBJECT, definition={"default_model_config": config}, options={"scheduler": "Euler", "vae_tiling": True}
    )
    engine.wait_ready()
    assert "torch.bfloat16" in engine.text()
    assert looks(generate(engine, seed=0)[0]) == "red"


def last_words(engine: Engine, code: int) -> str:
    """The last line of an engine that ended with this code."""
    assert engine.end() == code, engine.text()
    return engine.text().splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"definition": {"default_model_config": {"torch_dtyp": "float32"}}}, 78, "Did you mean torch_dtype?"),
        ({"definition": {"default_model_config": {"custom_pipeline": "x"}}}, 78, "no member custom_pipeline"),
        ({"definition": {"default_model_config": {"dtype": "float8"}}}, 78, "dtype must be one of"),
        ({"definition": {"default_generate_config": {"guidence_scale": 1}}}, 78, "Did you mean guidance_scale?"),
        ({"definition": {"default_generate_config": {"size": "big"}}}, 78, "size must be written"),
        ({"options": {"batch_size": 0}}, 64, "batch_size must be a whole number from 1 on"),
        ({"options": {"controlnet": "lines"}}, 64, "declares no controlnet lines"),
        ({"launch": {"lora": [{"name": "a", "path": "/no/such/adapter"}]}}, 66, "/no/such/adapter"),
    ],
)
def test_a_start_that_can_never_work_is_told_why(
    start: Starter, changes: dict[str, Any], code: int, words: str
) -> None:
    assert words in last_words(start(SUBJECT.but(definition={"default_generate_config": {}}), **changes), code)


@pytest.mark.parametrize(
    ("index", "code", "words"),
    [
        (None, 66, "has no model_index.json"),
        ("{", 65, "cannot be read"),
        ('{"unet": []}', 65, "does not name the pipeline's class"),
        ('{"_class_name": ["pipeline", "Mine"]}', 78, "code of their own"),
        ('{"_class_name": "DiffusionPipeline", "unet": ["mine", "Unet"]}', 78, "unet/mine.py"),
    ],
)
def test_a_folder_that_is_no_pipeline_is_refused(
    start: Starter, tmp_path: Path, index: str | None, code: int, words: str
) -> None:
    folder = tmp_path / "weights"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "mine.py").write_text("raise SystemExit('this must not run')")
    if index:
        (folder / "model_index.json").write_text(index)
    assert words in last_words(start(SUBJECT, weights=str(folder)), code)


# Scarce memory


def test_a_batch_for_which_there_is_no_room_is_halved() -> None:
    seen = json.loads(run("scarce.py", "7", "4", "2", "1", "0"))
    assert [one["tried"] for one in seen] == [[4, 3], [4, 2, 2, 2, 1], [4, 2, 1, 1, 1, 1, 1, 1, 1], [4, 2, 1]]
    assert [one["drawn"] for one in seen] == [[*range(7)]] * 3 + [[]]
    assert [one["refusal"] for one in seen[:3]] == [""] * 3
    assert "ask for a smaller one" in seen[3]["refusal"]
