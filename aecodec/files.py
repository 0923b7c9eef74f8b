"""Files in, files out: the codec between picture files and .aec files."""

from __future__ import annotations

import os

from aecodec.codec import DecodedPicture, ModelChoice, Progress, choose_model, decode_picture, encode
from aecodec.container import DEFAULT_CHUNK_SIDE, DEFAULT_LIMITS, Limits, read_header
from aecodec.image import format_of, load_picture, save_picture
from aecodec.inspection import Info, info_of
from aecodec.runtime import Runtime
from aecodec.streams import ReadableFile, Source, Target, check_target, open_target

__all__ = ["decode_file", "encode_file"]


def encode_file(
    source: Source,
    target: Target,
    quality: float = 75,
    *,
    level: int | None = None,
    strip: bool = False,
    force: bool = False,
    model: ModelChoice = None,
    runtime: str | Runtime = "onnx",
    chunk_side: int = DEFAULT_CHUNK_SIDE,
    window_side: int | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Info:
    """Encode a picture file to an .aec file, which appears whole or not at all.

    Args:
        source: path or binary file object of a JPEG, PNG, TIFF, WebP, AVIF, BMP or PPM file.
        target: path or binary file object to write.
        force: replace a file that exists.
        The others: as for :func:`encode`.

    Returns:
        what :func:`aecodec.probe` says of the new file.

    Raises:
        OutputError: the target exists (and not ``force``) or cannot be written; else as :func:`encode`.
    """
    check_target(target, force=force)
    bounds = limits or DEFAULT_LIMITS
    chosen = choose_model(model)
    data = encode(
        load_picture(source, max_pixels=bounds.max_pixels),
        quality,
        level=level,
        strip=strip,
        model=chosen,
        runtime=runtime,
        chunk_side=chunk_side,
        window_side=window_side,
        jobs=jobs,
        limits=bounds,
        progress=progress,
    )
    with open_target(target, force=force) as stream:
        stream.write(data)
    return info_of(read_header(data, limits=bounds), len(data), chosen)


def decode_file(
    source: ReadableFile,
    target: Target,
    *,
    format: str | None = None,
    force: bool = False,
    region: tuple[int, int, int, int] | None = None,
    scale: int = 1,
    allow_partial: bool = False,
    model: ModelChoice = None,
    runtime: str | Runtime = "onnx",
    window_side: int | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> DecodedPicture:
    """Decode an .aec file to a picture file, which appears whole or not at all.

    Args:
        source: path, binary file object or bytes of an .aec file.
        target: path or binary file object to write.
        format: name or suffix of the format to write; by default the path's suffix decides, PNG for a file
            object.
        force: replace a file that exists.
        The others: as for :func:`decode_picture`.

    Raises:
        OutputError: the target exists (and not ``force``) or cannot be written.
        InputError: the format is unknown; ImageError: it cannot hold this picture; else as
            :func:`decode_picture`.
    """
    check_target(target, force=force)
    named = isinstance(target, str | os.PathLike)
    chosen_format = format_of(target, format or (None if named else "PNG"))
    decoded = decode_picture(
        source,
        region=region,
        scale=scale,
        allow_partial=allow_partial,
        model=model,
        runtime=runtime,
        window_side=window_side,
        jobs=jobs,
        limits=limits,
        progress=progress,
    )
    save_picture(decoded.picture, target, chosen_format, overwrite=force)
    return decoded
