"""Is a file whole and sound? What are its symbols? No network is loaded for either."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aecodec.codec import ModelChoice, Progress, checked_jobs, model_of, thread_pool
from aecodec.container import DEFAULT_LIMITS, ContainerReader, Limits, SectionKind
from aecodec.errors import AecodecError, FormatError, TruncatedError, UnsupportedError
from aecodec.image import plane_from_png
from aecodec.inspection import Info, info_of
from aecodec.models import Model
from aecodec.sections import SectionSource, chunk_symbols
from aecodec.streams import ReadableFile, open_source, size_of
from aecodec.windows import Symbols

_Result = TypeVar("_Result")

__all__ = ["Report", "symbols", "symbols_hash", "verify"]


@dataclass(frozen=True)
class Report:
    """What :func:`verify` found.

    Attributes:
        problems: the errors that decoding the file would raise, in the order of the file; empty when it is
            sound.
        info: the header; None when even that cannot be read.
        symbols_hash: as :func:`symbols_hash` gives it; None when a chunk cannot be decoded.
    """

    problems: tuple[AecodecError, ...]
    info: Info | None
    symbols_hash: str | None

    @property
    def ok(self) -> bool:
        """Whether the file is whole and sound."""
        return not self.problems


def verify(
    data: ReadableFile,
    *,
    model: ModelChoice = None,
    jobs: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a file as far as that is possible without a network: all checksums, model known, all symbols
    decode.

    Args:
        data: the file as bytes, a path or a binary file object.
        model: where a model that is not installed lies.
        jobs: threads that decode chunks; by default as many as there are cores.
        limits: what to accept.
        progress: called in this thread with (done, total), counted in chunks.

    Raises:
        InputError: the file cannot be read (what is wrong with its content is in the report).
        LimitError: the picture is larger than the limits allow.
    """
    with open_source(data) as stream:
        size = size_of(stream)
        try:
            reader = ContainerReader(stream, allow_truncated=True, limits=limits or DEFAULT_LIMITS)
        except (FormatError, UnsupportedError) as error:
            return Report((error,), None, None)
        problems: list[AecodecError] = []
        chosen = _attempt(problems, lambda: model_of(reader.header, model))
        if reader.truncation is not None:
            problems.append(TruncatedError(str(reader.truncation)))
        _check_sections(problems, reader, skip=reader.header.chunk_kinds if chosen else ())
        digest = None
        if chosen is not None:
            digest = _check_chunks(problems, reader, chosen, checked_jobs(jobs), progress)
        return Report(tuple(problems), info_of(reader.header, size, chosen), digest)


def _check_sections(
    problems: list[AecodecError], reader: ContainerReader, *, skip: Collection[SectionKind]
) -> None:
    """Checksums, and what the alpha plane holds."""
    for entry in reader.entries:
        if entry.kind not in skip:
            _attempt(problems, partial(reader.read_payload, entry))
    width, height, depth = reader.header.width, reader.header.height, reader.header.depth
    data = _attempt([], partial(reader.concatenated, SectionKind.ALPHA))  # damage has been found above
    if data is not None:
        _attempt(problems, lambda: plane_from_png(data, width, height, depth))


def _check_chunks(
    problems: list[AecodecError],
    reader: ContainerReader,
    model: Model,
    jobs: int,
    progress: Progress | None,
) -> str | None:
    """Decode all symbols; their hash if that succeeds."""
    digest = hashlib.sha256()
    sound = reader.truncation is None
    for done, job in enumerate(_chunk_jobs(reader, model, jobs), start=1):
        chunk = _attempt(problems, job.result)
        if chunk is None:
            sound = False
        else:
            _update(digest, chunk)
        if progress is not None:
            progress(done, reader.header.chunk_count)
    return digest.hexdigest() if sound else None


def _attempt(problems: list[AecodecError], check: Callable[[], _Result]) -> _Result | None:
    """The result of a check, or None and one more problem."""
    try:
        return check()
    except AecodecError as error:
        problems.append(error)
        return None


def symbols(
    data: ReadableFile, *, model: ModelChoice = None, limits: Limits | None = None
) -> list[tuple[NDArray[np.int16], NDArray[np.int16]]]:
    """The symbols of each chunk, in raster order.

    Returns:
        (z, r) for each chunk: int16 (rows, columns, hyper channels) and (4 rows, 4 columns, latent channels).
        The coefficients of post-filters, which belong to the pixels, are left out.

    Raises:
        as :func:`aecodec.decode`.
    """
    with open_source(data) as stream:
        reader = ContainerReader(stream, limits=limits or DEFAULT_LIMITS)
        chosen = model_of(reader.header, model)
        return [(job.result().z, job.result().r) for job in _chunk_jobs(reader, chosen, jobs=1)]


def symbols_hash(
    data: ReadableFile, *, model: ModelChoice = None, jobs: int | None = None, limits: Limits | None = None
) -> str:
    """SHA-256, in hexadecimal digits, over z, r and the coefficients of the post-filter, if there is one, of
    each chunk in raster order, as little-endian int16.

    The same on every machine and with every runtime: nothing here is float.

    Raises:
        as :func:`aecodec.decode`.
    """
    with open_source(data) as stream:
        reader = ContainerReader(stream, limits=limits or DEFAULT_LIMITS)
        chosen = model_of(reader.header, model)
        digest = hashlib.sha256()
        for job in _chunk_jobs(reader, chosen, checked_jobs(jobs)):
            _update(digest, job.result())
        return digest.hexdigest()


def _update(digest: hashlib._Hash, chunk: Symbols) -> None:
    for integers in chunk:
        if integers is not None:
            digest.update(integers.astype("<i2", copy=False).tobytes())


def _chunk_jobs(reader: ContainerReader, model: Model, jobs: int) -> Iterator[Future[Symbols]]:
    """The decoding of all chunks in raster order; only a few run ahead, which bounds memory."""
    source = SectionSource(reader, tolerant=False)
    with thread_pool(jobs) as pool:
        waiting: deque[Future[Symbols]] = deque()
        for index in range(reader.header.chunk_count):
            waiting.append(pool.submit(_read_chunk, source, model, index))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft()
        yield from waiting


def _read_chunk(source: SectionSource, model: Model, index: int) -> Symbols:
    return chunk_symbols(source.chunk(index), source.header, index, model.entropy)
