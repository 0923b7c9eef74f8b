"""Small pictures on disk, for tests of training."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from aecodec.training.data import PictureSet
from tests.helpers import photograph


def picture_set(*sides: tuple[int, int]) -> PictureSet:
    """Pictures of these heights and widths, in memory."""
    names = tuple(f"{number:03d}.png" for number in range(len(sides)))
    return PictureSet(names, tuple(photograph(*side, seed) for seed, side in enumerate(sides)))


def write_pictures(folder: Path, names: Iterable[str], height: int = 96, width: int = 128) -> Path:
    """Write a picture for each name, a different one each; returns the folder."""
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(height, width, seed)).save(path)
    return folder


def write_shard(path: Path, folder: Path) -> Path:
    """Put a folder's files into a tar archive; returns its path."""
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.add(file, arcname=f"shard/{file.name}", recursive=False)
    return path
