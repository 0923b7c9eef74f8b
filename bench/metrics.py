"""How different a decoded picture is from its original, measured on 8-bit pixels.

All functions take uint8 arrays (height, width, 3), sRGB, the original first.
"""

from __future__ import annotations

import functools
import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales (Wang, Simoncelli, Bovik: Multiscale structural similarity, 2003)."""

_LUMA = (0.299, 0.587, 0.114)
_PSNR_OF_EQUAL_PICTURES = 100.0


def psnr_rgb(original: Pixels, decoded: Pixels) -> float:
    """10 log10(255**2 / MSE) in dB, the squared error averaged over all three channels; 100 for equal
    pictures.
    """
    _check(original, decoded)
    bands = range(0, original.shape[0], 512)  # small intermediate arrays, whatever the size of the picture
    differences = (np.subtract(original[y : y + 512], decoded[y : y + 512], dtype=np.int32) for y in bands)
    total = sum(int(np.sum(np.square(difference), dtype=np.int64)) for difference in differences)
    return _psnr(total / original.size)


def psnr_y(original: Pixels, decoded: Pixels) -> float:
    """PSNR in dB of the luma of ITU-R BT.601 (full range, not rounded); 100 for equal pictures."""
    _check(original, decoded)
    difference = np.subtract(original, decoded, dtype=np.float64) @ np.array(_LUMA)
    return _psnr(float(np.mean(np.square(difference))))


def ms_ssim(original: Pixels, decoded: Pixels) -> float:
    """Multi-scale structural similarity, 0 to 1, of the R, G and B planes, averaged over the three.

    Gaussian window 11x11 with sigma 1.5 where it fits wholly into the picture, K1 = 0.01, K2 = 0.03, planes
    halved by 2x2 averages: what pytorch-msssim computes, and with it the published curves of learned codecs.

    Raises:
        ValueError: a side is below 161 pixels, so that the window does not fit at the fifth scale.
    """
    _check(original, decoded)
    if min(original.shape[:2]) < 161:
        raise ValueError(
            f"MS-SSIM needs sides of at least 161 pixels. Found: {original.shape[1]}x{original.shape[0]}."
        )
    return float(np.mean([_ms_ssim_plane(original[..., c], decoded[..., c]) for c in range(3)]))


def ms_ssim_db(value: float) -> float:
    """MS-SSIM on a scale in dB, -10 log10(1 - value); 100 for 1."""
    return _PSNR_OF_EQUAL_PICTURES if value >= 1 else -10 * math.log10(1 - value)


def ssimulacra2(original: Pixels, decoded: Pixels) -> float:
    """SSIMULACRA 2.1 (Sneyers, Cloudinary): 100 for equal pictures, about 70 for high quality, down to below
    0.

    Colour conversion, error maps and weights are those of the package ssimulacra2. Its blur mirrors the
    picture at two of the four borders; here the outside counts as zero at all four, as in the metric's own
    C++ code (up to 5 points of difference at the lowest qualities, 0.2 at the highest).

    Raises:
        ImportError: the package ssimulacra2 is not installed.
    """
    from ssimulacra2 import ssimulacra2 as parts

    _check(original, decoded)
    linear = [parts.srgb_to_linear(pixels) for pixels in (original, decoded)]
    score = parts.Msssim()
    for scale in range(parts.kNumScales):
        if min(linear[0].shape[:2]) < 8:
            break
        if scale:
            linear = [parts.downsample(picture, 2, 2) for picture in linear]
        first, second = (parts.make_positive_xyb(parts.linear_rgb_to_xyb(picture)) for picture in linear)
        score.scales.append(_ssimulacra2_scale(first, second))
    return float(score.score())


def butteraugli(original: Pixels, decoded: Pixels) -> float:
    """Butteraugli distance (Alakuijala et al.; Google's first implementation, Debian's command
    ``butteraugli``).

    0 for equal pictures; below 1 is meant to be invisible.

    Raises:
        FileNotFoundError: there is no such command.
    """
    _check(original, decoded)
    command = shutil.which("butteraugli")
    if command is None:
        raise FileNotFoundError(
            "The command butteraugli is not installed (Debian: apt-get install butteraugli)."
        )
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("original.png", "decoded.png")]
        for path, pixels in zip(paths, (original, decoded), strict=True):
            Image.fromarray(pixels).save(path, compress_level=1)
        result = subprocess.run([command, *map(str, paths)], capture_output=True, text=True, check=True)
    match = re.search(r"[-+0-9.eE]+", result.stdout)
    if match is None:
        raise ValueError(f"Expected a number from butteraugli. Received: {result.stdout!r}")
    return float(match.group())


METRICS: dict[str, Callable[[Pixels, Pixels], float]] = {
    "psnr-rgb": psnr_rgb,
    "psnr-y": psnr_y,
    "ms-ssim-rgb": ms_ssim,
    "ssimulacra2": ssimulacra2,
    "butteraugli": butteraugli,
}
"""Metrics by the names that results and the command line use."""

LABELS = {
    "psnr-rgb": "PSNR-RGB (dB)",
    "psnr-y": "PSNR-Y (dB)",
    "ms-ssim-rgb": "MS-SSIM (dB)",
    "ssimulacra2": "SSIMULACRA 2",
    "butteraugli": "Butteraugli",
}


def on_rising_scale(metric: str, value: float) -> float:
    """A metric's value on the scale that curves and BD-rates use: dB for MS-SSIM, negative for distances."""
    if metric == "ms-ssim-rgb":
        return ms_ssim_db(value)
    return -value if metric == "butteraugli" else value


def unavailable(metric: str) -> str | None:
    """Why a metric cannot be computed here, or None when it can."""
    if metric == "butteraugli" and shutil.which("butteraugli") is None:
        return "the command butteraugli is not installed (Debian: apt-get install butteraugli)"
    if metric == "ssimulacra2":
        import importlib.util

        if importlib.util.find_spec("ssimulacra2") is None:
            return "the Python package ssimulacra2 is not installed"
    return None


def versions() -> dict[str, str]:
    """Of the libraries that metrics use."""
    from importlib import metadata

    try:
        return {"ssimulacra2": metadata.version("ssimulacra2")}
    except metadata.PackageNotFoundError:
        return {}


def measure(metrics: Sequence[str], original: Pixels, decoded: Pixels) -> dict[str, float]:
    """All the named metrics, except MS-SSIM where the picture is too small for it."""
    small = min(original.shape[:2]) < 161
    return {
        name: METRICS[name](original, decoded) for name in metrics if not (small and name == "ms-ssim-rgb")
    }


def _check(original: Pixels, decoded: Pixels) -> None:
    for pixels in (original, decoded):
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"Expected uint8 (height, width, 3). Received: {pixels.dtype} {pixels.shape}.")
    if original.shape != decoded.shape:
        raise ValueError(f"Expected pictures of one size. Received: {original.shape} and {decoded.shape}.")


def _psnr(mean_squared_error: float) -> float:
    if mean_squared_error == 0:
        return _PSNR_OF_EQUAL_PICTURES
    return 10 * math.log10(255**2 / mean_squared_error)


@functools.lru_cache(maxsize=1)
def _window() -> NDArray[np.float32]:
    offsets = np.arange(-5, 6, dtype=np.float64)
    weights = np.exp(-np.square(offsets) / (2 * 1.5**2))
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _window_mean(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian-weighted means at the positions where the whole window lies inside."""
    from scipy import ndimage

    rows = ndimage.correlate1d(plane, _window(), axis=0)[5:-5]
    means: NDArray[np.float32] = ndimage.correlate1d(rows, _window(), axis=1)[:, 5:-5]
    return means


def _ms_ssim_plane(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    # Centred planes: variances come from differences of squares, which float32 holds better without the mean.
    first = original.astype(np.float32) - np.float32(128)
    second = decoded.astype(np.float32) - np.float32(128)
    value = 1.0
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        luminance, contrast = _ssim_terms(first, second)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        term = float(np.mean(luminance * contrast if last else contrast, dtype=np.float64))
        value *= max(term, 0.0) ** weight
        first, second = _halved(first), _halved(second)
    return value


def _ssim_terms(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
    mean_first, mean_second = _window_mean(first), _window_mean(second)
    variance_first = _window_mean(first * first) - mean_first * mean_first
    variance_second = _window_mean(second * second) - mean_second * mean_second
    covariance = _window_mean(first * second) - mean_first * mean_second
    contrast = (2 * covariance + c2) / (variance_first + variance_second + c2)
    level_first, level_second = mean_first + np.float32(128), mean_second + np.float32(128)
    luminance = (2 * level_first * level_second + c1) / (level_first**2 + level_second**2 + c1)
    return luminance, contrast


def _halved(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """2x2 averages; odd sides get a border of zeros that counts, as in pytorch-msssim."""
    pad_rows, pad_columns = plane.shape[0] % 2, plane.shape[1] % 2
    padded = np.pad(plane + np.float32(128), ((pad_rows, 0), (pad_columns, 0)))
    rows, columns = padded.shape[0] // 2, padded.shape[1] // 2
    blocks = padded[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32) - np.float32(128))


def _ssimulacra2_scale(first: NDArray[np.float64], second: NDArray[np.float64]) -> object:
    from ssimulacra2 import ssimulacra2 as parts

    mean_first, mean_second = _zero_border_blur(first), _zero_border_blur(second)
    scale = parts.MsssimScale()
    scale.avg_ssim = parts.ssim_map(
        mean_first,
        mean_second,
        _zero_border_blur(first * first),
        _zero_border_blur(second * second),
        _zero_border_blur(first * second),
    )
    scale.avg_edgediff = parts.edge_diff_map(first, mean_first, second, mean_second)
    return scale


def _zero_border_blur(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(picture, sigma=1.5, radius=5, mode="constant", axes=(0, 1)))
