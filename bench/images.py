"""The pictures that are measured: folders of them, and large ones made of small ones."""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.machine import ROOT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

ENDINGS = (".png", ".ppm", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg", ".webp")
KODAK_PLACES = (ROOT.parent / "shared" / "data" / "kodak", ROOT / "bench" / "cache" / "kodak")
KODAK_ADDRESS = "https://r0k.us/graphics/kodak/kodak/kodim{number:02d}.png"
KODAK_SHA256 = "e62b1b03a432ac7378b1e1e1855c89e24cbc141dabcecdc477035008c3faacaa"


@dataclass(frozen=True)
class ImageFile:
    """A picture on disk, known by the hash of its pixels."""

    path: Path
    width: int
    height: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.stem


class ImagesError(Exception):
    """Pictures to measure were not found, or are not what they should be."""


def find_images(folder: Path | None) -> tuple[str, list[ImageFile]]:
    """The pictures of a folder, or Kodak's.

    Returns:
        A name for the set ("kodak", or the folder's name) and the pictures, sorted by name.

    Raises:
        ImagesError: there is no such folder, it holds no pictures, or Kodak's are not the known ones.
    """
    place = folder or next((place for place in KODAK_PLACES if place.is_dir()), None)
    if place is None:
        raise ImagesError(
            "Kodak's pictures were not found. Fetch them with `python -m bench fetch`, or name a folder with "
            "--images."
        )
    if not place.is_dir():
        raise ImagesError(f"Expected a folder of pictures at {place}. Found none.")
    paths = sorted(path for path in place.iterdir() if path.suffix.lower() in ENDINGS)
    if not paths:
        raise ImagesError(f"Expected pictures ({', '.join(ENDINGS)}) in {place}. Found none.")
    images = [describe(path) for path in paths]
    if set_digest(images) == KODAK_SHA256:
        return "kodak", images
    if folder is None:
        raise ImagesError(
            f"The pictures in {place} are not the 24 of Kodak's set. Give a folder with --images."
        )
    return place.resolve().name, images


def fetch_kodak(folder: Path = KODAK_PLACES[-1]) -> None:
    """Download Kodak's 24 pictures; they appear in the folder only when all are there and their hash is
    right.

    Raises:
        ImagesError: what came is not Kodak's set.
        OSError: a picture could not be fetched.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        paths = [Path(name, f"kodim{number:02d}.png") for number in range(1, 25)]
        for number, path in enumerate(paths, start=1):
            with urllib.request.urlopen(KODAK_ADDRESS.format(number=number), timeout=60) as answer:
                path.write_bytes(answer.read())
        digest = set_digest([describe(path) for path in paths])
        if digest != KODAK_SHA256:
            raise ImagesError(f"Expected pictures with the hash {KODAK_SHA256}. Fetched: {digest}.")
        folder.mkdir(exist_ok=True)
        for path in paths:
            path.replace(folder / path.name)


def describe(path: Path) -> ImageFile:
    """Size and hash of a picture."""
    pixels = load(path)
    height, width = pixels.shape[:2]
    return ImageFile(path, width, height, hashlib.sha256(pixels.tobytes()).hexdigest())


def load(path: Path) -> Pixels:
    """A picture as uint8 (height, width, 3)."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def set_digest(images: Sequence[ImageFile]) -> str:
    """SHA-256 over the hashes of a set's pictures, in order."""
    return hashlib.sha256("\n".join(image.sha256 for image in images).encode()).hexdigest()


def describe_set(name: str, images: Sequence[ImageFile]) -> dict[str, Any]:
    """What results say of the pictures that they come from."""
    return {
        "name": name,
        "sha256": set_digest(images),
        "images": [
            {"name": i.name, "width": i.width, "height": i.height, "sha256": i.sha256[:16]} for i in images
        ],
    }


def data_uri(pixels: Pixels, *, quality: int | None = None, width: int | None = None) -> str:
    """A picture as a data URI for a page: WebP, lossless unless a quality is given."""
    from PIL import Image

    image = Image.fromarray(pixels)
    if width is not None and width < image.width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, "WEBP", lossless=True, quality=60)
    else:
        image.save(buffer, "WEBP", quality=quality, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


SIZES = {"0.4": (768, 512), "2": (1728, 1152), "12": (4224, 2816), "50": (8640, 5760)}
"""Width and height of the pictures that speed is measured on, by their megapixels."""


def mosaic(width: int, height: int, tiles: Sequence[Pixels]) -> Pixels:
    """A large picture laid out of small ones, one beside the other, each at its own resolution.

    The tiles follow one another in rows; each time all have been used they are mirrored (left-right, then
    top-bottom, then both), so that no two are alike within four rounds. Statistics per pixel are those of
    the tiles, which those of a picture that was scaled up would not be.

    Args:
        width, height: of the result.
        tiles: uint8 (rows, columns, 3), all of one size.
    """
    import numpy as np

    rows, columns = tiles[0].shape[:2]
    canvas = np.empty((height, width, 3), np.uint8)
    count = 0
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            tile = _mirrored(tiles[count % len(tiles)], count // len(tiles) % 4)
            target = canvas[top : top + rows, left : left + columns]
            target[:] = tile[: target.shape[0], : target.shape[1]]
            count += 1
    return canvas


def _mirrored(tile: Pixels, round_number: int) -> Pixels:
    across = tile[:, ::-1] if round_number & 1 else tile
    return across[::-1] if round_number & 2 else across


def speed_picture(megapixels: str, images: Sequence[ImageFile]) -> Pixels:
    """The picture of a size in :data:`SIZES`, made of the landscape pictures of a set.

    Raises:
        ImagesError: no two landscape pictures of one size are there.
    """
    first = next((image for image in images if image.width >= image.height), None)
    if first is None:
        raise ImagesError("Expected a landscape picture to make large ones of. Found none.")
    same = [image for image in images if (image.width, image.height) == (first.width, first.height)]
    width, height = SIZES[megapixels]
    needed = -(-width // first.width) * -(-height // first.height)
    return mosaic(width, height, [load(image.path) for image in same[:needed]])
