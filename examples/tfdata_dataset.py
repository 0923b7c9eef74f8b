"""A tf.data pipeline over a folder of .aec files.

    dataset = aec_dataset("packed/", crop=256).batch(16).prefetch(2)
    model.fit(dataset)

The files are decoded in threads (``num_parallel_calls``) in any order, ahead of what consumes them. A random
crop is decoded by itself: ``aecodec.decode(path, region=...)`` reads and computes only what lies around it.

Try it: ``python examples/tfdata_dataset.py FOLDER``
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import aecodec


def aec_dataset(
    folder: str | os.PathLike[str], crop: int | None = None, *, shuffle: bool = True, seed: int | None = None
) -> tf.data.Dataset:
    """The pictures of a folder as float32 (height, width, 3) in 0..1.

    Args:
        folder: searched with all folders below it for files that end in ``.aec``.
        crop: pixels; a random square of each picture, another one each time. All pictures must be at least so
            large.
        shuffle: whether pictures come in another order each time.
        seed: of order and crops.
    """
    paths = sorted(str(path) for path in Path(folder).rglob("*.aec"))
    dataset = tf.data.Dataset.from_tensor_slices(paths)
    if shuffle:
        dataset = dataset.shuffle(len(paths), seed=seed)
    # A counter beside the path tells the crops of a path in different epochs apart.
    numbered = tf.data.Dataset.zip(
        (dataset, tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True))
    )

    def load(path: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        pixels = tf.numpy_function(lambda path, draw: load_pixels(path, draw, crop), [path, draw], tf.float32)
        pixels.set_shape((crop, crop, 3))
        return pixels

    return numbered.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=seed is not None)


def load_pixels(path: bytes, draw: int, crop: int | None) -> np.ndarray[Any, Any]:
    """Decode a file, or the square of it that a random number chooses: float32 (height, width, 3) in 0..1."""
    name = path.decode()
    region = None
    if crop is not None:
        info = aecodec.probe(name)  # reads the header alone
        random = np.random.default_rng(int(draw))
        region = (
            int(random.integers(info.width - crop + 1)),
            int(random.integers(info.height - crop + 1)),
            crop,
            crop,
        )
    return as_float_rgb(aecodec.decode(name, region=region, jobs=1))


def as_float_rgb(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """uint8 or uint16 as :func:`aecodec.decode` gives it -> float32 (height, width, 3) in 0..1, without
    alpha.
    """
    colours = np.atleast_3d(pixels)
    colours = colours[:, :, : 1 if colours.shape[2] < 3 else 3]
    rgb = np.broadcast_to(colours, (*colours.shape[:2], 3))
    return rgb.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def main(folder: str) -> None:
    """Load crops of all pictures of a folder, and say how fast."""
    started, count = time.perf_counter(), 0
    for batch in aec_dataset(folder, crop=256).batch(4).prefetch(2):
        count += batch.shape[0]
        print(f"{tuple(batch.shape)} {batch.dtype.name} mean {tf.reduce_mean(batch):.3f}")
    print(f"{count / (time.perf_counter() - started):.1f} crops a second")


if __name__ == "__main__":
    main(sys.argv[1])
