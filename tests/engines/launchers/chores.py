"""Models that behave in every way that a model may, and in some that it should not."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import sys
import time
from pathlib import Path

from xserve_engine.flexible import FlexibleModelSpec, WrongInput


@dataclasses.dataclass
class Point:
    x: float
    y: float


class Plain:
    """Not derived from anything: `infer` is all that a model needs."""

    def infer(self, what: str, *rest: object, **named: object) -> object:
        """Do what the first argument says."""
        return getattr(self, what)(*rest, **named)

    def echo(self, *rest: object, **named: object) -> object:
        return {"args": rest, "named": named}

    def values(self) -> object:
        import numpy
        import torch
        from PIL import Image

        return {
            "array": numpy.arange(4, dtype="float32").reshape(2, 2),
            "number": numpy.int64(7),
            "tensor": torch.tensor([1.5, 2.5], dtype=torch.bfloat16, requires_grad=True),
            "picture": Image.new("RGB", (2, 1), "red"),
            "bytes": b"\x00\xff",
            "point": Point(1.0, float("nan")),
            "day": datetime.date(2026, 1, 2),
            "labels": {1: "one", 2: ("two", {"set"})},
        }

    def formless(self) -> object:
        return object()

    def wrong(self) -> object:
        raise WrongInput("The colour must be red.")

    def broken(self) -> object:
        return {}["missing"]

    def leave(self) -> object:
        sys.exit(3)

    def stop(self) -> object:
        raise StopIteration

    def wait(self, file: str) -> object:
        """Run until the file is there, as a long computation would."""
        Path(f"{file}.begun").touch()
        while not Path(file).exists():
            time.sleep(0.01)
        return "done"

    def count(self, numbers: int, closed: str = "", fail_at: int = -1) -> object:
        """Count in a stream; the file `closed` tells that the generator was closed."""
        try:
            for number in range(numbers):
                if number == fail_at:
                    raise RuntimeError("lost count")
                yield {"number": number}
        finally:
            if closed:
                Path(closed).touch()


class Asynchronous:
    """A coroutine, which can be cancelled at whatever it awaits."""

    async def infer(self, file: str) -> str:
        """Wait for ever, and leave a mark when cancelled; or answer at once."""
        if not file:
            return "at once"
        try:
            Path(f"{file}.begun").touch()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            Path(file).touch()
            raise
        return "never"


class Pieces:
    """An asynchronous generator."""

    async def infer(self, text: str):
        """The words, one by one."""
        for word in text.split():
            await asyncio.sleep(0)
            yield word


def plain(model_uid: str, model_spec: FlexibleModelSpec) -> Plain:
    """Takes no arguments."""
    return Plain()


def asynchronous(model_uid: str, model_spec: FlexibleModelSpec) -> Asynchronous:
    return Asynchronous()


def pieces(model_uid: str, model_spec: FlexibleModelSpec) -> Pieces:
    return Pieces()


def nothing(model_uid: str, model_spec: FlexibleModelSpec) -> object:
    """Returns something that is no model."""
    return object()


def unloadable(model_uid: str, model_spec: FlexibleModelSpec) -> object:
    """Needs a package that nobody has."""
    import no_such_package

    return no_such_package


def spec(model_uid: str, model_spec: FlexibleModelSpec, **arguments: object) -> Plain:
    """Answers with what it was launched with."""
    model = Plain()
    model.infer = lambda: {  # type: ignore[method-assign]
        "uid": model_uid,
        "spec": model_spec,
        "parsed": model_spec.parser_args(),
        "arguments": arguments,
    }
    return model
