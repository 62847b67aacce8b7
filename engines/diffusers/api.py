"""The paths of the engine: pictures from words, from pictures, and within a mask.

Answers always hold the pictures themselves (`b64_json`); turning them into links is the daemon's part. How far a
request is, `GET /progress?request_id=...` tells while it is under way. What is asked of each path:

    /v1/images/generations   JSON: words
    /v1/images/variations    form: a picture and words
    /v1/images/inpainting    form: a picture, `mask_image` and words
    /v1/images/edits         form: a picture (or several) and words; with a `mask`, or where the picture itself is
                             transparent, only there
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator, Mapping
from typing import Any

from painting import paint
from pictures import Picture, encode, is_transparent, read_picture
from planning import Plan, Planner
from settings import Settings
from wishes import Wish, members_of_form, read_wish
from xserve_engine.form import File, Form, parse_form
from xserve_engine.host import Work
from xserve_engine.wire import Handler, HttpError, Reply, Request

PICTURES = ("image", "images", "image[]", "images[]")  # names under which clients send them
MASKS = ("mask_image", "mask")


class Departed(Exception):
    """The client is gone; nobody wants the rest."""


class Api:
    """Reads requests, has them painted in turn, and answers."""

    def __init__(self, planner: Planner, settings: Settings, defaults: Mapping[str, Any], work: Work) -> None:
        self.planner = planner
        self.settings = settings
        self.work = work
        self.defaults = defaults
        self.shares: dict[str, float] = {}  # done, of the requests under way, by their id

    def routes(self) -> dict[str, Handler]:
        """The handler of each path that is asked by POST."""
        return {
            "/v1/images/generations": self.generate,
            "/v1/images/variations": self.vary,
            "/v1/images/edits": self.edit,
            "/v1/images/inpainting": self.inpaint,
        }

    async def progress(self, request: Request, reply: Reply) -> None:
        """How far a request is: a share from 0 to 1."""
        share = self.shares.get(request.query.get("request_id", ""))
        if share is None:
            raise HttpError(404, "No request with this request_id is under way.")
        await reply.json({"progress": share})

    async def generate(self, request: Request, reply: Reply) -> None:
        """Pictures from words."""
        self._check_queue()
        await self._answer(reply, self._wish("text2image", request, request.json()))

    async def vary(self, request: Request, reply: Reply) -> None:
        """Pictures from a picture."""
        form, pictures = await self._uploads(request)
        await self._answer(reply, self._wish("image2image", request, members_of_form(form), pictures))

    async def inpaint(self, request: Request, reply: Reply) -> None:
        """A picture repainted within a mask."""
        form, pictures = await self._uploads(request)
        mask = await self._read(form.file(*MASKS))
        await self._answer(reply, self._wish("inpainting", request, members_of_form(form), pictures, mask))

    async def edit(self, request: Request, reply: Reply) -> None:
        """A picture changed: within the mask if there is one, within its transparent part if it has one, or all."""
        form, pictures = await self._uploads(request)
        mask = await self._read(form.file(*MASKS)) if any(form.files.get(name) for name in MASKS) else None
        if mask is None and is_transparent(pictures[0]):
            mask = pictures[0]
        task = "inpainting" if mask else "image2image"
        await self._answer(reply, self._wish(task, request, members_of_form(form), pictures, mask))

    def _wish(self, task: str, request: Request, members: Mapping[str, Any], *uploads: Any) -> Wish:
        """The wish; the daemon names each request in a header, whether its client did or not."""
        name = request.headers.get("x-request-id")
        return read_wish(task, {**members, "request_id": name} if name else members, self.defaults, *uploads)

    def _check_queue(self) -> None:
        if self.work.running >= self.settings.options["max_queue"]:
            raise HttpError(429, f"{self.work.running} requests wait already; try again later.", "rate_limit_error")

    async def _uploads(self, request: Request) -> tuple[Form, tuple[Picture, ...]]:
        """The form, and the pictures in it, at least one. Raises `HttpError` 400."""
        self._check_queue()
        form = parse_form(request.headers.get("content-type", ""), request.body)
        files = [file for name in PICTURES for file in form.files.get(name, ())] or [form.file(*PICTURES)]
        if len(files) > self.settings.options["max_images"]:
            raise HttpError(400, f"At most {self.settings.options['max_images']} images are taken, not {len(files)}.")
        return form, tuple([await self._read(file) for file in files])

    async def _read(self, file: File) -> Picture:
        """Beside the loop: a large file takes a while to decode."""
        return await asyncio.to_thread(read_picture, file, self.settings.options["max_side"])

    async def _answer(self, reply: Reply, wish: Wish) -> None:
        plan = await asyncio.to_thread(self.planner.plan, wish)
        drawn: list[str] = []
        try:
            async with self.work.steps(lambda left: self._paint(plan, wish, left)) as batches:
                async for batch in batches:
                    drawn += batch
        finally:
            self.shares.pop(wish.request_id, None)
        await reply.json({"created": int(time.time()), "data": [{"b64_json": picture} for picture in drawn]})

    def _paint(self, plan: Plan, wish: Wish, left: threading.Event) -> Generator[list[str], None, None]:
        def report(share: float) -> None:
            if left.is_set():
                raise Departed
            if wish.request_id:
                self.shares[wish.request_id] = share

        report(0)
        for batch in paint(plan, report):
            yield [encode(picture, wish.file) for picture in batch]
