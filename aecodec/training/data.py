"""Training pictures from folders and tar shards, decoded once; crop plans; the held-out split."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from aecodec.errors import InputError
from aecodec.networks.architecture import HYPER_PATCH

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif"}
HELD_OUT_ENDING = "37"
"""Pictures whose name ends in these digits are held out, for choosing recipes and checkpoints."""
TURNS = 8
"""The symmetries of the square."""


@dataclass(frozen=True)
class PictureSet:
    """Decoded pictures, uint8 (height, width, 3) each, and the names of their files."""

    names: tuple[str, ...]
    pictures: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def __add__(self, other: PictureSet) -> PictureSet:
        return PictureSet(self.names + other.names, self.pictures + other.pictures)

    @property
    def pixels(self) -> int:
        """Of all pictures together."""
        return sum(pixels.shape[0] * pixels.shape[1] for pixels in self.pictures)


@dataclass(frozen=True)
class CropPlan:
    """Which crops make a batch: plain integers, so that a GPU can take the crops from its own memory.

    Attributes:
        size: pixels along a side.
        picture: int32 (batch,), indices of pictures.
        top: int32 (batch,), first row.
        left: int32 (batch,), first column.
        turn: int32 (batch,), 0..7: bit 0 mirrors columns, then bit 1 mirrors rows, then bit 2 transposes.
    """

    size: int
    picture: np.ndarray
    top: np.ndarray
    left: np.ndarray
    turn: np.ndarray


def load_pictures(
    sources: Sequence[Path], *, minimum_side: int, threads: int = 2
) -> tuple[PictureSet, PictureSet]:
    """(training, held-out) pictures of all sources, in the order of sources and names.

    Args:
        sources: folders (searched recursively, tar shards in them included) and tar shards.
        minimum_side: pictures with a shorter side are left out.
        threads: that decode.

    Raises:
        InputError: a source is missing or no tar archive, a picture cannot be decoded, or no training picture
            is left.
    """
    parts: tuple[list[tuple[str, np.ndarray]], list[tuple[str, np.ndarray]]] = ([], [])
    with ThreadPoolExecutor(threads) as pool:
        for source in sources:
            for name, pixels in pool.map(_decode, _files(source)):
                if min(pixels.shape[:2]) >= minimum_side:
                    parts[is_held_out(name)].append((name, pixels))
    if not parts[0]:
        raise InputError(
            f"expected pictures of at least {minimum_side} pixels a side in {', '.join(map(str, sources))}, "
            "found none to train on; name a folder or a tar shard that holds some"
        )
    training, held_out = (
        PictureSet(tuple(name for name, _ in part), tuple(pixels for _, pixels in part)) for part in parts
    )
    return training, held_out


def is_held_out(name: str) -> bool:
    """Whether a picture of that file name is kept from training."""
    return Path(name).stem.endswith(HELD_OUT_ENDING)


def centres(pictures: PictureSet, largest: int) -> list[np.ndarray]:
    """The central squares of pictures, all of one size, uint8 (side, side, 3) each.

    The side is a multiple of 64 that fits into all of them, ``largest`` at most.

    Raises:
        InputError: there is no picture, or one is below 64 pixels a side.
    """
    shortest = min((min(pixels.shape[:2]) for pixels in pictures.pictures), default=0)
    side = min(shortest, largest) // HYPER_PATCH * HYPER_PATCH
    if not side:
        raise InputError(f"expected pictures of {HYPER_PATCH} pixels a side and more, found {shortest}")
    corners = [((p.shape[0] - side) // 2, (p.shape[1] - side) // 2) for p in pictures.pictures]
    return [p[y : y + side, x : x + side] for p, (y, x) in zip(pictures.pictures, corners, strict=True)]


def draw_crops(pictures: PictureSet, batch: int, size: int, generator: np.random.Generator) -> CropPlan:
    """Uniform over pixels: pictures by area, positions and symmetries uniformly."""
    sides = np.array([pixels.shape[:2] for pixels in pictures.pictures])
    area = sides.prod(axis=1).astype(np.float64)
    picture = generator.choice(len(pictures), batch, p=area / area.sum())
    room = sides[picture] - size + 1
    return CropPlan(
        size=size,
        picture=picture.astype(np.int32),
        top=generator.integers(0, room[:, 0]).astype(np.int32),
        left=generator.integers(0, room[:, 1]).astype(np.int32),
        turn=generator.integers(0, TURNS, batch).astype(np.int32),
    )


def take_crops(pictures: PictureSet, plan: CropPlan) -> np.ndarray:
    """The planned crops, uint8 (batch, size, size, 3)."""
    crops = []
    for index, top, left, turn in zip(plan.picture, plan.top, plan.left, plan.turn, strict=True):
        crop = pictures.pictures[index][top : top + plan.size, left : left + plan.size]
        crop = crop[:, ::-1] if turn & 1 else crop
        crop = crop[::-1] if turn & 2 else crop
        crops.append(crop.transpose(1, 0, 2) if turn & 4 else crop)
    return np.stack(crops)


def draw_patches(pictures: PictureSet, count: int, size: int, seed: int = 0) -> np.ndarray:
    """Random patches flattened in raster order, (count, size*size*3) float32 0..255, for the KLT."""
    plan = draw_crops(pictures, count, size, np.random.default_rng(seed))
    return take_crops(pictures, plan).reshape(count, -1).astype(np.float32)


def draw_levels(batch: int, level_count: int, generator: np.random.Generator) -> np.ndarray:
    """int64 (batch,): one level from each of ``batch`` equal parts of the scale, so that every batch sees all
    qualities.
    """
    parts = (np.arange(batch) + generator.random(batch)) / batch
    return np.asarray(np.minimum((parts * level_count).astype(np.int64), level_count - 1))


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() == ".tar":
                yield from _members(path)
            elif path.suffix.lower() in SUFFIXES and path.is_file():
                yield path.name, path.read_bytes()
    elif source.exists():
        yield from _members(source)
    else:
        raise InputError(f"expected a folder of pictures or a tar shard, found nothing at {source}")


def _members(source: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                extracted = archive.extractfile(member) if _is_picture(member) else None
                if extracted is not None:
                    yield Path(member.name).name, extracted.read()
    except tarfile.TarError as error:
        raise InputError(
            f"expected a folder of pictures or a tar shard, found something else at {source} ({error})"
        ) from error


def _is_picture(member: tarfile.TarInfo) -> bool:
    return member.isfile() and Path(member.name).suffix.lower() in SUFFIXES


def _decode(item: tuple[str, bytes]) -> tuple[str, np.ndarray]:
    name, data = item
    try:
        with Image.open(io.BytesIO(data)) as image:
            return name, np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"expected a picture, found {name} that cannot be decoded ({error})") from error
