"""A picture of 100 megapixels: time, memory, one region of it, and whether windows and chunks leave seams."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.images import ImageFile, ImagesError, load, mosaic
from bench.robustness.child import Usage, aecodec_command, measure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Profile = NDArray[np.float64]

MEMORY_LIMIT_MB = 1200.0
REGION_LIMIT_SECONDS = 1.0
SPEED_LIMIT = 0.2
SEAM_LIMIT = 0.05
SMALL_MEGAPIXELS = 10
_GRID = 64
_CHUNK_SIDE = 1024
_BAND = 512
_SHIFT = 160
"""How far the mosaic is cut off at the left and the top, so that no tile ends where a chunk does."""


@dataclass(frozen=True)
class PanoramaPlan:
    """What to measure.

    Attributes:
        images: of which the landscape ones of one size are laid side by side.
        model: of aecodec; None for the default.
        megapixels: of the large picture.
        quality: of the files.
        suffix: of the picture file that is compressed.
        repeats: of the small picture's runs, before and after the large one's.
        regions: how many regions of 512x512 are decoded.
        work: folder for the pictures; a temporary one by default.
    """

    images: Sequence[ImageFile]
    model: str | None
    megapixels: float = 100
    quality: float = 75
    suffix: str = ".png"
    repeats: int = 2
    regions: int = 5
    work: Path | None = None


def run(plan: PanoramaPlan, report: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Everything in turn; the report is called with (done, total, what)."""
    total = 2 * plan.repeats + 4
    steps = iter(range(1, total + 1))
    with tempfile.TemporaryDirectory(dir=plan.work) as name:
        folder = Path(name)
        large = write_mosaic(plan, plan.megapixels, folder / f"large{plan.suffix}")
        small = write_mosaic(plan, SMALL_MEGAPIXELS, folder / f"small{plan.suffix}")
        report(next(steps), total, "pictures made")
        rows = []
        for round_number in range(2 * plan.repeats):
            if round_number == plan.repeats:
                rows.append(_there_and_back(plan, large, "large"))
                report(next(steps), total, "large picture")
            rows.append(_there_and_back(plan, small, "small"))
            report(next(steps), total, "small picture")
        regions = measure_regions(plan, large.with_suffix(".aec"))
        report(next(steps), total, "regions")
        seams = measure_seams(large, large.with_suffix(".ppm"), tiles_of(plan)[0])
        windows = compare_windows(plan, small.with_suffix(".aec"))
        report(next(steps), total, "seams")
    return _judged(plan, rows, regions, seams, windows)


def write_mosaic(plan: PanoramaPlan, megapixels: float, path: Path) -> Path:
    """A picture of about so many megapixels, 3:2, with sides on multiples of 64."""
    import numpy as np
    from PIL import Image

    width = round((megapixels * 1.5e6) ** 0.5 / _GRID) * _GRID
    height = round(megapixels * 1e6 / width / _GRID) * _GRID
    tiles = [load(image.path) for image in tiles_of(plan)]
    pixels = mosaic(width + _SHIFT, height + _SHIFT, tiles)[_SHIFT:, _SHIFT:]
    options = {"compress_level": 1} if path.suffix == ".png" else {}
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)
    return path


def tiles_of(plan: PanoramaPlan) -> list[ImageFile]:
    """The landscape pictures of one size."""
    first = next((image for image in plan.images if image.width >= image.height), None)
    if first is None:
        raise ImagesError("Expected a landscape picture to make large ones of. Found none.")
    return [image for image in plan.images if (image.width, image.height) == (first.width, first.height)]


def _there_and_back(plan: PanoramaPlan, source: Path, name: str) -> dict[str, Any]:
    """Compress and decompress a file, each by a process of its own."""
    packed, again = source.with_suffix(".aec"), source.with_suffix(".ppm")
    quality = f"{plan.quality:g}"
    encode = measure(
        aecodec_command(
            "compress", str(source), "-o", str(packed), "-q", quality, "--force", model=plan.model
        )
    )
    decode = measure(
        aecodec_command("decompress", str(packed), "-o", str(again), "--force", model=plan.model)
    )
    pixels = _size(again)
    return {
        "picture": name,
        "megapixels": round(pixels / 1e6, 2),
        "bytes": packed.stat().st_size,
        "encode": _with_speed(encode, pixels),
        "decode": _with_speed(decode, pixels),
    }


def _with_speed(usage: Usage, pixels: int) -> dict[str, float]:
    return asdict(usage) | {"seconds_per_megapixel": round(usage.seconds * 1e6 / pixels, 4)}


def _size(path: Path) -> int:
    from PIL import Image

    with Image.open(path) as image:
        return int(image.width * image.height)


def measure_regions(plan: PanoramaPlan, path: Path) -> list[dict[str, Any]]:
    """Regions of 512x512 at several places: by the command line, and within this process.

    The first call within the process loads the model; the others are what a viewer would see.
    """
    import aecodec

    info = aecodec.probe(path)
    rows = []
    for index in range(plan.regions):
        share = (index + 0.5) / plan.regions
        x = round((info.width - 512) * share)
        y = round((info.height - 512) * (1 - share))
        box = f"{x},{y},512,512"
        output = path.with_suffix(".region.ppm")
        options = [str(path), "--region", box, "-o", str(output), "--force"]
        process = measure(aecodec_command("decompress", *options, model=plan.model))
        started = time.perf_counter()
        aecodec.decode(path, region=(x, y, 512, 512), model=plan.model)
        inside = time.perf_counter() - started
        rows.append({"region": box, "process": asdict(process), "in_process_seconds": round(inside, 3)})
    return rows


def measure_seams(source: Path, decoded: Path, tile: ImageFile) -> dict[str, Any]:
    """Mean absolute error of the columns and rows beside chunk borders, against others at multiples of 64.

    An excess is that of a border over the nearest borders of the transform's blocks, for what the picture
    shows differs from place to place. Borders of windows lie on some multiples of 64, too; ``worst`` is the
    largest excess at any of them. Those near a border of the mosaic's tiles are left out.
    """
    columns, rows = error_profiles(source, decoded)
    return {
        "columns": _borders(columns, tile.width),
        "rows": _borders(rows, tile.height),
    }


def error_profiles(source: Path, decoded: Path) -> tuple[Profile, Profile]:
    """Mean absolute error of each column and of each row, in levels."""
    import numpy as np
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # both files were made here
    with Image.open(source) as first, Image.open(decoded) as second:
        one, other = np.asarray(first), np.asarray(second)
    columns = np.zeros(one.shape[1])
    rows = np.zeros(one.shape[0])
    for top in range(0, one.shape[0], _BAND):
        part = slice(top, top + _BAND)
        errors = np.abs(one[part].astype(np.int16) - other[part]).mean(axis=2, dtype=np.float64)
        columns += errors.sum(axis=0)
        rows[part] = errors.mean(axis=1)
    return columns / one.shape[0], rows


def _borders(profile: Profile, tile: int) -> dict[str, Any]:
    shifted = {at: at + _SHIFT for at in range(_GRID, len(profile) - _GRID + 1, _GRID)}
    positions = [at for at, place in shifted.items() if min(place % tile, -place % tile) >= _GRID // 2]
    errors = {at: _beside(profile, at) for at in positions}
    excesses = {at: errors[at] / _nearby(profile, at) - 1 for at in positions}
    worst = max(excesses, key=lambda at: excesses[at])
    chunks = [at for at in positions if at % _CHUNK_SIDE == 0]
    others = [at for at in positions if at % _CHUNK_SIDE]
    spread = statistics.pstdev(excesses[at] for at in others)
    return {
        "chunk_borders": round(statistics.mean(errors[at] for at in chunks), 4),
        "elsewhere": round(statistics.mean(errors[at] for at in others), 4),
        "chunk_excess": round(statistics.mean(excesses[at] for at in chunks), 4),
        "excess_elsewhere": round(statistics.mean(excesses[at] for at in others), 4),
        "standard_error": round(spread / len(chunks) ** 0.5, 4),
        "worst": {"at": worst, "excess": round(excesses[worst], 4)},
    }


def _beside(profile: Profile, at: int) -> float:
    """The mean of the two lines beside a border."""
    return float(profile[at - 1 : at + 1].mean())


def _nearby(profile: Profile, at: int) -> float:
    """The same for the nearest borders of the transform's blocks on both sides, which show similar things."""
    return statistics.mean(_beside(profile, at + step) for step in (-32, -16, 16, 32))


def compare_windows(plan: PanoramaPlan, path: Path) -> dict[str, Any]:
    """How far pixels are apart when the picture passes through the decoder in other windows."""
    import numpy as np

    import aecodec

    one = aecodec.decode(path, model=plan.model)
    other = aecodec.decode(path, model=plan.model, window_side=1024)
    apart = np.abs(one.astype(np.int16) - other)
    return {
        "sides": [2048, 1024],
        "levels_apart_at_most": int(apart.max()),
        "share_of_samples_that_differ": float(f"{np.count_nonzero(apart) / apart.size:.3g}"),
    }


def _judged(
    plan: PanoramaPlan,
    rows: Sequence[dict[str, Any]],
    regions: Sequence[dict[str, Any]],
    seams: dict[str, Any],
    windows: dict[str, Any],
) -> dict[str, Any]:
    """The content of the result file: what was measured, and what of it holds."""
    peaks = {
        f"{name}_peak_mb": round(max(row[name]["peak_mib"] for row in rows) * 2**20 / 1e6, 1)
        for name in ("encode", "decode")
    }
    slowdown = {f"{name}_slowdown": round(_slowdown(rows, name), 4) for name in ("encode", "decode")}
    process = statistics.median(row["process"]["seconds"] for row in regions)
    inside = statistics.median(row["in_process_seconds"] for row in regions)
    seamless = all(_without_seam(seams[name]) for name in ("columns", "rows"))
    held = {
        f"memory below {MEMORY_LIMIT_MB:g} MB": max(peaks.values()) < MEMORY_LIMIT_MB,
        f"per pixel within {SPEED_LIMIT:.0%} of {SMALL_MEGAPIXELS} megapixels": max(slowdown.values())
        < SPEED_LIMIT,
        f"a region in less than {REGION_LIMIT_SECONDS:g} s": process < REGION_LIMIT_SECONDS,
        "windows within one level": windows["levels_apart_at_most"] <= 1,
        f"errors at chunk borders within {SEAM_LIMIT:.0%}, or chance, of the others": seamless,
    }
    return {
        "what": f"{plan.megapixels:g} megapixels laid out of small pictures, a {plan.suffix} file, quality "
        f"{plan.quality:g}; the command line, whole processes",
        **peaks,
        **slowdown,
        "region_seconds": {"process": process, "in_process": inside},
        "seams": seams,
        "windows": windows,
        "holds": held,
        "held": all(held.values()),
        "regions": list(regions),
        "rows": list(rows),
    }


def _without_seam(borders: dict[str, Any]) -> bool:
    excess = borders["chunk_excess"] - borders["excess_elsewhere"]
    return bool(excess < max(SEAM_LIMIT, 3 * borders["standard_error"]))


def _slowdown(rows: Sequence[dict[str, Any]], name: str) -> float:
    """How much longer a pixel of the large picture takes, against the median of the small one's runs."""
    small = [row[name]["seconds_per_megapixel"] for row in rows if row["picture"] == "small"]
    large = next(row[name]["seconds_per_megapixel"] for row in rows if row["picture"] == "large")
    return float(large / statistics.median(small) - 1)
