"""What is told of weights without loading them, and for how long it is believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xserve.core.desired import Weights
from xserve.files import weights
from xserve.files.weights import WeightsIndex

MARK = (23).to_bytes(8, "little") + b"tokenizer.chat_template"


@pytest.mark.parametrize(
    "before", [0, 1, weights._BLOCK_BYTES - 20, weights._BLOCK_BYTES, 3 * weights._BLOCK_BYTES - 5]
)
def test_a_template_is_found_wherever_it_stands_in_the_metadata(tmp_path: Path, before: int) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF" + bytes(before) + MARK + b"{{ x }}")

    assert WeightsIndex()(str(file), "ggufv2") == Weights("file", chat_template=True)


@pytest.mark.parametrize("rest", [b"", MARK[:-1], MARK[1:]])
def test_without_a_template_none_is_told(tmp_path: Path, rest: bytes) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF" + rest)

    assert WeightsIndex()(str(file), "ggufv2") == Weights("file", chat_template=False)


def test_a_template_beyond_the_metadata_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_METADATA_BYTES", weights._BLOCK_BYTES)
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF" + bytes(weights._BLOCK_BYTES) + MARK)

    assert WeightsIndex()(str(file), "ggufv2").chat_template is False


def test_a_file_that_changes_is_read_again_and_one_that_does_not_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, look, reads = tmp_path / "x.gguf", WeightsIndex(), []
    inspect = weights._inspect_gguf
    monkeypatch.setattr(weights, "_inspect_gguf", lambda path: (reads.append(path), inspect(path))[1])
    file.write_bytes(b"GGUF")
    answers = [look(str(file), "ggufv2") for _ in range(3)]
    file.write_bytes(b"GGUF" + MARK)
    answers.append(look(str(file), "ggufv2"))

    assert [each.chat_template for each in answers] == [False, False, False, True]
    assert len(reads) == 2


def test_a_tokenizer_config_that_is_written_late_is_noticed(tmp_path: Path) -> None:
    """Copying fills it in place, which leaves no trace in the directory's own times."""
    config, look = tmp_path / "tokenizer_config.json", WeightsIndex()
    config.touch()
    before = look(str(tmp_path), "pytorch")
    directory = os.stat(tmp_path)
    config.write_text('{"chat_template": "{{ x }}"}')

    assert os.stat(tmp_path).st_mtime_ns == directory.st_mtime_ns
    assert (before.chat_template, look(str(tmp_path), "pytorch").chat_template) == (False, True)


def test_trouble_in_reading_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, look = tmp_path / "x.gguf", WeightsIndex()
    file.write_bytes(b"GGUF" + MARK)

    def refused(path: Path) -> Weights:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(weights, "_inspect_gguf", refused)
        assert look(str(file), "ggufv2").trouble == f"cannot read {file}: Permission denied"

    assert look(str(file), "ggufv2") == Weights("file", chat_template=True)


@pytest.mark.parametrize(
    ("make", "model_format", "said"),
    [
        (lambda path: path.write_bytes(b"GGU"), "ggufv2", "is not a GGUF file"),
        (lambda path: path.mkdir(), "ggufv2", "is a directory"),
        (os.mkfifo, "pytorch", "neither a file nor a directory"),
    ],
    ids=["short", "directory", "pipe"],
)
def test_what_cannot_be_weights_is_told(tmp_path: Path, make, model_format: str, said: str) -> None:
    path = tmp_path / "weights"
    make(path)

    assert said in WeightsIndex()(str(path), model_format).trouble


def test_what_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    assert WeightsIndex()(str(tmp_path / "none"), "ggufv2") == Weights("")


def test_a_directory_tells_what_it_holds(tmp_path: Path) -> None:
    look = WeightsIndex()
    (tmp_path / "config.json").touch()
    assert look(str(tmp_path), "pytorch").names == frozenset({"config.json"})
    (tmp_path / "model.bin").touch()
    assert look(str(tmp_path), "pytorch").names == frozenset({"config.json", "model.bin"})
