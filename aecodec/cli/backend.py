"""All that the command line asks of the rest of the package: the only module here that imports the codec.

Each function imports what it needs when it is called, so that a command loads no more than it uses.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from aecodec.cli.report import Result
from aecodec.streams import size_of

if TYPE_CHECKING:
    from aecodec.container import Limits
    from aecodec.image import Picture
    from aecodec.inspection import Info

MAX_EFFORT = 4
"""The highest effort that the encoder knows."""
_PROBLEMS_SHOWN = 5
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Target:
    """What a search over the qualities aims at; one of the three is not None.

    Attributes:
        size: bytes that the file shall not exceed.
        bits_per_pixel: rate that the file shall not exceed.
        psnr: decibels that the decoded picture shall have at least.
    """

    size: int | None = None
    bits_per_pixel: float | None = None
    psnr: float | None = None


@dataclass(frozen=True)
class EncodeSettings:
    """How pictures are compressed; a ``target`` replaces the quality."""

    quality: float = 75
    target: Target | None = None
    effort: int = 0
    strip: bool = False
    max_pixels: int | None = None
    model: str | None = None
    runtime: str = "onnx"


@dataclass(frozen=True)
class DecodeSettings:
    """How files are decompressed; ``thumbnail`` (pixels) replaces region and scale."""

    region: tuple[int, int, int, int] | None = None
    scale: int = 1
    thumbnail: int | None = None
    allow_partial: bool = False
    max_pixels: int | None = None
    model: str | None = None
    runtime: str = "onnx"


@dataclass(frozen=True)
class Description:
    """What a file says of itself, for ``aecodec info``."""

    info: Info
    sections: tuple[tuple[str, int, int], ...]
    truncation: str | None

    def to_object(self) -> dict[str, Any]:
        """As the JSON report gives it."""
        return info_object(self.info) | {
            "depth": self.info.depth,
            "layout": self.info.layout,
            "has_alpha": self.info.has_alpha,
            "dependent": self.info.dependent,
            "filtered": self.info.filtered,
            "joined": self.info.joined,
            "chunk_side": self.info.chunk_side,
            "truncated": self.truncation is not None,
            "sections": [
                {"name": name, "count": count, "bytes": size} for name, count, size in self.sections
            ],
        }


@dataclass(frozen=True)
class InstalledModel:
    """A model for ``aecodec models``; ``kmac_per_pixel`` by graph, ``bytes`` of its folder's files."""

    name: str
    model_id: str
    is_default: bool
    kmac_per_pixel: Mapping[str, float]
    bytes: int
    folder: Path

    def to_object(self) -> dict[str, Any]:
        """As the JSON list gives it."""
        return {
            "name": self.name,
            "model_id": self.model_id,
            "default": self.is_default,
            "kmac_per_pixel": dict(self.kmac_per_pixel),
            "bytes": self.bytes,
            "folder": str(self.folder),
        }


def encode(
    source: BinaryIO, target: BinaryIO, settings: EncodeSettings, progress: Progress | None = None
) -> Result:
    """Compress one picture file, to the quality or to the target of the settings."""
    from aecodec import encode_file

    if settings.target is not None:
        return _encode_to_target(source, target, settings, settings.target, progress)
    bytes_before = size_of(source)
    packed = io.BytesIO()
    info = encode_file(
        source,
        packed,
        settings.quality,
        effort=settings.effort,
        strip=settings.strip,
        model=settings.model,
        runtime=settings.runtime,
        limits=_limits(settings.max_pixels),
        progress=progress,
    )
    target.write(packed.getbuffer())
    return Result(bytes_before, info.bytes, info_object(info), _strip_notes(packed, settings))


def _strip_notes(packed: BinaryIO, settings: EncodeSettings) -> tuple[str, ...]:
    """What stayed although everything was to be left out."""
    from aecodec.container import SectionKind, section_name
    from aecodec.inspection import section_sizes

    if not settings.strip:
        return ()
    packed.seek(0)
    sections = section_sizes(packed, limits=_limits(settings.max_pixels))
    if all(section.name != section_name(SectionKind.ICC_PROFILE) for section in sections):
        return ()
    return ("the colour profile stays: 16-bit colours, or a profile that cannot be applied to this picture",)


def _encode_to_target(
    source: BinaryIO,
    target: BinaryIO,
    settings: EncodeSettings,
    wanted: Target,
    progress: Progress | None,
) -> Result:
    from aecodec import probe
    from aecodec.targets import encode_file_to_target

    bytes_before = size_of(source)
    found = encode_file_to_target(
        source,
        target,
        size=wanted.size,
        bits_per_pixel=wanted.bits_per_pixel,
        psnr=wanted.psnr,
        effort=settings.effort,
        strip=settings.strip,
        model=settings.model,
        runtime=settings.runtime,
        limits=_limits(settings.max_pixels),
        progress=progress,
    )
    details = info_object(probe(found.data)) | {"quality": found.quality, "target_reached": found.reached}
    notes = []
    if found.psnr is not None:
        details["psnr"] = round(found.psnr, 4)
    if not found.reached:
        nearest = f"{len(found.data):,} bytes, {found.bits_per_pixel:.3f} bits per pixel"
        nearest += "" if found.psnr is None else f", {found.psnr:.2f} dB"
        notes.append(f"the target is out of the model's range for this picture; the nearest is {nearest}")
    notes += _strip_notes(io.BytesIO(found.data), settings)
    return Result(bytes_before, len(found.data), details, tuple(notes))


def decode(
    source: BinaryIO,
    target: BinaryIO,
    format_name: str,
    settings: DecodeSettings,
    progress: Progress | None = None,
) -> Result:
    """Decompress one file to a picture file of the format."""
    from aecodec import decode_file

    if settings.thumbnail is not None:
        return _decode_thumbnail(source, target, format_name, settings, settings.thumbnail, progress)
    bytes_before, start = size_of(source), target.tell()
    decoded = decode_file(
        source,
        target,
        format=format_name,
        region=settings.region,
        scale=settings.scale,
        allow_partial=settings.allow_partial,
        model=settings.model,
        runtime=settings.runtime,
        limits=_limits(settings.max_pixels),
        progress=progress,
    )
    written = target.tell() - start
    return _decoded(bytes_before, written, decoded.width, decoded.height, decoded.missing, decoded.problems)


def _decode_thumbnail(
    source: BinaryIO,
    target: BinaryIO,
    format_name: str,
    settings: DecodeSettings,
    size: int,
    progress: Progress | None,
) -> Result:
    from aecodec import decode_picture, probe
    from aecodec.image import save_picture

    bytes_before, start = size_of(source), target.tell()
    limits = _limits(settings.max_pixels)
    info = probe(source, limits=limits)
    source.seek(0)
    decoded = decode_picture(
        source,
        scale=thumbnail_scale(info.width, info.height, size),
        allow_partial=settings.allow_partial,
        model=settings.model,
        runtime=settings.runtime,
        limits=limits,
        progress=progress,
    )
    picture = _shrunk(decoded.picture, size)
    save_picture(picture, target, format_name)
    written = target.tell() - start
    return _decoded(bytes_before, written, picture.width, picture.height, decoded.missing, decoded.problems)


def _decoded(
    bytes_before: int, written: int, width: int, height: int, missing: float, problems: tuple[str, ...]
) -> Result:
    details: dict[str, Any] = {"width": width, "height": height}
    if problems:
        details["missing"] = round(missing, 4)
    return Result(bytes_before, written, details, problems, partial=bool(problems))


def format_name(ending: str) -> str:
    """The name of the picture format of a file name's ending.

    Raises:
        InputError: no such format can be written.
    """
    from aecodec.image import format_of

    return format_of(None, ending)


def thumbnail_scale(width: int, height: int, size: int) -> int:
    """The smallest preview (1/32, 1/16 ... 1/2 or 1) whose longer side still has ``size`` pixels."""
    longer = max(width, height)
    return next((scale for scale in (32, 16, 8, 4, 2) if longer // scale >= size), 1)


def _shrunk(picture: Picture, size: int) -> Picture:
    """The picture upright, in sRGB with 8 bits, and at most ``size`` pixels a side; never enlarged."""
    from PIL.Image import Resampling

    from aecodec.image import (
        picture_from_pillow,
        picture_to_pillow,
        reduce_to_8_bit,
        strip_metadata,
    )

    image = picture_to_pillow(strip_metadata(reduce_to_8_bit(picture)))
    image.thumbnail((size, size), Resampling.LANCZOS)
    return picture_from_pillow(image)


def psnr(first: Path, second: Path) -> float:
    """PSNR in dB of the colours of two picture files of the same size and depth."""
    from aecodec.image import load_picture
    from aecodec.targets import peak_signal_to_noise_ratio

    return peak_signal_to_noise_ratio(load_picture(first).pixels, load_picture(second).pixels)


def describe(source: BinaryIO) -> Description:
    """Read a file's header and the headers of its sections; loads neither arrays nor networks.

    Raises:
        The errors of :func:`aecodec.probe`, and FormatError when the sections contradict the format.
    """
    from aecodec.container import ContainerReader, Limits
    from aecodec.inspection import probe, section_sizes

    limits = Limits(max_pixels=Limits().max_side ** 2)  # whatever the format allows: nothing is decoded
    info = probe(source, limits=limits)
    source.seek(0)
    sections = section_sizes(source, limits=limits)
    source.seek(0)
    truncation = ContainerReader(source, allow_truncated=True, limits=limits).truncation
    return Description(
        info,
        tuple((section.name, section.count, section.bytes) for section in sections),
        None if truncation is None else str(truncation),
    )


def verify(
    source: BinaryIO,
    *,
    model: str | None = None,
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check a file without computing pixels; what the JSON report says of a sound one.

    Raises:
        AecodecError: it is not sound; of the class of the first problem, with the messages of all.
    """
    from aecodec import verify as verify_file

    report = verify_file(source, model=model, limits=_limits(max_pixels), progress=progress)
    if report.problems:
        shown = [str(problem) for problem in report.problems[:_PROBLEMS_SHOWN]]
        if (more := len(report.problems) - len(shown)) > 0:
            shown.append(f"and {more} more")
        raise type(report.problems[0])("\n    ".join(shown))
    details = {} if report.info is None else info_object(report.info)
    return details | {"symbols_hash": report.symbols_hash}


def info_object(info: Info) -> dict[str, Any]:
    """What every JSON report says of an .aec file."""
    return {
        "width": info.width,
        "height": info.height,
        "bits_per_pixel": round(info.bits_per_pixel, 5),
        "quality": info.quality,
        "level": info.level,
        "model": info.model,
        "model_id": info.model_id,
    }


def installed_models() -> list[InstalledModel]:
    """The models of the registry, the default one first.

    Raises:
        ModelError: the registry or a model's manifest is damaged.
    """
    from aecodec.models import load_model, registry

    installed = registry()
    models = []
    for identifier, name in installed.models.items():
        model = load_model(bytes.fromhex(identifier))
        costs = {str(part): float(cost) for part, cost in model.manifest.get("kmac_per_pixel", {}).items()}
        size = sum(path.stat().st_size for path in model.folder.iterdir() if path.is_file())
        models.append(InstalledModel(name, identifier, name == installed.default, costs, size, model.folder))
    return sorted(models, key=lambda model: (not model.is_default, model.name))


def _limits(max_pixels: int | None) -> Limits:
    from aecodec.container import Limits

    return Limits() if max_pixels is None else Limits(max_pixels=max_pixels)
