"""Which sections a picture becomes, and what a file, whole or not, has of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from aecodec.container import ContainerReader, Header, Section, SectionKind, split_payload
from aecodec.entropy import PART_COUNT, ChunkBytes, EntropyModel, decode_chunk, decode_parts, empty_planes
from aecodec.errors import ChecksumError, CorruptedError
from aecodec.image import Picture, plane_to_png
from aecodec.partial import estimate_missing
from aecodec.windows import HYPER_STRIDE, Symbols

__all__ = ["ChunkDecoding", "SectionSource", "chunk_symbols", "sections_of"]

_KNOWN_KINDS = frozenset(int(kind) for kind in SectionKind)


def chunk_symbols(data: ChunkBytes, header: Header, index: int, entropy: EntropyModel) -> Symbols:
    """The symbols of a chunk; those that are missing are 0."""
    grid = _grid(header, index)
    coefficients = _empty_coefficients(header, entropy)
    z, r = decode_chunk(
        data, grid, header.level, entropy, dependent=header.dependent, coefficients=coefficients
    )
    return Symbols(z, r, coefficients)


def _empty_coefficients(header: Header, entropy: EntropyModel) -> NDArray[np.int16] | None:
    """Zeros for the coefficients of a chunk's post-filter; None in a file without."""
    return np.zeros(entropy.hyper.coefficient_count, np.int16) if header.filtered else None


def _grid(header: Header, index: int) -> tuple[int, int]:
    """Rows and columns of the hyper-latents of a chunk."""
    box = header.chunk_box(index)
    return box.height // HYPER_STRIDE, box.width // HYPER_STRIDE


class ChunkDecoding:
    """The symbols of a chunk while a thread decodes them: who needs a step waits for it, not for all.

    Args:
        data: the chunk's payloads; residuals that are missing are estimated from those that are there.
        header: of the picture.
        index: of the chunk.
        entropy: the entropy model.
    """

    def __init__(self, data: ChunkBytes, header: Header, index: int, entropy: EntropyModel) -> None:
        self._data, self._header, self._entropy = data, header, entropy
        self._z, self._r = empty_planes(_grid(header, index), entropy)
        self._coefficients = _empty_coefficients(header, entropy)
        self._problem: str | None = None
        self._parts: tuple[Future[None], ...] = tuple(Future() for _ in range(PART_COUNT))

    @property
    def symbols(self) -> Symbols:
        """Waits for the hyper-latents; residuals of a step are there when :meth:`wait_for` it returns.

        Raises:
            CorruptedError: the payload of the hyper-latents is not one that the encoder writes.
        """
        self._parts[0].result()
        return Symbols(self._z, self._r, self._coefficients)

    def wait_for(self, step: int) -> None:
        """Wait until the residuals of a step are there.

        Raises:
            CorruptedError: a payload is not one that the encoder writes.
        """
        self._parts[1 + step].result()

    @property
    def problem(self) -> str | None:
        """What ended the decoding of a payload that is cut off and damaged, once all steps are waited for."""
        return self._problem

    def run(self) -> None:
        """Decode; errors are raised where the symbols are waited for."""
        try:
            self._decode()
        except BaseException as error:
            for part in self._parts:
                if not part.done():
                    part.set_exception(error)

    def _decode(self) -> None:
        header, decoded = self._header, 0
        parts = decode_parts(
            self._data,
            self._z,
            self._r,
            header.level,
            self._entropy,
            dependent=header.dependent,
            coefficients=self._coefficients,
        )
        try:
            for decoded, _ in enumerate(parts, start=1):
                if self._data.whole:
                    self._parts[decoded - 1].set_result(None)
        except CorruptedError as error:
            if not self._data.damaged:
                raise
            if self._data.missing:  # a wrong checksum has been noted
                self._problem = str(error)
        if not self._data.whole:
            self._r[...] = estimate_missing(self._r, steps=max(decoded - 1, 0))
            for part in self._parts:
                part.set_result(None)


def sections_of(picture: Picture, header: Header, chunks: Sequence[ChunkBytes]) -> Iterator[Section]:
    """All sections in the order of the file.

    Metadata come first: a truncated file keeps its profile and orientation, and none can get lost unnoticed
    at the end of a file whose symbols are whole. Then what a truncated file can do without, the most needed
    first.
    """
    metadata = (
        (SectionKind.ICC_PROFILE, picture.icc_profile),
        (SectionKind.EXIF, picture.exif),
        (SectionKind.XMP, picture.xmp),
    )
    for kind, content in metadata:
        if content is not None:
            yield from split_payload(kind, content)
    by_kind = zip(*(chunk.payloads for chunk in chunks), strict=True)
    for kind, payloads in zip(header.chunk_kinds, by_kind, strict=True):
        for payload in payloads:
            yield Section(kind, payload)
    if picture.alpha is not None:
        yield from split_payload(SectionKind.ALPHA, plane_to_png(picture.alpha))


class SectionSource:
    """The sections of a file, as far as they are there.

    Args:
        reader: of the file.
        tolerant: note a damaged section instead of raising its ChecksumError.
    """

    def __init__(self, reader: ContainerReader, *, tolerant: bool) -> None:
        self.header = reader.header
        self._reader = reader
        self._tolerant = tolerant
        self._problems = [str(reader.truncation)] if reader.truncation else []
        self._wanted = 0
        self._found = 0.0

    @property
    def problems(self) -> tuple[str, ...]:
        """What was found to be missing or damaged, so far."""
        return tuple(self._problems)

    @property
    def missing(self) -> float:
        """The fraction missing of the chunks' sections that were asked for, so far. Of a chunk with one
        section, the part that is there counts.
        """
        return (self._wanted - self._found) / self._wanted if self._wanted else 0.0

    def chunk(self, index: int) -> ChunkBytes:
        """The payloads of a chunk up to the first that is missing, for the others build upon it."""
        payloads: list[bytes] = []
        for kind in self.header.chunk_kinds:
            payload = self._tolerate(self._reader.chunk_payload, kind, index)
            if payload is None:
                break
            payloads.append(payload)
        data = ChunkBytes(tuple(payloads), joined=self.header.joined)
        if self.header.joined and not payloads:
            data = self._unverified(index)
        self._wanted += 1
        self._found += _share_there(data) * len(data.payloads) / len(self.header.chunk_kinds)
        return data

    def _unverified(self, index: int) -> ChunkBytes:
        """The only payload of a chunk, damaged or cut off, as far as it is there."""
        found = self._reader.unverified_payload(SectionKind.SYMBOLS, index)
        if found is None:
            return ChunkBytes((), joined=True)
        payload, missing = found
        return ChunkBytes((payload,), joined=True, missing=missing, damaged=self._tolerant)

    def concatenated(self, kind: SectionKind) -> bytes | None:
        """The payload of a kind that there is once in the picture, or None."""
        return self._tolerate(self._reader.concatenated, kind)

    def check_unknown(self) -> None:
        """Verify the sections that are skipped: a damaged kind may have made one of them out of another."""
        for entry in self._reader.entries:
            if entry.kind not in _KNOWN_KINDS:
                self._tolerate(self._reader.read_payload, entry)

    def note(self, problem: str) -> None:
        """Add to the problems."""
        self._problems.append(problem)

    def _tolerate(self, read: Callable[..., bytes | None], *arguments: object) -> bytes | None:
        try:
            return read(*arguments)
        except ChecksumError as error:
            if not self._tolerant:
                raise
            self.note(str(error))
            return None


def _share_there(data: ChunkBytes) -> float:
    """How much there is of payloads: of a damaged one that is not cut off, nothing is sure."""
    if data.missing:
        return data.size / (data.size + data.missing)
    return 0.0 if data.damaged else 1.0
