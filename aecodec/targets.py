"""Encoding to a size, a rate or a distortion instead of a quality: a search over the levels of the rate
scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aecodec.arguments import positive_number
from aecodec.codec import ModelChoice, Progress, as_picture, choose_model, decode_picture, encode
from aecodec.container import DEFAULT_CHUNK_SIDE, DEFAULT_LIMITS, Limits
from aecodec.errors import InputError
from aecodec.image import Picture, Samples, load_picture, strip_metadata
from aecodec.runtime import Runtime
from aecodec.streams import Source, Target, check_target, open_target

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["TargetResult", "encode_file_to_target", "encode_to_target", "peak_signal_to_noise_ratio"]

_BAND_ROWS = 256


@dataclass(frozen=True)
class TargetResult:
    """What a search came to.

    Attributes:
        data: the bytes of an .aec file.
        level: position on the model's rate scale.
        quality: the quality from 1 to 100 that comes nearest to it.
        bits_per_pixel: rate of the whole file.
        psnr: decibels, of the decoded colours against the source's; None when it was not asked for.
        reached: whether the file keeps to the target: at most the size or rate, at least the PSNR. Where it
            does not, the target is out of the model's range and the file is the one that comes nearest.
    """

    data: bytes
    level: int
    quality: int
    bits_per_pixel: float
    psnr: float | None
    reached: bool


def encode_to_target(
    image: NDArray[Any] | Image | Picture,
    *,
    size: int | None = None,
    bits_per_pixel: float | None = None,
    psnr: float | None = None,
    effort: int = 0,
    strip: bool = False,
    model: ModelChoice = None,
    runtime: str | Runtime = "onnx",
    chunk_side: int = DEFAULT_CHUNK_SIDE,
    window_side: int | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> TargetResult:
    """Encode a picture as well as a size or rate allows, or as small as a distortion allows.

    The levels are searched by bisection: about eight encodings, and for a PSNR as many decodings. PSNR grows
    with the level on photographs; where it does not (flat or tiny pictures), a lower level might do as well.

    Args:
        image: as for :func:`aecodec.encode`.
        size: bytes that the file shall not exceed. Exactly one of the three is given.
        bits_per_pixel: rate of the whole file that shall not be exceeded.
        psnr: decibels that the decoded colours shall have at least.
        progress: called with (done, total), counted in trials; the search may end before the last.
        The others: as for :func:`aecodec.encode`.

    Raises:
        InputError: not exactly one target, or one that is not above 0; else as :func:`aecodec.encode`.
    """
    targets = {"size": size, "bits_per_pixel": bits_per_pixel, "psnr": psnr}
    given = {name: value for name, value in targets.items() if value is not None}
    if len(given) != 1:
        raise InputError(
            "Expected exactly one of size, bits_per_pixel and psnr. Received: "
            + (", ".join(f"{name}={value!r}" for name, value in given.items()) or "none")
        )
    positive_number(*next(iter(given.items())))
    bounds = limits or DEFAULT_LIMITS
    picture = as_picture(image, bounds)
    source = strip_metadata(picture) if strip else picture
    chosen = choose_model(model)
    pixel_count = source.width * source.height

    def attempt(level: int) -> TargetResult:
        data = encode(
            source,
            level=level,
            effort=effort,
            model=chosen,
            runtime=runtime,
            chunk_side=chunk_side,
            window_side=window_side,
            jobs=jobs,
            limits=bounds,
        )
        rate = 8 * len(data) / pixel_count
        found = None
        if psnr is not None:
            decoded = decode_picture(
                data, model=chosen, runtime=runtime, window_side=window_side, jobs=jobs, limits=bounds
            )
            found = peak_signal_to_noise_ratio(source.pixels, decoded.picture.pixels)
            reached = found >= psnr
        else:
            reached = len(data) <= size if size is not None else rate <= (bits_per_pixel or 0)
        return TargetResult(data, level, chosen.quality_of_level(level), rate, found, reached)

    return _search(chosen.level_count, attempt, progress, highest=psnr is None)


def _search(
    level_count: int, attempt: Callable[[int], TargetResult], progress: Progress | None, *, highest: bool
) -> TargetResult:
    """The highest (or lowest) level that keeps to the target; where none does, the last level towards it."""
    first, last = 0, level_count - 1
    trials = level_count.bit_length()
    best: TargetResult | None = None
    done = 0
    while first <= last:
        level = (first + last) // 2
        result = attempt(level)
        done += 1
        if progress is not None:
            progress(done, trials)
        if result.reached or best is None or not best.reached:
            best = result
        if result.reached == highest:
            first = level + 1
        else:
            last = level - 1
    if best is None:
        raise InputError(f"Expected a model with at least one level. Received: {level_count}")
    return best


def encode_file_to_target(
    source: Source,
    target: Target,
    *,
    size: int | None = None,
    bits_per_pixel: float | None = None,
    psnr: float | None = None,
    effort: int = 0,
    strip: bool = False,
    force: bool = False,
    model: ModelChoice = None,
    runtime: str | Runtime = "onnx",
    chunk_side: int = DEFAULT_CHUNK_SIDE,
    window_side: int | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> TargetResult:
    """Encode a picture file as :func:`encode_to_target` does, to an .aec file that appears whole or not at
    all.

    It is written also where the target is out of range; ``reached`` of the result tells.

    Args: as for :func:`encode_to_target` and :func:`aecodec.encode_file`.

    Raises:
        OutputError: the file exists (and not ``force``) or cannot be written; else as
            :func:`encode_to_target`.
    """
    check_target(target, force=force)
    bounds = limits or DEFAULT_LIMITS
    result = encode_to_target(
        load_picture(source, max_pixels=bounds.max_pixels),
        size=size,
        bits_per_pixel=bits_per_pixel,
        psnr=psnr,
        effort=effort,
        strip=strip,
        model=model,
        runtime=runtime,
        chunk_side=chunk_side,
        window_side=window_side,
        jobs=jobs,
        limits=bounds,
        progress=progress,
    )
    with open_target(target, force=force) as stream:
        stream.write(result.data)
    return result


def peak_signal_to_noise_ratio(first: Samples, second: Samples) -> float:
    """PSNR in decibels of samples of one shape and dtype, all channels together; infinite if equal."""
    peak = float(np.iinfo(first.dtype).max)
    total = 0.0
    # In bands of rows, for the differences of a large picture would not fit.
    for row in range(0, first.shape[0], _BAND_ROWS):
        difference = first[row : row + _BAND_ROWS].astype(np.float64) - second[row : row + _BAND_ROWS]
        total += float(np.square(difference).sum())
    return float("inf") if total == 0 else 10 * float(np.log10(peak * peak * first.size / total))
