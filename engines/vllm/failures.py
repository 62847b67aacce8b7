"""What vLLM says when it cannot start, as sentences; and which of it can never change.

vLLM refuses flags through argparse and configurations through pydantic, both before a process is started or memory
is taken. Those refusals depend on nothing but the parameters, so they are final. What fails later, in its engine core
(memory that is not free, a driver), may go better another time and stays an ordinary crash, with its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator
from typing import NoReturn

from xserve_engine.launch import BAD_OPTION, BAD_WEIGHTS, Refusal

TERMINATED = 143  # exit code of a SIGTERM that came as the model loaded
OF_WEIGHTS = re.compile(r"architecture|config\.json|checkpoint|tokenizer|quantization", re.IGNORECASE)


@contextlib.contextmanager
def told_by_vllm() -> Iterator[None]:
    """Turn what vLLM refuses into a `Refusal`, and a SIGTERM while it loads into an orderly exit."""
    argparse.ArgumentParser.error = _refuse_flag  # type: ignore[method-assign]
    try:
        yield
    except KeyboardInterrupt:  # what vLLM makes of SIGTERM until it serves
        raise SystemExit(TERMINATED) from None
    except (ValueError, TypeError, KeyError, NotImplementedError, OSError) as error:
        raise _refusal(error) from error


def _refuse_flag(_: argparse.ArgumentParser, message: str) -> NoReturn:
    """In place of argparse's usage text and exit code 2."""
    raise Refusal(BAD_OPTION, f"vLLM does not take this: {_sentence(message)}")


def _refusal(error: Exception) -> Refusal:
    message = _reason(error)
    code = BAD_WEIGHTS if OF_WEIGHTS.search(message) else BAD_OPTION
    return Refusal(code, f"vLLM cannot serve this: {_sentence(message)}")


def _reason(error: Exception) -> str:
    """The error's words; of pydantic's list the first, without its wrapping."""
    errors = getattr(error, "errors", None)
    if callable(errors) and (listed := errors()):
        return str(listed[0].get("msg", error)).removeprefix("Value error, ")
    return str(error)


def _sentence(message: str) -> str:
    text = " ".join(message.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
