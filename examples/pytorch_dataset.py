"""A PyTorch Dataset over a folder of .aec files.

    dataset = AecDataset("packed/", crop=256)
    loader = DataLoader(dataset, batch_size=16, num_workers=8, **worker_options())

A random crop is decoded by itself: ``aecodec.decode(path, region=...)`` reads and computes only what lies
around it, so that large pictures cost no more than small ones.

Try it: ``python examples/pytorch_dataset.py FOLDER``
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import aecodec


class AecDataset(Dataset[Tensor]):
    """The pictures of a folder as float32 tensors (3, height, width) in 0..1.

    Args:
        folder: searched with all folders below it for files that end in ``.aec``.
        crop: pixels; a random square of each picture (or the whole side where it is smaller), another one
            each time. Pictures without a crop can be batched only if all have one size.
        transform: what else to do with a tensor.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        crop: int | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.paths = sorted(Path(folder).rglob("*.aec"))
        self.crop = crop
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self.paths[index]
        region = None if self.crop is None else random_region(path, self.crop)
        tensor = as_tensor(aecodec.decode(path, region=region, jobs=1))
        return tensor if self.transform is None else self.transform(tensor)


def random_region(path: Path, side: int) -> tuple[int, int, int, int]:
    """(x, y, width, height) of a square within a picture; reads the file's header alone."""
    info = aecodec.probe(path)
    width, height = min(side, info.width), min(side, info.height)
    x = int(torch.randint(info.width - width + 1, ()))
    y = int(torch.randint(info.height - height + 1, ()))
    return x, y, width, height


def as_tensor(pixels: np.ndarray[Any, Any]) -> Tensor:
    """uint8 or uint16 as :func:`aecodec.decode` gives it -> float32 (3, height, width) in 0..1, without
    alpha.
    """
    peak = np.iinfo(pixels.dtype).max
    colours = np.atleast_3d(pixels)
    colours = colours[:, :, : 1 if colours.shape[2] < 3 else 3]
    planes = np.broadcast_to(colours, (*colours.shape[:2], 3)).transpose(2, 0, 1)
    return torch.from_numpy(planes.astype(np.float32) / peak)


def worker_options() -> dict[str, Any]:
    """What a DataLoader with worker processes needs besides their number.

    Workers are started afresh ("spawn"), for a process that is forked cannot use the runtime's threads of its
    parent; and each computes on one core, as there is one for each worker.
    """
    return {"multiprocessing_context": "spawn", "worker_init_fn": use_one_core, "persistent_workers": True}


def use_one_core(worker: int) -> None:
    """Bind a worker process to a core; the runtime takes as many threads as there are cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[worker % len(cores)]})


def main(folder: str) -> None:
    """Load crops of all pictures of a folder, and say how fast."""
    dataset = AecDataset(folder, crop=256)
    loader = DataLoader(dataset, batch_size=4, shuffle=True, num_workers=2, **worker_options())
    started, count = time.perf_counter(), 0
    for batch in loader:
        count += len(batch)
        print(f"{tuple(batch.shape)} {batch.dtype} mean {batch.mean():.3f}")
    print(f"{count / (time.perf_counter() - started):.1f} crops a second")


if __name__ == "__main__":
    main(sys.argv[1])
