"""The index of a pipeline's folder: which class it is, and which parts it has. Read before any library is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xserve_engine.launch import BAD_DEFINITION, BAD_WEIGHTS, NO_WEIGHTS, Refusal

INDEX = "model_index.json"


def read_index(folder: Path, *, remote_code: bool) -> dict[str, Any]:
    """What the folder holds. Refuses one that is no pipeline, and code in it that may not run."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise Refusal(NO_WEIGHTS, f"The weights are no pipeline of diffusers: {folder} has no {INDEX}.") from None
    except (OSError, ValueError) as error:
        raise Refusal(BAD_WEIGHTS, f"{folder / INDEX} cannot be read: {error}.") from None
    if not isinstance(index, dict) or "_class_name" not in index:
        raise Refusal(BAD_WEIGHTS, f"{folder / INDEX} does not name the pipeline's class.")
    if code := None if remote_code else _own_code(folder, index):
        sentence = "The weights come with code of their own, which may not run here unless the administrator allows it"
        raise Refusal(BAD_DEFINITION, f"{sentence}: {code}.")
    return index


def _own_code(folder: Path, index: dict[str, Any]) -> Path | None:
    """A file that the library would run: of the pipeline's class, or of a part's."""
    named = index["_class_name"]
    if isinstance(named, list):
        return folder / f"{named[0]}.py"
    parts = ((name, part[0]) for name, part in index.items() if isinstance(part, list) and part)
    return next((path for name, library in parts if (path := folder / name / f"{library}.py").is_file()), None)
