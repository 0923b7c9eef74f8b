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

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif"}
HELD_OUT_ENDING = "37"
"""Pictures whose name ends in these digits are held out: for choosing recipes and checkpoints, never trained on."""


@dataclass(frozen=True)
class PictureSet:
    """Decoded pictures, uint8 (height, width, 3) each, and their names."""

    names: tuple[str, ...]
    pictures: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class CropPlan:
    """Which crops make a batch: plain integers, so that a GPU can take the crops from its own memory.

    picture, top, left: int32 (batch,); turn: int32 (batch,), 0..7, the eight symmetries of the square
    (bit 0 mirrors columns, bit 1 mirrors rows, bit 2 transposes).
    """

    size: int
    picture: np.ndarray
    top: np.ndarray
    left: np.ndarray
    turn: np.ndarray


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() == ".tar":
                yield from _files(path)
            elif path.suffix.lower() in SUFFIXES:
                yield path.name, path.read_bytes()
        return
    if not source.exists():
        raise InputError(f"expected a folder of pictures or a tar shard, found nothing at {source}")
    with tarfile.open(source) as archive:
        for member in archive:
            if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                extracted = archive.extractfile(member)
                if extracted is not None:
                    yield Path(member.name).name, extracted.read()


def _decode(item: tuple[str, bytes]) -> tuple[str, np.ndarray]:
    name, data = item
    with Image.open(io.BytesIO(data)) as image:
        return name, np.asarray(image.convert("RGB"))


def is_held_out(name: str) -> bool:
    return Path(name).stem.endswith(HELD_OUT_ENDING)


def load_pictures(sources: Sequence[Path], *, minimum_side: int, threads: int = 2) -> tuple[PictureSet, PictureSet]:
    """(training, held-out) pictures of all sources: folders (searched recursively) and tar shards.

    Pictures with a side below ``minimum_side`` are left out. Raises InputError where nothing is left.
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
            "found none; name a folder or a tar shard that holds some"
        )
    training, held_out = (
        PictureSet(tuple(name for name, _ in part), tuple(pixels for _, pixels in part)) for part in parts
    )
    return training, held_out


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
        turn=generator.integers(0, 8, batch).astype(np.int32),
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
