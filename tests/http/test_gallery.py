"""Generated images: found by whoever knows the name, and never more of them than the limits say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from xserve.http.gallery import MEDIA, Gallery, GalleryLimits, NoRoomError

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 92  # 100 bytes


@pytest.mark.parametrize(
    ("image", "ending", "kind"),
    [
        (PNG, ".png", "image/png"),
        (b"\xff\xd8\xff\xe0", ".jpg", "image/jpeg"),
        (b"RIFF....WEBP", ".webp", "image/webp"),
        (b"GIF89a", ".gif", "image/gif"),
        (b"<svg onload='alert(1)'>", ".bin", "application/octet-stream"),
    ],
)
async def test_an_image_is_found_as_what_it_is(image, ending, kind):
    gallery = Gallery()
    name = await gallery.keep(image)
    assert name.endswith(ending)
    assert await gallery.find(name) == (image, kind)
    assert kind in MEDIA


async def test_names_have_128_bits_and_never_repeat():
    gallery = Gallery()
    names = {await gallery.keep(PNG) for _ in range(50)}
    assert len(names) == 50
    assert all(len(name) == len("0" * 32 + ".png") for name in names)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "0" * 32 + ".png", "/etc/passwd"])
async def test_nothing_else_is_found(name):
    gallery = Gallery()
    await gallery.keep(PNG)
    assert await gallery.find(name) is None


@pytest.mark.parametrize("limits", [GalleryLimits(bytes=250), GalleryLimits(images=2)])
async def test_the_oldest_make_room(limits):
    gallery = Gallery(limits)
    first, second, third = [await gallery.keep(PNG) for _ in range(3)]
    assert await gallery.find(first) is None
    assert (await gallery.find(second), await gallery.find(third)) == ((PNG, "image/png"),) * 2
    assert len(list(gallery._folder.iterdir())) == 2


async def test_an_image_that_never_fits_is_refused_and_costs_no_other():
    gallery = Gallery(GalleryLimits(bytes=100))
    name = await gallery.keep(PNG)
    with pytest.raises(NoRoomError, match="101 bytes"):
        await gallery.keep(PNG + b"x")
    assert await gallery.find(name) is not None


async def test_an_image_that_makes_room_while_it_is_written_leaves_no_file(monkeypatch):
    gallery = Gallery()

    async def overtaken(write, image):
        gallery._drop(next(iter(gallery._sizes)))
        return write(image)

    monkeypatch.setattr("asyncio.to_thread", overtaken)
    name = await gallery.keep(PNG)
    assert list(gallery._folder.iterdir()) == []
    assert await gallery.find(name) is None


async def test_an_image_goes_when_its_time_is_over(until):
    gallery = Gallery(GalleryLimits(seconds=0.05))
    name = await gallery.keep(PNG)
    await until(lambda: not list(gallery._folder.iterdir()))
    assert await gallery.find(name) is None


async def test_a_disk_that_says_no_is_said():
    gallery = Gallery()
    gallery._path("x").parent.rmdir()
    with pytest.raises(NoRoomError, match="could not be kept: No such file"):
        await gallery.keep(PNG)
    assert gallery._sizes == {}


async def test_an_image_that_somebody_tidied_away_is_not_found():
    gallery = Gallery()
    name = await gallery.keep(PNG)
    gallery._path(name).unlink()
    assert await gallery.find(name) is None


async def test_others_of_this_machine_see_nothing():
    gallery = Gallery()
    await gallery.keep(PNG)
    assert gallery._folder.stat().st_mode & 0o077 == 0


def test_nothing_is_left_when_the_process_ends():
    program = (
        "import asyncio; from xserve.http.gallery import Gallery; gallery = Gallery();"
        "asyncio.run(gallery.keep(b'x')); print(gallery._folder, gallery._folder.exists())"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert said[1] == "True"
    assert not Path(said[0]).exists()


async def test_what_a_killed_process_left_goes_with_the_next_start(tmp_path: Path) -> None:
    await (left := Gallery(parent=tmp_path)).keep(b"picture")
    assert list(tmp_path.glob("*/*"))
    Gallery(parent=tmp_path)
    assert list(tmp_path.iterdir()) == []
    del left
