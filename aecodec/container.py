"""The .aec file: a header and sections, to bytes and back. Standard library only.

``formats/aec.md`` is the normative text; this module knows sections, lengths and checksums, and nothing of
what the payloads mean. Three ways in and out, all of which follow the same rules:

* :func:`write_container` and :func:`read_container`: a whole file in memory; every checksum is verified.
* :class:`ContainerWriter`: sections go to a stream as they are made, in bounded memory.
* :class:`ContainerReader`: walks the heads of the sections of a seekable stream and reads a payload, and
  verifies its checksum, only when it is asked for (decoding a region of a large picture).

Order of the checks, which decides what a file with several faults is called: magic, version, length of the
header, checksum of the header, reserved bits and values, ranges, limits; then for each section: length,
checksum (the lazy reader leaves it for later, unless a section breaks another rule), kind, order and
count; at the end: completeness. The version stands before the checksum so that a newer version, whose
header may differ, is not mistaken for damage.

The magic follows the PNG signature (ISO/IEC 15948, 5.2): a byte that is not ASCII, CR LF, a DOS end of file
and LF show the usual transfer damage.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeVar

from aecodec.errors import (
    ChecksumError,
    CorruptedError,
    InputError,
    LimitError,
    NotAnAecFileError,
    TruncatedError,
    UnsupportedError,
)

__all__ = [
    "CHUNK_KINDS",
    "DEFAULT_CHUNK_SIDE",
    "DEFAULT_LIMITS",
    "HEADER_SIZE",
    "LARGEST_JOINED_SIDE",
    "MAGIC",
    "MAX_LEVEL",
    "MAX_PAYLOAD_SIZE",
    "MAX_SIDE",
    "MODEL_ID_SIZE",
    "SECTION_OVERHEAD",
    "VERSION",
    "Box",
    "Container",
    "ContainerReader",
    "ContainerWriter",
    "Header",
    "Limits",
    "Section",
    "SectionEntry",
    "SectionKind",
    "Truncation",
    "read_container",
    "read_header",
    "section_name",
    "split_payload",
    "write_container",
    "write_header",
]

MAGIC = b"\xaeAEC\r\n\x1a\n"
VERSION = 1
HEADER_SIZE = 36
SECTION_OVERHEAD = 8
MODEL_ID_SIZE = 8
MAX_SIDE = 32_768
MAX_LEVEL = 224
MAX_PAYLOAD_SIZE = 2**24 - 1
DEFAULT_CHUNK_SIDE = 1024
LARGEST_JOINED_SIDE = 1024
"""Of pictures with one section for all: of 128 bits a pixel and less, its payload stays below 2**24 bytes."""

_UNIT = 64  # pixels: the grid of the hyper-latents, of the padding and of the chunk side
_MAX_CHUNK_UNITS = 255
_LAYOUTS = (1, 3)
_DEPTHS = (8, 16)
_FLAG_ALPHA = 0x01
_FLAG_DEPENDENT = 0x02
_FLAG_FILTERED = 0x04
_FLAG_JOINED = 0x08
_FIRST_OPTIONAL_KIND = 0x80

# magic, version, flags, layout, depth, level, chunk side, reserved, width, height, model id, checksum
_HEADER = struct.Struct("<8sBBBBBBHII8sI")
_VERSION_OFFSET = 8
_CHECKSUM_OFFSET = 32

_TRANSFER_AGAIN = "Copy or download the file again."
_TEXT_MODE = "It was transferred in text mode, which changed its line ends: transfer it again in binary mode."
_UTF_8 = "It was treated as text and re-encoded as UTF-8: transfer it again in binary mode."
_DAMAGED_MAGICS = (
    (b"\xaeAEC\n\x1a\n", _TEXT_MODE),  # CR LF -> LF
    (b"\xaeAEC\r\r\n\x1a", _TEXT_MODE),  # LF -> CR LF
    (b"\xaeAEC\r\n\x1a\r\n", _TEXT_MODE),  # LF -> CR LF, sparing the CR LF that was there
    (b"\xaeAEC\r\x1a\r", _TEXT_MODE),  # CR LF and LF -> CR
    (b"\xaeAEC\r\r\x1a\r", _TEXT_MODE),  # LF -> CR
    (b".AEC\r\n\x1a\n", "Its eighth bits were cleared: transfer it again in binary mode."),
    (b"\xc2\xaeAEC", _UTF_8),
    (b"\xef\xbf\xbdAEC", _UTF_8),
)


class SectionKind(IntEnum):
    """The sections that this version knows. Kinds below 0x80 are critical, the others optional."""

    HYPER_LATENTS = 0x01
    RESIDUALS_0 = 0x02
    RESIDUALS_1 = 0x03
    RESIDUALS_2 = 0x04
    RESIDUALS_3 = 0x05
    RESIDUALS_4 = 0x06
    SYMBOLS = 0x07
    ALPHA = 0x08
    ICC_PROFILE = 0x81
    EXIF = 0x82
    XMP = 0x83


#: The sections that each chunk has one of, in the order of decoding, where they are not joined.
CHUNK_KINDS = tuple(kind for kind in SectionKind if kind < SectionKind.SYMBOLS)
_JOINED_KINDS = (SectionKind.SYMBOLS,)
_METADATA_KINDS = (SectionKind.ICC_PROFILE, SectionKind.EXIF, SectionKind.XMP)
_KNOWN_KINDS = frozenset(int(kind) for kind in SectionKind)


def section_name(kind: int) -> str:
    """The name of a section kind for messages, as ``RESIDUALS_0 (0x02)`` or ``0x7F``."""
    return f"{SectionKind(kind).name} (0x{kind:02X})" if kind in _KNOWN_KINDS else f"0x{kind:02X}"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: columns x .. x + width - 1, rows y .. y + height - 1."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column to the right of the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below the box."""
        return self.y + self.height


@dataclass(frozen=True)
class Header:
    """What the first 36 bytes of a file say.

    Args:
        width: columns of the picture, 1 .. 32768.
        height: rows of the picture, 1 .. 32768.
        level: position on the model's rate scale, 0 .. 224.
        model_id: the 8 bytes that name the model that decodes the file.
        layout: colour channels of the source, 1 (gray) or 3 (RGB); alpha is not counted.
        depth: bits per sample of the source and of the decoded picture, 8 or 16.
        has_alpha: whether alpha sections follow.
        dependent: whether residuals whose table is wide enough have dependent quantisers.
        filtered: whether each chunk has a post-filter.
        joined: whether each chunk has one section, not six.
        chunk_side: side of the independently coded chunks in pixels, a multiple of 64 in 64 .. 16320.

    Raises:
        InputError: a field is out of its range (LimitError: a side is above 32768).
    """

    width: int
    height: int
    level: int
    model_id: bytes
    layout: int = 3
    depth: int = 8
    has_alpha: bool = False
    dependent: bool = False
    filtered: bool = False
    joined: bool = False
    chunk_side: int = DEFAULT_CHUNK_SIDE

    def __post_init__(self) -> None:
        for name, side in (("width", self.width), ("height", self.height)):
            if side < 1:
                raise InputError(f"Expected a picture {name} of at least 1, received {side}.")
            if side > MAX_SIDE:
                raise LimitError(f"Expected a picture {name} of at most {MAX_SIDE}, received {side}.")
        if not 0 <= self.level <= MAX_LEVEL:
            raise InputError(f"Expected a level in 0 .. {MAX_LEVEL}, received {self.level}.")
        if len(self.model_id) != MODEL_ID_SIZE:
            raise InputError(f"Expected a model id of {MODEL_ID_SIZE} bytes, received {len(self.model_id)}.")
        if self.layout not in _LAYOUTS:
            raise InputError(f"Expected layout 1 (gray) or 3 (RGB), received {self.layout}.")
        if self.depth not in _DEPTHS:
            raise InputError(f"Expected a depth of 8 or 16 bits, received {self.depth}.")
        if self.chunk_side % _UNIT or not 1 <= self.chunk_side // _UNIT <= _MAX_CHUNK_UNITS:
            raise InputError(
                f"Expected a chunk side that is a multiple of {_UNIT} in {_UNIT} .. "
                f"{_UNIT * _MAX_CHUNK_UNITS}, received {self.chunk_side}."
            )

    @property
    def padded_width(self) -> int:
        """The width rounded up to a multiple of 64."""
        return -(-self.width // _UNIT) * _UNIT

    @property
    def padded_height(self) -> int:
        """The height rounded up to a multiple of 64."""
        return -(-self.height // _UNIT) * _UNIT

    @property
    def chunk_kinds(self) -> tuple[SectionKind, ...]:
        """The sections that each chunk has one of, in the order of decoding."""
        return _JOINED_KINDS if self.joined else CHUNK_KINDS

    @property
    def chunk_grid(self) -> tuple[int, int]:
        """How many (rows, columns) of chunks cover the padded picture."""
        return -(-self.height // self.chunk_side), -(-self.width // self.chunk_side)

    @property
    def chunk_count(self) -> int:
        """The number of chunks."""
        rows, columns = self.chunk_grid
        return rows * columns

    def chunk_box(self, index: int) -> Box:
        """The pixels of the padded picture that chunk ``index`` (raster order) covers.

        Raises:
            InputError: there is no such chunk.
        """
        if not 0 <= index < self.chunk_count:
            raise InputError(f"Expected a chunk index in 0 .. {self.chunk_count - 1}, received {index}.")
        row, column = divmod(index, self.chunk_grid[1])
        x, y = column * self.chunk_side, row * self.chunk_side
        width = min(self.chunk_side, self.padded_width - x)
        height = min(self.chunk_side, self.padded_height - y)
        return Box(x, y, width, height)

    def chunks_touching(self, box: Box) -> tuple[int, ...]:
        """Indices, in raster order, of the chunks that share a pixel of the padded picture with ``box``."""
        left, top = max(box.x, 0), max(box.y, 0)
        right, bottom = min(box.right, self.padded_width), min(box.bottom, self.padded_height)
        if left >= right or top >= bottom:
            return ()
        side, columns = self.chunk_side, self.chunk_grid[1]
        return tuple(
            row * columns + column
            for row in range(top // side, -(-bottom // side))
            for column in range(left // side, -(-right // side))
        )


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its kind (a :class:`SectionKind`, or an unknown 0x80 .. 0xFF) and its payload."""

    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SectionEntry:
    """Where a section's payload lies (bytes from the start of the file), and the stored CRC-32."""

    kind: int
    offset: int
    length: int
    checksum: int

    @property
    def end(self) -> int:
        """The offset of the first byte behind the payload."""
        return self.offset + self.length


@dataclass(frozen=True)
class Limits:
    """What a reader accepts; checked before anything of that size is allocated.

    Args:
        max_side: pixels per side. The format itself allows 32768, so a greater value changes nothing.
        max_pixels: width times height.
        max_sections: sections of a file, those included that are skipped.
        max_metadata_bytes: bytes of each kind of metadata (ICC profile, EXIF, XMP), all pieces together.
        max_chunk_side: pixels per side of a chunk, which is decoded at once: with 320 latent channels that
            takes 0.2 GB for a chunk of 4096 x 4096 and 2.5 GB for the largest that a header can ask for.
    """

    max_side: int = MAX_SIDE
    max_pixels: int = 2**28
    max_sections: int = 2**19
    max_metadata_bytes: int = 2**26
    max_chunk_side: int = 4096

    def check_picture(self, width: int, height: int) -> None:
        """Raise LimitError when a picture of this size is too large."""
        max_side = min(self.max_side, MAX_SIDE)
        if max(width, height) > max_side:
            raise LimitError(f"The picture is {width} x {height} pixels; the limit is {max_side} per side.")
        if width * height > self.max_pixels:
            raise LimitError(
                f"The picture has {width} x {height} = {width * height} pixels; "
                f"the limit is {self.max_pixels}. Raise max_pixels to accept it."
            )

    def check_chunks(self, header: Header) -> None:
        """Raise LimitError when the chunks of a picture are too large or too many."""
        side = min(header.chunk_side, max(header.padded_width, header.padded_height))
        if side > self.max_chunk_side:
            raise LimitError(
                f"The picture has chunks of up to {side} pixels a side; the limit is {self.max_chunk_side}. "
                "Raise max_chunk_side to accept it, or use smaller chunks when encoding."
            )
        self.check_section_count(len(header.chunk_kinds) * header.chunk_count + int(header.has_alpha))

    def check_section_count(self, count: int) -> None:
        """Raise LimitError when a file of ``count`` sections has too many."""
        if count > self.max_sections:
            raise LimitError(
                f"The file needs {count} sections or more; the limit is {self.max_sections}. "
                "Raise max_sections to accept it, or use larger chunks when encoding."
            )

    def check_metadata(self, kind: int, size: int) -> None:
        """Raise LimitError when the metadata of one kind is ``size`` bytes and that is too much."""
        if size > self.max_metadata_bytes:
            raise LimitError(
                f"The {section_name(kind)} sections hold {size} bytes or more; the limit is "
                f"{self.max_metadata_bytes}. Raise max_metadata_bytes to accept them."
            )


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Truncation:
    """How a file that ends early differs from the whole one.

    Args:
        missing: (section kind, number of sections of this kind that are not there whole), in the order of the
            file. Sections that are not required are counted only when the file ends inside one.
        missing_bytes: at least so many bytes are missing (exactly how many, the missing parts would say).
        whole_bytes: length of the part, header included, that holds only whole sections.
        surplus_bytes: where all required sections are there: how many bytes follow that are no whole section.
        cut: the section that the file ends inside of, if its head is there.
    """

    missing: tuple[tuple[int, int], ...]
    missing_bytes: int
    whole_bytes: int
    surplus_bytes: int = 0
    cut: SectionEntry | None = None

    @property
    def missing_sections(self) -> int:
        """The number of sections that are not there whole."""
        return sum(count for _, count in self.missing)

    def is_missing(self, kind: int) -> bool:
        """Whether a section of this kind is not there whole."""
        return any(kind == missing for missing, _ in self.missing)

    def __str__(self) -> str:
        missing = ", ".join(f"{count} of {section_name(kind)}" for kind, count in self.missing)
        if self.surplus_bytes:
            return (
                f"All required sections end at byte {self.whole_bytes}; the {self.surplus_bytes} bytes "
                f"behind them are no whole section: {missing} that is cut off, or bytes that are not the "
                "file's."
            )
        return (
            f"The file ends early: behind byte {self.whole_bytes}, at least {self.missing_bytes} bytes in "
            f"{self.missing_sections} section(s) are missing ({missing})."
        )


@dataclass(frozen=True)
class Container:
    """A file in memory.

    Args:
        header: the header.
        sections: the whole sections in the order of the file, unknown optional ones included.
        truncation: None when the file is whole.
    """

    header: Header
    sections: tuple[Section, ...]
    truncation: Truncation | None = None

    @cached_property
    def _by_kind(self) -> Mapping[int, tuple[bytes, ...]]:
        return _group((section.kind, section.payload) for section in self.sections)

    def payloads(self, kind: int) -> tuple[bytes, ...]:
        """The payloads of all sections of one kind, in the order of the file."""
        return self._by_kind.get(kind, ())

    def concatenated(self, kind: int) -> bytes | None:
        """The pieces of one kind concatenated; None when there are none or the file ends inside of one."""
        if self.truncation is not None and self.truncation.is_missing(kind):
            return None
        pieces = self.payloads(kind)
        return b"".join(pieces) if pieces else None

    def chunk_payload(self, kind: int, index: int) -> bytes | None:
        """The section of chunk ``index`` of a per-chunk kind; None when the file ends before it.

        Raises:
            InputError: the kind is not one per chunk, or there is no such chunk.
        """
        _check_chunk(self.header, kind, index)
        pieces = self.payloads(kind)
        return pieces[index] if index < len(pieces) else None


_Item = TypeVar("_Item")


# Header to bytes and back -----------------------------------------------------------------------------------


def write_header(header: Header) -> bytes:
    """The 36 bytes of a header; the mirror image of :func:`read_header`."""
    fields = _HEADER.pack(
        MAGIC,
        VERSION,
        _FLAG_ALPHA * header.has_alpha
        | _FLAG_DEPENDENT * header.dependent
        | _FLAG_FILTERED * header.filtered
        | _FLAG_JOINED * header.joined,
        header.layout,
        header.depth,
        header.level,
        header.chunk_side // _UNIT,
        0,
        header.width,
        header.height,
        header.model_id,
        0,
    )[:_CHECKSUM_OFFSET]
    return fields + zlib.crc32(fields).to_bytes(4, "little")


def read_header(data: bytes | bytearray | memoryview, *, limits: Limits = DEFAULT_LIMITS) -> Header:
    """The header of a file of which ``data`` is the beginning (36 bytes suffice).

    Raises:
        NotAnAecFileError: the magic is missing or damaged.
        UnsupportedError: a newer version, or a reserved bit or value.
        TruncatedError: fewer than 36 bytes.
        ChecksumError: the header's checksum differs.
        CorruptedError: a field is out of its range.
        LimitError: the picture is larger than ``limits`` allow.
    """
    head = bytes(_as_bytes_view(data)[:HEADER_SIZE])
    _check_magic(head)
    if len(head) > _VERSION_OFFSET and head[_VERSION_OFFSET] != VERSION:
        raise UnsupportedError(
            f"The file is of format version {head[_VERSION_OFFSET]}; this aecodec reads version {VERSION}. "
            "Update aecodec."
        )
    if len(head) < HEADER_SIZE:
        raise _truncated_header(len(head))
    _check_sum(head[:_CHECKSUM_OFFSET], head[_CHECKSUM_OFFSET:], "the header")
    flags, layout, depth, level, chunk_units, reserved, width, height, model_id = _HEADER.unpack(head)[2:-1]
    _check_reserved(flags, reserved, layout, depth)
    _check_ranges(level, chunk_units, width, height)
    limits.check_picture(width, height)
    header = Header(
        width=width,
        height=height,
        level=level,
        model_id=model_id,
        layout=layout,
        depth=depth,
        has_alpha=bool(flags & _FLAG_ALPHA),
        dependent=bool(flags & _FLAG_DEPENDENT),
        filtered=bool(flags & _FLAG_FILTERED),
        joined=bool(flags & _FLAG_JOINED),
        chunk_side=chunk_units * _UNIT,
    )
    limits.check_chunks(header)
    return header


def _truncated_header(length: int) -> TruncatedError:
    return TruncatedError(f"Expected a header of {HEADER_SIZE} bytes, found only {length}. {_TRANSFER_AGAIN}")


def _check_magic(head: bytes) -> None:
    if head.startswith(MAGIC):
        return
    if MAGIC.startswith(head):
        raise _truncated_header(len(head))
    found = head[: len(MAGIC)]
    for damaged, explanation in _DAMAGED_MAGICS:
        if head.startswith(damaged):
            raise NotAnAecFileError(f"The magic of an .aec file is damaged ({found.hex(' ')}). {explanation}")
    raise NotAnAecFileError(
        f"Not an .aec picture: expected the file to begin with {MAGIC.hex(' ')}, found {found.hex(' ')}."
    )


def _check_sum(covered: bytes, stored: bytes, where: str) -> None:
    expected, found = int.from_bytes(stored, "little"), zlib.crc32(covered)
    if found != expected:
        raise ChecksumError(_checksum_message(expected, found, where))


def _checksum_message(expected: int, found: int, where: str) -> str:
    sums = f"expected the CRC-32 0x{expected:08X}, computed 0x{found:08X}"
    return f"Damaged data in {where}: {sums}. {_TRANSFER_AGAIN}"


def _check_reserved(flags: int, reserved: int, layout: int, depth: int) -> None:
    unknown_flags = flags & ~(_FLAG_ALPHA | _FLAG_DEPENDENT | _FLAG_FILTERED | _FLAG_JOINED)
    for name, value, is_known in (
        ("flags", unknown_flags, not unknown_flags),
        ("reserved bytes", reserved, not reserved),
        ("layout", layout, layout in _LAYOUTS),
        ("depth", depth, depth in _DEPTHS),
    ):
        if not is_known:
            raise UnsupportedError(
                f"The header's {name} field holds 0x{value:02X}, which format version {VERSION} "
                "reserves. Update aecodec."
            )


def _check_ranges(level: int, chunk_units: int, width: int, height: int) -> None:
    for name, value, lowest, highest in (
        ("level", level, 0, MAX_LEVEL),
        ("chunk side in units of 64 pixels", chunk_units, 1, _MAX_CHUNK_UNITS),
        ("width", width, 1, None),
        ("height", height, 1, None),
    ):
        if value < lowest or (highest is not None and value > highest):
            wanted = f"at least {lowest}" if highest is None else f"{lowest} .. {highest}"
            raise CorruptedError(f"The header's {name} is {value}; expected {wanted}.")


# What both directions share ---------------------------------------------------------------------------------


def _section_head(kind: int, length: int) -> bytes:
    return bytes((kind,)) + length.to_bytes(3, "little")


def _section_checksum(kind: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_section_head(kind, len(payload))))


def _check_chunk(header: Header, kind: int, index: int) -> None:
    if kind not in header.chunk_kinds:
        names = ", ".join(map(section_name, header.chunk_kinds))
        raise InputError(f"Expected a section that each chunk has ({names}), received {section_name(kind)}.")
    header.chunk_box(index)


def _group(pairs: Iterable[tuple[int, _Item]]) -> dict[int, tuple[_Item, ...]]:
    groups: dict[int, list[_Item]] = {}
    for kind, item in pairs:
        groups.setdefault(kind, []).append(item)
    return {kind: tuple(items) for kind, items in groups.items()}


class _SectionOrder:
    """The rules on the order and the number of sections, the same for the readers and the writer."""

    def __init__(self, header: Header, limits: Limits) -> None:
        self._header = header
        self._limits = limits
        self._counts: dict[int, int] = {}
        self._metadata_sizes: dict[int, int] = {}
        self._last_critical = 0
        self._total = 0

    def add(self, kind: int, length: int) -> str | None:
        """Take a section of a known or an optional kind; the answer says what rule it breaks, or None.

        Raises:
            LimitError: too many sections, or too much metadata.
        """
        problem = self._problem_with(kind) if kind < _FIRST_OPTIONAL_KIND else None
        if problem is not None:
            return problem
        self._total += 1
        self._limits.check_section_count(self._total)
        if kind in _METADATA_KINDS:
            self._metadata_sizes[kind] = self._metadata_sizes.get(kind, 0) + length
            self._limits.check_metadata(kind, self._metadata_sizes[kind])
        if kind < _FIRST_OPTIONAL_KIND:
            self._last_critical = kind
            self._counts[kind] = self._counts.get(kind, 0) + 1
        return None

    def missing(self) -> list[tuple[int, int]]:
        """(kind, number of sections that are still to come) of the required kinds."""
        expected: dict[int, int] = dict.fromkeys(self._header.chunk_kinds, self._header.chunk_count)
        if self._header.has_alpha:
            expected[SectionKind.ALPHA] = 1
        missing = [(int(kind), count - self._counts.get(kind, 0)) for kind, count in expected.items()]
        return [(kind, count) for kind, count in missing if count > 0]

    def _problem_with(self, kind: int) -> str | None:
        chunks, kinds = self._header.chunk_count, self._header.chunk_kinds
        if kind < self._last_critical:
            return f"a {section_name(kind)} section follows a {section_name(self._last_critical)} section"
        if kind not in (*kinds, SectionKind.ALPHA):
            number = "one section" if self._header.joined else "a section for each part"
            return f"there is a {section_name(kind)} section, but by the header a chunk has {number}"
        for former in kinds:
            if former < kind and self._counts.get(former, 0) != chunks:
                return (
                    f"a {section_name(kind)} section begins after {self._counts.get(former, 0)} "
                    f"{section_name(former)} section(s); expected one for each of the {chunks} chunk(s)"
                )
        if kind in kinds and self._counts.get(kind, 0) == chunks:
            return f"there are more {section_name(kind)} sections than chunks ({chunks})"
        if kind == SectionKind.ALPHA and not self._header.has_alpha:
            return f"there is an {section_name(kind)} section, but the header's alpha flag is not set"
        return None


# Writing ----------------------------------------------------------------------------------------------------


class ContainerWriter:
    """Writes a file section by section, in bounded memory.

    Order of the critical sections: HYPER_LATENTS of all chunks in raster order, then RESIDUALS_0 of all
    chunks, and so on to RESIDUALS_4, or else SYMBOLS of all chunks; then ALPHA. Optional sections may stand
    anywhere. Use it as a context manager, or call :meth:`finish`: only then is it known that the file is
    whole. The stream stays open.

    Args:
        stream: a binary stream; it need not be seekable.
        header: written at once.
        limits: what a reader is expected to accept.

    Raises:
        LimitError: the picture is larger than ``limits`` allow.
    """

    def __init__(self, stream: BinaryIO, header: Header, *, limits: Limits = DEFAULT_LIMITS) -> None:
        limits.check_picture(header.width, header.height)
        limits.check_chunks(header)
        self._stream = stream
        self._order = _SectionOrder(header, limits)
        self._bytes_written = stream.write(write_header(header))

    @property
    def bytes_written(self) -> int:
        """Length of the file so far."""
        return self._bytes_written

    def write(self, section: Section) -> None:
        """Append a section.

        Raises:
            InputError: the kind is unknown and critical, or its turn has not come.
            LimitError: the payload is longer than 2**24 - 1 bytes, or a limit on sections is passed.
        """
        kind, length = int(section.kind), len(section.payload)
        if not 0 <= kind <= 0xFF or (kind < _FIRST_OPTIONAL_KIND and kind not in _KNOWN_KINDS):
            raise InputError(f"Expected a known kind of section or 0x80 .. 0xFF, received 0x{kind:02X}.")
        if length > MAX_PAYLOAD_SIZE:
            raise LimitError(
                f"A {section_name(kind)} section of {length} bytes is too long; "
                f"the limit is {MAX_PAYLOAD_SIZE}. Use split_payload for metadata and alpha, "
                "smaller chunks for the others."
            )
        problem = self._order.add(kind, length)
        if problem is not None:
            raise InputError(f"The section cannot be written here: {problem}.")
        checksum = _section_checksum(kind, section.payload)
        self._stream.write(_section_head(kind, length) + checksum.to_bytes(4, "little"))
        self._stream.write(section.payload)
        self._bytes_written += SECTION_OVERHEAD + length

    def finish(self) -> None:
        """Check that nothing is missing.

        Raises:
            InputError: required sections have not been written.
        """
        missing = self._order.missing()
        if missing:
            names = ", ".join(f"{count} of {section_name(kind)}" for kind, count in missing)
            raise InputError(f"The file is not whole: sections are still to be written ({names}).")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()


def write_container(header: Header, sections: Iterable[Section], *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The bytes of a whole file; the mirror image of :func:`read_container`.

    Raises:
        InputError: sections are missing, unknown or in the wrong order.
        LimitError: a limit is passed.
    """
    stream = io.BytesIO()
    with ContainerWriter(stream, header, limits=limits) as writer:
        for section in sections:
            writer.write(section)
    return stream.getvalue()


def split_payload(kind: int, data: bytes | bytearray | memoryview) -> Iterator[Section]:
    """Alpha or metadata of any length as sections of at most 2**24 - 1 bytes, whose concatenation it is.

    Raises:
        InputError: the kind is one of those that each chunk has exactly once.
    """
    if kind in (*CHUNK_KINDS, *_JOINED_KINDS):
        raise InputError(f"Expected a kind of section that may be split, received {section_name(kind)}.")
    view = _as_bytes_view(data)
    for start in range(0, max(len(view), 1), MAX_PAYLOAD_SIZE):
        yield Section(kind, bytes(view[start : start + MAX_PAYLOAD_SIZE]))


# Reading ----------------------------------------------------------------------------------------------------


def _as_bytes_view(data: bytes | bytearray | memoryview) -> memoryview:
    return memoryview(data).cast("B")


class _Source(Protocol):
    """Bytes at offsets; a read inside ``size`` gives all of the bytes asked for."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


class _MemorySource:
    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = _as_bytes_view(data)
        self.size = len(self._view)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._view[offset : offset + length])


class _StreamSource:
    """A seekable stream from its present position on; the lock keeps a seek and its read together."""

    def __init__(self, stream: BinaryIO) -> None:
        if not stream.seekable():
            raise InputError("Expected a seekable stream; read it into memory and use read_container.")
        self._stream = stream
        self._lock = threading.Lock()
        self._start = stream.tell()
        self.size = max(stream.seek(0, os.SEEK_END) - self._start, 0)

    def read(self, offset: int, length: int) -> bytes:
        with self._lock:
            self._stream.seek(self._start + offset)
            data = self._stream.read(length)
            while len(data) < length and (more := self._stream.read(length - len(data))):
                data += more  # an unbuffered stream may give less than it was asked for
        if len(data) < length:
            raise TruncatedError(f"The file became shorter while it was read, at byte {offset + len(data)}.")
        return data


def _read_payload(source: _Source, entry: SectionEntry) -> bytes:
    payload = source.read(entry.offset, entry.length)
    found = _section_checksum(entry.kind, payload)
    if found != entry.checksum:
        where = f"the {section_name(entry.kind)} section at byte {entry.offset - SECTION_OVERHEAD}"
        raise ChecksumError(_checksum_message(entry.checksum, found, where))
    return payload


def _entry_at(source: _Source, offset: int) -> SectionEntry | None:
    """The section that begins at ``offset``; None when the file ends inside its 8 bytes of head."""
    if source.size - offset < SECTION_OVERHEAD:
        return None
    head = source.read(offset, SECTION_OVERHEAD)
    length, checksum = int.from_bytes(head[1:4], "little"), int.from_bytes(head[4:], "little")
    return SectionEntry(head[0], offset + SECTION_OVERHEAD, length, checksum)


def _walk(
    source: _Source, header: Header, limits: Limits, take: Callable[[SectionEntry], None]
) -> Truncation | None:
    """Give each whole section to ``take``, hold it against the rules, and say what is missing at the end."""
    order = _SectionOrder(header, limits)
    offset = HEADER_SIZE
    while offset < source.size:
        entry = _entry_at(source, offset)
        if entry is None or entry.end > source.size:
            return _truncation(source, order, offset, entry)
        take(entry)
        if entry.kind < _FIRST_OPTIONAL_KIND and entry.kind not in _KNOWN_KINDS:
            raise UnsupportedError(_refused(entry, "this kind is critical and unknown; update aecodec"))
        problem = order.add(entry.kind, entry.length)
        if problem is not None:
            raise CorruptedError(_refused(entry, problem))
        offset = entry.end
    return _truncation(source, order, offset, None) if order.missing() else None


def _refused(entry: SectionEntry, problem: str) -> str:
    start = entry.offset - SECTION_OVERHEAD
    return f"The section {section_name(entry.kind)} at byte {start} is refused: {problem}."


def _truncation(source: _Source, order: _SectionOrder, offset: int, cut: SectionEntry | None) -> Truncation:
    """What is missing when the whole sections end at ``offset``; ``cut`` is the next one, if known."""
    missing = order.missing()
    surplus_bytes = 0 if missing else source.size - offset
    missing_bytes = SECTION_OVERHEAD * sum(count for _, count in missing)
    if offset < source.size:
        kind = source.read(offset, 1)[0]
        if all(kind != required for required, _ in missing):
            missing.append((kind, 1))
            missing_bytes += SECTION_OVERHEAD
        missing_bytes += (cut.length if cut is not None else 0) - (source.size - offset)
    return Truncation(tuple(missing), missing_bytes, offset, surplus_bytes, cut)


def _refuse_truncated(truncation: Truncation | None, allow_truncated: bool) -> None:
    if truncation is not None and not allow_truncated:
        raise TruncatedError(f"{truncation} {_TRANSFER_AGAIN}")


def _open(source: _Source, limits: Limits) -> Header:
    return read_header(source.read(0, min(HEADER_SIZE, source.size)), limits=limits)


def read_container(
    data: bytes | bytearray | memoryview, *, allow_truncated: bool = False, limits: Limits = DEFAULT_LIMITS
) -> Container:
    """Read a whole file from memory and verify every checksum.

    Args:
        data: the file.
        allow_truncated: return the whole sections of a file that ends early, and what is missing, instead of
            raising TruncatedError. The header must be whole, and the sections that are there undamaged.
        limits: what to accept.

    Raises:
        NotAnAecFileError: the magic is missing or damaged.
        UnsupportedError: a newer version, a reserved bit or value, or an unknown critical section.
        TruncatedError: the file ends early.
        ChecksumError: a checksum differs.
        CorruptedError: a field out of its range, or sections too many, out of order or not announced.
        LimitError: the picture, or the number or size of the sections, is beyond ``limits``.
    """
    source = _MemorySource(data)
    header = _open(source, limits)
    sections: list[Section] = []

    def take(entry: SectionEntry) -> None:
        sections.append(Section(entry.kind, _read_payload(source, entry)))

    truncation = _walk(source, header, limits, take)
    _refuse_truncated(truncation, allow_truncated)
    return Container(header, tuple(sections), truncation)


class ContainerReader:
    """Reads a file section by section.

    Opening it reads the header and the 8-byte heads of the sections and checks lengths, kinds, order and
    counts, as :func:`read_container` does; a payload is read, and its checksum verified, when it is asked
    for. Threads may share a reader.

    Args:
        stream: a seekable binary stream at the first byte of the file, which ends with the stream.
        allow_truncated: accept a file that ends early; ``truncation`` then says what is missing.
        limits: what to accept.

    Attributes:
        header: the header.
        entries: where the whole sections lie, in the order of the file.
        truncation: None when the file is whole.

    Raises:
        The errors of :func:`read_container`. A damaged section raises ChecksumError here only when the walk
        fails, else when it is read.
    """

    def __init__(
        self, stream: BinaryIO, *, allow_truncated: bool = False, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._source = _StreamSource(stream)
        self.header = _open(self._source, limits)
        entries: list[SectionEntry] = []
        try:
            self.truncation = _walk(self._source, self.header, limits, entries.append)
        except (CorruptedError, UnsupportedError):
            for entry in entries:  # damage, where there is some, is the better explanation
                self.read_payload(entry)
            raise
        _refuse_truncated(self.truncation, allow_truncated)
        self.entries = tuple(entries)
        self._by_kind = _group((entry.kind, entry) for entry in entries)

    def read_payload(self, entry: SectionEntry) -> bytes:
        """The payload of one of ``entries``.

        Raises:
            ChecksumError: it is damaged.
        """
        return _read_payload(self._source, entry)

    def chunk_payload(self, kind: int, index: int) -> bytes | None:
        """The section of chunk ``index`` of a per-chunk kind; None when the file ends before it.

        Raises:
            InputError: the kind is not one per chunk, or there is no such chunk.
            ChecksumError: the section is damaged.
        """
        _check_chunk(self.header, kind, index)
        entries = self._by_kind.get(kind, ())
        return self.read_payload(entries[index]) if index < len(entries) else None

    def unverified_payload(self, kind: int, index: int) -> tuple[bytes, int] | None:
        """What there is of the section of chunk ``index`` of a per-chunk kind, damaged or cut off though it
        be, and how many bytes are missing behind it; None when the file ends before its payload.

        Raises:
            InputError: the kind is not one per chunk, or there is no such chunk.
        """
        _check_chunk(self.header, kind, index)
        entries = self._by_kind.get(kind, ())
        if index < len(entries):
            return self._source.read(entries[index].offset, entries[index].length), 0
        cut = self.truncation.cut if self.truncation is not None else None
        if cut is None or cut.kind != kind or index != len(entries) or cut.offset >= self._source.size:
            return None
        there = self._source.read(cut.offset, self._source.size - cut.offset)
        return there, cut.length - len(there)

    def concatenated(self, kind: int) -> bytes | None:
        """The pieces of one kind concatenated; None when there are none or the file ends inside of one.

        Raises:
            ChecksumError: a piece is damaged.
        """
        if self.truncation is not None and self.truncation.is_missing(kind):
            return None
        entries = self._by_kind.get(kind, ())
        return b"".join(self.read_payload(entry) for entry in entries) if entries else None

    def verify(self) -> None:
        """Read every section.

        Raises:
            ChecksumError: the first damaged one.
        """
        for entry in self.entries:
            self.read_payload(entry)
