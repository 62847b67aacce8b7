"""From a wish to a plan: the pipeline that serves it, and the arguments of its call.

All tasks are served from one set of loaded components. The library knows which class of the family does which task;
`from_pipe` makes it around the same components at no cost. What is guided by a ControlNet, edits by nature or was
trained for repainting only needs a picture even to draw from words alone; it then gets an empty canvas.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image
from parameters import read_parameters
from pictures import Picture, Size, fit, mask_of, on_white, pad
from PIL import Image
from schedulers import make_scheduler
from settings import Settings
from wishes import MOST_SEED, Wish
from xserve_engine.wire import HttpError

FAMILIES = {
    "text2image": AutoPipelineForText2Image,
    "image2image": AutoPipelineForImage2Image,
    "inpainting": AutoPipelineForInpainting,
}
SIDE, STEP = 1024, 8  # of a pipeline that does not say: its usual side, and what sides are multiples of


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is needed to paint."""

    pipeline: Any
    arguments: Mapping[str, Any]  # of its call, the same for every batch
    seeds: tuple[int, ...]  # one per picture
    batch: int  # most pictures at once
    scheduler: Callable[[], Any] | None  # makes a fresh one; None: the pipeline has none to choose
    adapter: int | None  # number of the LoRA adapter
    original: Picture | None = None  # kept where the mask is black
    mask: Picture | None = None
    crop: Size | None = None  # what is left of the pictures; None: all


class Planner:
    """Makes plans for one loaded pipeline."""

    def __init__(self, pipeline: Any, settings: Settings, defaults: Mapping[str, Any]) -> None:
        """Raises `HttpError` if the option `scheduler` names none."""
        self.base = pipeline
        self.settings = settings
        self.defaults = defaults
        self.adapters = {name: number for number, name in enumerate(settings.adapters)}
        self.made: dict[str, Any] = {}
        self.size = usual_size(pipeline)
        scheduler = getattr(pipeline, "scheduler", None)
        self.scheduler = scheduler and (dict(scheduler.config), type(scheduler))
        self._scheduler(None)

    def plan(self, wish: Wish) -> Plan:
        """How to serve the wish. Raises `HttpError` 400 with a sentence where that cannot be."""
        self._check(wish)
        pipeline = self.pipeline(wish.task)
        taken = inspect.signature(pipeline.__call__).parameters
        drawn = self._pictures(wish, pipeline, taken)
        size = drawn["image"].size if "image" in drawn else wish.size
        asked = read_parameters(wish.settings, self.settings.options["max_steps"])
        for name in asked:
            if name not in taken:
                raise HttpError(400, f"{type(pipeline).__name__} takes no {name}.")
        arguments: dict[str, Any] = {name: value for name, value in self.defaults.items() if name in taken} | asked
        if size and {"width", "height"} <= taken.keys():
            arguments |= dict(zip(("width", "height"), size, strict=True))
        return Plan(
            pipeline=pipeline,
            arguments={"prompt": wish.prompt, **arguments, **self._named(drawn, taken)},
            seeds=_seeds(wish),
            batch=self.settings.options["batch_size"] if "num_images_per_prompt" in taken else 1,
            scheduler=self._scheduler(wish.scheduler),
            adapter=self.adapters.get(wish.model),
            original=drawn["image"] if wish.mask else None,
            mask=drawn.get("mask_image"),
            crop=wish.pictures[0].size if wish.multiple and not wish.size and wish.pictures else None,
        )

    def _check(self, wish: Wish) -> None:
        abilities, options = self.settings.abilities, self.settings.options
        if abilities and wish.task not in abilities:
            can = ", ".join(sorted(abilities))
            raise HttpError(400, f"The model's definition does not have the ability {wish.task}; it has: {can}.")
        if wish.count > options["max_images"]:
            raise HttpError(400, f"n may be at most {options['max_images']} here, not {wish.count}.")
        if wish.size and max(wish.size) > options["max_side"]:
            raise HttpError(400, f"No side may have more than {options['max_side']} pixels here.")

    def pipeline(self, task: str) -> Any:
        """The pipeline for the task. Raises `HttpError` 400 if this family has none."""
        if task not in self.made:
            self.made[task] = self._make(task)
        return self.made[task]

    def _make(self, task: str) -> Any:
        guided = "controlnet" in self.base.components
        if (guided and task != "inpainting") or (task == "text2image" and is_special(self.base)):
            return self.base
        try:
            return FAMILIES[task].from_pipe(self.base)
        except ValueError:
            if "image" in inspect.signature(self.base.__call__).parameters and task != "inpainting":
                return self.base  # it edits by nature
            if task == "text2image":
                return self.base
        raise HttpError(400, f"{type(self.base).__name__} has no pipeline for {task}.")

    def _pictures(self, wish: Wish, pipeline: Any, taken: Mapping[str, Any]) -> dict[str, Any]:
        """The pictures that the call gets, at the size at which it is to draw."""
        if not wish.pictures:
            return self._canvas(wish, taken) if pipeline is self.base else {}
        step = granularity(pipeline)
        prepare = partial(_prepare, wish=wish, step=step)
        first, *others = (prepare(on_white(picture), fill="white") for picture in wish.pictures)
        if others and pipeline is not self.base:
            raise HttpError(400, f"{type(pipeline).__name__} takes one image, not {len(wish.pictures)}.")
        if max(first.size) > self.settings.options["max_side"]:
            raise HttpError(400, f"No side may have more than {self.settings.options['max_side']} pixels here.")
        drawn: dict[str, Any] = {"image": first}
        if wish.mask:
            drawn["mask_image"] = prepare(mask_of(wish.mask.resize(wish.pictures[0].size)), fill="black")
        return drawn | ({"others": others} if others else {})

    def _canvas(self, wish: Wish, taken: Mapping[str, Any]) -> dict[str, Any]:
        """An empty picture, for a pipeline that cannot do without one."""
        needy = "image" in taken or "control_image" in taken
        if not needy:
            return {}
        size = fit(wish.size or self.size, granularity(self.base))
        guided = "controlnet" in self.base.components
        canvas = {"image": Image.new("RGB", size, "black" if guided else "white")}
        return canvas | ({"mask_image": Image.new("L", size, "white")} if "mask_image" in taken else {})

    def _named(self, drawn: dict[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
        """The pictures under the names that the call has for them."""
        named = dict(drawn)
        if others := named.pop("others", None):
            named["image"] = [named["image"], *others]
        if "image" in named and "control_image" in taken and "image" not in taken:
            named["control_image"] = named.pop("image")
        return named

    def _scheduler(self, name: str | None) -> Callable[[], Any] | None:
        """What makes the scheduler: of the request, else of the deployment, else as it came with the weights."""
        name = name or self.settings.options["scheduler"]
        if self.scheduler is None:
            if name:
                raise HttpError(400, f"{type(self.base).__name__} has no scheduler to choose.")
            return None
        make = partial(make_scheduler, name, *self.scheduler)
        try:
            make()
        except ValueError as error:
            raise HttpError(400, f"{str(error).rstrip('.')}.") from None
        return make


def _prepare(picture: Picture, wish: Wish, step: int, fill: str) -> Picture:
    """Padded or brought to size, and rounded down to what can be drawn."""
    if wish.multiple:
        picture = pad(picture, wish.multiple, fill)
    size = fit(wish.size or picture.size, step)
    method = Image.Resampling.NEAREST if picture.mode == "L" else Image.Resampling.LANCZOS
    return picture if picture.size == size else picture.resize(size, method)


def _seeds(wish: Wish) -> tuple[int, ...]:
    first = secrets.randbelow(2**32) if wish.seed is None else wish.seed
    return tuple((first + number) % MOST_SEED for number in range(wish.count))


def is_special(pipeline: Any) -> bool:
    """Whether the denoiser was trained to see more than noise: a picture to repaint or to edit."""
    unet, vae = (getattr(pipeline, name, None) for name in ("unet", "vae"))
    if unet is None or vae is None:
        return False
    return bool(unet.config.in_channels != vae.config.latent_channels)


def granularity(pipeline: Any) -> int:
    """What sides must be multiples of."""
    processor = getattr(pipeline, "image_processor", None)
    return int(processor.config.vae_scale_factor) if processor else STEP


def usual_size(pipeline: Any) -> Size:
    """The size that the model was trained at, as far as it says."""
    unet = getattr(pipeline, "unet", None)
    sample = getattr(unet.config, "sample_size", None) if unet else None
    side = sample * pipeline.vae_scale_factor if isinstance(sample, int) else SIDE
    return side, side
