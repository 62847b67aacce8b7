"""What vLLM says when it cannot start, as sentences; and which of it can never change.

vLLM refuses flags through argparse and configurations through pydantic, both before a process is started or memory
is taken. Those refusals depend on nothing but the parameters, so they are final. What fails later, in its engine core
(memory that is not free, a driver), may go better another time and stays an ordinary crash, unless it is the weights
that are told to be wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from causes import first_cause
from xserve_engine.launch import BAD_OPTION, BAD_WEIGHTS, Refusal

CRASHED = 1  # exit code of what may go better another time
TERMINATED = 143  # exit code of a SIGTERM that came as the model loaded
OF_WEIGHTS = re.compile(r"architecture|checkpoint|tokenizer|quantization", re.IGNORECASE)
DAMAGED = re.compile(
    r"not initialized from checkpoint|no module or parameter named|size mismatch|safetensor", re.IGNORECASE
)


@contextlib.contextmanager
def told_by_vllm(errors: Path) -> Iterator[None]:
    """Turn what vLLM refuses into a `Refusal`, and a SIGTERM while it loads into an orderly exit.

    `errors` is where its engine core tells of its errors. The last line on stderr is a sentence in any case.
    """
    usual = argparse.ArgumentParser.error
    argparse.ArgumentParser.error = _refuse_flag  # type: ignore[method-assign]
    try:
        yield
    except KeyboardInterrupt:  # what vLLM makes of SIGTERM until it serves
        raise SystemExit(TERMINATED) from None
    except (ValueError, TypeError, KeyError, NotImplementedError, OSError) as error:
        raise _refusal(error) from error
    except RuntimeError as error:
        raise _failure(error, *first_cause(errors)) from error
    finally:
        argparse.ArgumentParser.error = usual  # type: ignore[method-assign]


def _refuse_flag(_: argparse.ArgumentParser, message: str) -> NoReturn:
    """In place of argparse's usage text and exit code 2."""
    raise Refusal(BAD_OPTION, f"vLLM does not take this: {_sentence(message)}")


def _refusal(error: Exception) -> Refusal:
    message = _reason(error)
    code = BAD_WEIGHTS if OF_WEIGHTS.search(message) else BAD_OPTION
    return Refusal(code, f"vLLM cannot serve this: {_sentence(message)}")


def _failure(error: RuntimeError, name: str, words: str) -> Refusal | SystemExit:
    """What a failure of the engine core comes to."""
    if DAMAGED.search(f"{name} {words}"):
        return Refusal(BAD_WEIGHTS, f"vLLM cannot load the weights: {_sentence(words)}")
    traceback.print_exception(error)
    print(f"vLLM could not start: {_sentence(words or str(error))}", file=sys.stderr, flush=True)
    return SystemExit(CRASHED)


def _reason(error: Exception) -> str:
    """The error's words; of pydantic's list the first, without its wrapping."""
    errors = getattr(error, "errors", None)
    if callable(errors) and (listed := errors()):
        return str(listed[0].get("msg", error)).removeprefix("Value error, ")
    return str(error) or type(error).__name__


def _sentence(message: str) -> str:
    text = " ".join(message.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
