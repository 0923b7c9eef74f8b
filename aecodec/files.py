"""Files in, files out: the codec between picture files and .aec files."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass

from aecodec.codec import (
    DecodeOptions,
    Decoding,
    ModelChoice,
    Progress,
    choose_model,
    encode,
    open_decoding,
)
from aecodec.container import DEFAULT_CHUNK_SIDE, DEFAULT_LIMITS, Limits, read_header
from aecodec.image import (
    check_fits,
    format_of,
    interleaved,
    load_picture,
    open_picture_file,
    save_picture,
    writes_rows,
)
from aecodec.inspection import Info, info_of
from aecodec.runtime import Runtime
from aecodec.streams import ReadableFile, Source, Target, check_target, open_target

__all__ = ["DecodedFile", "decode_file", "encode_file"]


@dataclass(frozen=True)
class DecodedFile:
    """What :func:`decode_file` wrote, and how complete the file was that it comes from.

    Attributes:
        width: columns of the picture that was written.
        height: its rows.
        missing: see :class:`aecodec.DecodedPicture`, like problems.
    """

    width: int
    height: int
    missing: float = 0.0
    problems: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing was missing."""
        return not self.problems


def encode_file(
    source: Source,
    target: Target,
    quality: float = 75,
    *,
    level: int | None = None,
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
) -> Info:
    """Encode a picture file to an .aec file, which appears whole or not at all.

    Args:
        source: path or binary file object of a JPEG, PNG, TIFF, WebP, AVIF, BMP, GIF or PPM file.
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
        effort=effort,
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
) -> DecodedFile:
    """Decode an .aec file to a picture file, which appears whole or not at all.

    PNG, TIFF and PPM are written while the picture is decoded, in memory that grows with its width and not
    with its area; the others need the whole picture in memory.

    Args:
        source: path, binary file object or bytes of an .aec file.
        target: path or binary file object to write; a file object may have got a part of the picture when an
            error ends the decoding.
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
    options = DecodeOptions(region, scale, allow_partial, model, runtime, window_side, jobs, limits, progress)
    with open_decoding(source, options) as decoding:
        check_fits(decoding.frame, chosen_format)
        if writes_rows(chosen_format):
            _write_rows(decoding, target, chosen_format, force)
        else:
            save_picture(decoding.picture(), target, chosen_format, overwrite=force)
        frame, told = decoding.frame, decoding.source
        return DecodedFile(frame.width, frame.height, told.missing, told.problems)


def _write_rows(decoding: Decoding, target: Target, format: str, force: bool) -> None:
    """Write each band of rows as soon as it is decoded."""
    top = 0
    with (
        open_picture_file(decoding.frame, target, format, overwrite=force) as write,
        closing(decoding.bands()) as bands,
    ):
        for band in bands:
            alpha = None if decoding.alpha is None else decoding.alpha[top : top + len(band)]
            write(interleaved(band, alpha))
            top += len(band)
