"""Why vLLM's engine core could not start.

The core and its workers are processes of their own. What the server hears of their failure is only that there was one;
the cause is in their log. So they are made to write their errors to a file as well, by the logging configuration that
vLLM reads in every process that it starts: its own, and one handler more.
"""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path

CONFIGURATION = "VLLM_LOGGING_CONFIG_PATH"
LARGEST = 64 * 1024  # bytes of the file, and of one older part: errors go on being written while the model serves
# How a traceback ends: the exception's name, and what it says.
RAISED = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception)): (.+)$", re.MULTILINE)


def keep_errors(folder: Path) -> Path:
    """Have the processes that vLLM starts from now on write their errors to the file returned, too."""
    from vllm.logger import DEFAULT_LOGGING_CONFIG

    errors, configuration = folder / "errors.txt", folder / "logging.json"
    errors.unlink(missing_ok=True)
    if CONFIGURATION in os.environ:
        return errors  # somebody has other plans with the log
    config = copy.deepcopy(DEFAULT_LOGGING_CONFIG)
    config["formatters"]["bare"] = {"format": "%(message)s"}
    config["handlers"]["errors"] = {
        "class": "logging.handlers.RotatingFileHandler",
        "formatter": "bare",
        "level": "ERROR",
        "filename": str(errors),
        "maxBytes": LARGEST,
        "backupCount": 1,
        "delay": True,
    }
    config["loggers"]["vllm"]["handlers"].append("errors")
    configuration.write_text(json.dumps(config), encoding="utf-8")
    os.environ[CONFIGURATION] = str(configuration)
    return errors


def first_cause(errors: Path) -> tuple[str, str]:
    """Name and words of the exception that was raised first; the others followed from it. Empty where none is told."""
    try:
        found = RAISED.search(errors.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return "", ""
    return (found[1], found[2]) if found else ("", "")
