"""The container: round trips, every kind of damage, hostile files, and the descriptions of the format."""

from __future__ import annotations

import configparser
import io
import shutil
import subprocess
import sys
import threading
import tracemalloc
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aecodec import container
from aecodec.container import (
    DEFAULT_LIMITS,
    HEADER_SIZE,
    MAGIC,
    MAX_PAYLOAD_SIZE,
    SECTION_OVERHEAD,
    Box,
    Container,
    ContainerReader,
    ContainerWriter,
    Header,
    Limits,
    Section,
    SectionKind,
    read_container,
    read_header,
    section_name,
    split_payload,
    write_container,
    write_header,
)
from aecodec.errors import (
    AecodecError,
    ChecksumError,
    CorruptedError,
    FormatError,
    InputError,
    LimitError,
    NotAnAecFileError,
    TruncatedError,
    UnsupportedError,
)

FORMATS = Path(__file__).parents[1] / "formats"
MODEL_ID = bytes.fromhex("00112233445566ff")
CHUNK_KINDS = tuple(SectionKind(kind) for kind in range(1, 7))
Reader = Callable[..., Container]

# The smallest picture, byte for byte; formats/aec.md shows the same file.
GOLDEN_FILE = bytes.fromhex(
    "ae4145430d0a1a0a 01 00 03 08 60 10 0000 01000000 01000000 00112233445566ff 296f8bbe"
    "01 020000 0a6e9a8f a1a2"
    "02 010000 024038b8 b1"
    "03 000000 f270f133"
    "04 000000 4b4826ae"
    "05 000000 2e2f9a16"
    "06 000000 c0802f04"
)
# The same picture with one section for its chunk.
GOLDEN_JOINED_FILE = bytes.fromhex(
    "ae4145430d0a1a0a 01 08 03 08 60 10 0000 01000000 01000000 00112233445566ff 0f2c32be"
    "07 030000 78f9b226 a1a2b1"
)


def header(**changes: Any) -> Header:
    return replace(Header(width=130, height=70, level=96, model_id=MODEL_ID, chunk_side=128), **changes)


def chunk_sections(head: Header) -> list[Section]:
    """A section for each chunk of each of its kinds, no two with the same payload."""
    return [
        Section(kind, bytes((kind, chunk % 256)) * (1 + chunk % 3))
        for kind in head.chunk_kinds
        for chunk in range(head.chunk_count)
    ]


def whole_file(head: Header) -> tuple[list[Section], bytes]:
    """A file with metadata, alpha in two pieces and an unknown section; it ends in a critical one."""
    sections = [Section(SectionKind.ICC_PROFILE, b"profile"), *chunk_sections(head)]
    private = Section(0xF7, b"private")
    sections[2:2] = [Section(SectionKind.EXIF, b"exif"), private, Section(SectionKind.XMP, b"")]
    if head.has_alpha:
        sections += [Section(SectionKind.ALPHA, b"alpha"), Section(SectionKind.ALPHA, b"plane")]
    return sections, write_container(head, sections)


def section_bytes(kind: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A section made by hand, so that it may be wrong."""
    head = bytes((kind,)) + (len(payload) if length is None else length).to_bytes(3, "little")
    return head + zlib.crc32(head + payload).to_bytes(4, "little") + payload


def file_bytes(head: Header, sections: list[Section]) -> bytes:
    """A file of any sections, in any order."""
    return write_header(head) + b"".join(section_bytes(section.kind, section.payload) for section in sections)


def patched_header(head: Header, offset: int, value: bytes) -> bytes:
    """A header with other bytes at ``offset`` and a checksum that fits them."""
    fields = bytearray(write_header(head)[:32])
    fields[offset : offset + len(value)] = value
    return bytes(fields) + zlib.crc32(fields).to_bytes(4, "little")


def read_lazily(data: bytes, *, allow_truncated: bool = False, limits: Limits = DEFAULT_LIMITS) -> Container:
    """What the lazy reader makes of a file, in the form of the eager reader's answer."""
    reader = ContainerReader(io.BytesIO(data), allow_truncated=allow_truncated, limits=limits)
    sections = tuple(Section(entry.kind, reader.read_payload(entry)) for entry in reader.entries)
    return Container(reader.header, sections, reader.truncation)


both_readers = pytest.mark.parametrize("read", [read_container, read_lazily])
both_layouts = pytest.mark.parametrize("joined", [False, True])

headers = st.builds(
    Header,
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    level=st.integers(0, 224),
    model_id=st.binary(min_size=8, max_size=8),
    layout=st.sampled_from([1, 3]),
    depth=st.sampled_from([8, 16]),
    has_alpha=st.booleans(),
    dependent=st.booleans(),
    filtered=st.booleans(),
    joined=st.booleans(),
    chunk_side=st.integers(2, 255).map(lambda units: 64 * units),
)
small_payloads = st.binary(max_size=20)


@st.composite
def files(draw: st.DrawFn) -> tuple[Header, list[Section]]:
    head = draw(headers)
    sections = [
        Section(kind, draw(small_payloads)) for kind in head.chunk_kinds for _ in range(head.chunk_count)
    ]
    if head.has_alpha:
        sections += [
            Section(SectionKind.ALPHA, piece)
            for piece in draw(st.lists(small_payloads, min_size=1, max_size=3))
        ]
    optional = st.tuples(st.integers(0, len(sections)), st.integers(0x80, 0xFF), small_payloads)
    for place, kind, payload in draw(st.lists(optional, max_size=4)):
        sections.insert(place, Section(kind, payload))
    return head, sections


# Round trips ----------------------------------------------------------------------------------------------


@given(files())
@settings(deadline=None, max_examples=150)
def test_readers_give_back_what_was_written(file: tuple[Header, list[Section]]) -> None:
    head, sections = file
    data = write_container(head, sections)
    expected = Container(head, tuple(sections), None)
    assert read_container(data) == expected
    assert read_lazily(data) == expected
    assert read_header(data[:HEADER_SIZE]) == head


def test_the_bytes_of_a_small_file_never_change() -> None:
    head = Header(width=1, height=1, level=96, model_id=MODEL_ID)
    payloads = [b"\xa1\xa2", b"\xb1", b"", b"", b"", b""]
    sections = [Section(kind, payload) for kind, payload in zip(CHUNK_KINDS, payloads, strict=True)]
    assert write_container(head, sections) == GOLDEN_FILE
    assert read_container(GOLDEN_FILE) == Container(head, tuple(sections))
    joined, one = replace(head, joined=True), [Section(SectionKind.SYMBOLS, b"\xa1\xa2\xb1")]
    assert write_container(joined, one) == GOLDEN_JOINED_FILE
    assert read_container(GOLDEN_JOINED_FILE) == Container(joined, tuple(one))


def test_every_field_of_the_header_has_its_place() -> None:
    head = Header(0x1234, 0x2345, 200, b"12345678", layout=1, depth=16, has_alpha=True, chunk_side=64 * 7)
    data = write_header(head)
    assert data[:8] == b"\xaeAEC\r\n\x1a\n"
    assert data[8:16] == bytes((1, 1, 1, 16, 200, 7, 0, 0))
    assert data[16:24] == bytes.fromhex("34120000 45230000")
    assert data[24:32] == b"12345678"
    assert data[32:] == zlib.crc32(data[:32]).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("has_alpha", "dependent", "filtered", "joined"), list(product((False, True), repeat=4))
)
def test_flags_have_a_bit_each(has_alpha: bool, dependent: bool, filtered: bool, joined: bool) -> None:
    head = header(has_alpha=has_alpha, dependent=dependent, filtered=filtered, joined=joined)
    data = write_header(head)
    assert data[9] == has_alpha + 2 * dependent + 4 * filtered + 8 * joined
    assert read_header(data) == head


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview])
def test_any_buffer_of_bytes_is_read(convert: Callable[[bytes], bytes]) -> None:
    assert read_container(convert(GOLDEN_FILE)) == read_container(GOLDEN_FILE)
    assert read_header(convert(GOLDEN_FILE)).width == 1


def test_a_joined_chunk_has_one_kind_of_section_and_others_six() -> None:
    assert header().chunk_kinds == CHUNK_KINDS == container.CHUNK_KINDS
    assert header(joined=True).chunk_kinds == (SectionKind.SYMBOLS,)


def test_container_finds_payloads_by_kind_and_chunk() -> None:
    head = header(has_alpha=True)
    sections, data = whole_file(head)
    read = read_container(data)
    assert read.payloads(SectionKind.RESIDUALS_1) == tuple(s.payload for s in sections if s.kind == 3)
    assert read.chunk_payload(SectionKind.RESIDUALS_1, 1) == bytes((3, 1, 3, 1))
    assert read.concatenated(SectionKind.ALPHA) == b"alphaplane"
    assert read.concatenated(SectionKind.XMP) == b""
    assert read.concatenated(0x99) is None
    with pytest.raises(InputError, match="each chunk has"):
        read.chunk_payload(SectionKind.ALPHA, 0)
    with pytest.raises(InputError, match=r"in 0 \.\. 1, received 2"):
        read.chunk_payload(SectionKind.RESIDUALS_1, 2)
    with pytest.raises(InputError, match=r"RESIDUALS_4 \(0x06\)\), received SYMBOLS"):
        read.chunk_payload(SectionKind.SYMBOLS, 0)


def test_container_finds_the_payloads_of_joined_chunks() -> None:
    read = read_container(whole_file(JOINED_WITH_ALPHA)[1])
    assert [read.chunk_payload(SectionKind.SYMBOLS, chunk) for chunk in range(2)] == [
        b"\7\0",
        b"\7\1\7\1",
    ]
    assert read.concatenated(SectionKind.ALPHA) == b"alphaplane"
    with pytest.raises(InputError, match=r"\(SYMBOLS \(0x07\)\), received RESIDUALS_0"):
        read.chunk_payload(SectionKind.RESIDUALS_0, 0)


def test_long_metadata_is_split_and_joined_again() -> None:
    profile = bytes(range(251)) * (MAX_PAYLOAD_SIZE // 251 + 7)
    pieces = list(split_payload(SectionKind.ICC_PROFILE, profile))
    assert [len(piece.payload) for piece in pieces] == [MAX_PAYLOAD_SIZE, len(profile) - MAX_PAYLOAD_SIZE]
    head = Header(width=1, height=1, level=0, model_id=MODEL_ID)
    data = write_container(head, [*pieces, *chunk_sections(head)])
    assert read_container(data).concatenated(SectionKind.ICC_PROFILE) == profile
    assert ContainerReader(io.BytesIO(data)).concatenated(SectionKind.ICC_PROFILE) == profile


def test_splitting_makes_one_section_of_nothing_and_of_a_full_payload() -> None:
    assert list(split_payload(SectionKind.XMP, b"")) == [Section(SectionKind.XMP, b"")]
    assert len(list(split_payload(SectionKind.XMP, bytes(MAX_PAYLOAD_SIZE)))) == 1
    for kind in (SectionKind.RESIDUALS_3, SectionKind.SYMBOLS):
        with pytest.raises(InputError, match=f"may be split, received {kind.name}"):
            list(split_payload(kind, b""))


# Header and chunks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"width": 0}, InputError, "width of at least 1, received 0"),
        ({"height": -1}, InputError, "height of at least 1"),
        ({"height": 32_769}, LimitError, "height of at most 32768"),
        ({"level": 225}, InputError, r"level in 0 \.\. 224"),
        ({"level": -1}, InputError, "received -1"),
        ({"model_id": b"short"}, InputError, "8 bytes, received 5"),
        ({"layout": 2}, InputError, "received 2"),
        ({"depth": 10}, InputError, "received 10"),
        ({"chunk_side": 100}, InputError, "multiple of 64"),
        ({"chunk_side": 0}, InputError, "multiple of 64"),
        ({"chunk_side": 256 * 64}, InputError, r"64 \.\. 16320"),
    ],
)
def test_header_refuses_fields_out_of_range(
    changes: dict[str, object], error: type[AecodecError], message: str
) -> None:
    with pytest.raises(error, match=message):
        header(**changes)


def test_header_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        header().width = 3  # type: ignore[misc]


@given(headers)
def test_chunks_tile_the_padded_picture_in_raster_order(head: Header) -> None:
    boxes = [head.chunk_box(index) for index in range(head.chunk_count)]
    assert sum(box.width * box.height for box in boxes) == head.padded_width * head.padded_height
    assert boxes == sorted(boxes, key=lambda box: (box.y, box.x))
    assert len({(box.x, box.y) for box in boxes}) == len(boxes)
    for box in boxes:
        assert all(side % 64 == 0 for side in (box.x, box.y, box.width, box.height))
        assert 0 < box.width <= head.chunk_side
        assert 0 < box.height <= head.chunk_side
        assert box.right <= head.padded_width
        assert box.bottom <= head.padded_height
    assert head.padded_width - 64 < head.width <= head.padded_width
    assert head.padded_height - 64 < head.height <= head.padded_height


@given(headers, *(4 * [st.integers(-100, 800)]))
def test_chunks_touching_a_box_are_those_that_share_a_pixel(
    head: Header, x: int, y: int, width: int, height: int
) -> None:
    box = Box(x, y, width, height)
    expected = []
    for index in range(head.chunk_count):
        chunk = head.chunk_box(index)
        columns = min(box.right, chunk.right) - max(box.x, chunk.x)
        rows = min(box.bottom, chunk.bottom) - max(box.y, chunk.y)
        if columns > 0 and rows > 0:
            expected.append(index)
    assert head.chunks_touching(box) == tuple(expected)


def test_last_chunks_are_smaller() -> None:
    head = Header(width=2500, height=1100, level=0, model_id=MODEL_ID, chunk_side=1024)
    assert head.chunk_grid == (2, 3)
    assert head.chunk_box(0) == Box(0, 0, 1024, 1024)
    assert head.chunk_box(5) == Box(2048, 1024, 512, 128)
    with pytest.raises(InputError, match=r"in 0 \.\. 5, received 6"):
        head.chunk_box(6)


# Damage ---------------------------------------------------------------------------------------------------


@both_readers
@both_layouts
@pytest.mark.parametrize("has_alpha", [False, True])
def test_every_truncation_is_reported(read: Reader, has_alpha: bool, joined: bool) -> None:
    _, data = whole_file(header(has_alpha=has_alpha, joined=joined))
    last_piece = len(data) - SECTION_OVERHEAD - len(b"plane")
    for length in range(len(data)):
        if has_alpha and length == last_piece:
            continue  # how many pieces alpha has, only the PNG file in them says
        with pytest.raises(TruncatedError):
            read(data[:length])


@both_readers
@both_layouts
def test_every_flipped_bit_is_a_format_error(read: Reader, joined: bool) -> None:
    _, data = whole_file(header(has_alpha=True, joined=joined))
    for position in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises((FormatError, UnsupportedError)) as caught:
            read(bytes(flipped))
        if position < 64:
            assert caught.type is NotAnAecFileError
        elif position < 72:
            assert caught.type is UnsupportedError
        elif position < 8 * HEADER_SIZE:
            assert caught.type is ChecksumError
        else:
            assert issubclass(caught.type, (ChecksumError, TruncatedError))


@both_readers
@both_layouts
def test_flipped_bits_are_never_hidden_by_allowing_truncation(read: Reader, joined: bool) -> None:
    sections, data = whole_file(header(has_alpha=True, joined=joined))
    for position in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        try:
            result = read(bytes(flipped), allow_truncated=True)
        except (FormatError, UnsupportedError):
            continue
        assert result.truncation is not None, position
        assert result.truncation.missing_sections > 0
        assert list(result.sections) == sections[: len(result.sections)]


@both_readers
@given(data=st.binary(max_size=200), whole=st.booleans(), allow=st.booleans())
@settings(deadline=None, max_examples=300)
def test_arbitrary_bytes_give_typed_errors_only(read: Reader, data: bytes, whole: bool, allow: bool) -> None:
    start = write_header(header()) if whole else MAGIC
    try:
        result = read(start + data, allow_truncated=allow)
    except AecodecError:
        return
    # Without forged checksums nothing passes as a section, so only an allowed truncation is left.
    assert whole
    assert allow
    assert result.sections == ()
    assert result.truncation is not None


@both_readers
@given(
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    joined=st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_changed_bytes_are_always_noticed(read: Reader, changes: list[tuple[int, int]], joined: bool) -> None:
    _, data = whole_file(header(has_alpha=True, joined=joined))
    damaged = bytearray(data)
    for position, value in changes:
        damaged[position % len(data)] = value
    if damaged == data:
        assert read(bytes(damaged)).truncation is None
        return
    with pytest.raises((FormatError, UnsupportedError)):
        read(bytes(damaged))


@pytest.mark.parametrize(
    ("damage", "explanation"),
    [
        (lambda data: data.replace(b"\r\n", b"\n"), "text mode"),
        (lambda data: data.replace(b"\n", b"\r\n"), "text mode"),
        (lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), "text mode"),
        (lambda data: data.replace(b"\n", b"\r"), "text mode"),
        (lambda data: data.replace(b"\r\n", b"\r").replace(b"\n", b"\r"), "text mode"),
        (lambda data: bytes(byte & 0x7F for byte in data), "eighth bits"),
        (lambda data: data.decode("latin-1").encode("utf-8"), "UTF-8"),
        (lambda data: data.decode("utf-8", "replace").encode("utf-8"), "UTF-8"),
        (lambda data: b"\x89PNG" + data[4:], "expected the file to begin with ae 41 45 43 0d 0a 1a 0a"),
        (lambda data: b"RIFX", "Not an .aec picture"),
    ],
)
def test_wrong_magic_says_what_happened(damage: Callable[[bytes], bytes], explanation: str) -> None:
    with pytest.raises(NotAnAecFileError, match=explanation):
        read_header(damage(GOLDEN_FILE))


def test_a_file_stopped_at_the_dos_end_of_file_is_truncated() -> None:
    with pytest.raises(TruncatedError, match="found only 6"):
        read_header(GOLDEN_FILE.split(b"\x1a")[0])


@pytest.mark.parametrize(
    ("offset", "value", "error", "message"),
    [
        (8, b"\x02", UnsupportedError, "version 2; this aecodec reads version 1"),
        (8, b"\x00", UnsupportedError, "version 0"),
        (9, b"\x10", UnsupportedError, "flags field holds 0x10"),
        (9, b"\x1f", UnsupportedError, "flags field holds 0x10"),
        (9, b"\x20", UnsupportedError, "flags field holds 0x20"),
        (9, b"\x44", UnsupportedError, "flags field holds 0x40"),
        (9, b"\x87", UnsupportedError, "flags field holds 0x80"),
        (10, b"\x00", UnsupportedError, "layout"),
        (10, b"\x04", UnsupportedError, "layout"),
        (11, b"\x0a", UnsupportedError, "depth"),
        (12, b"\xe1", CorruptedError, r"level is 225; expected 0 \.\. 224"),
        (13, b"\x00", CorruptedError, "chunk side"),
        (14, b"\x01\x00", UnsupportedError, "reserved"),
        (14, b"\x00\x80", UnsupportedError, "0x8000"),
        (16, bytes(4), CorruptedError, "width is 0"),
        (20, bytes(4), CorruptedError, "height is 0"),
        (16, (32_769).to_bytes(4, "little"), LimitError, "32768 per side"),
        (20, (2**31).to_bytes(4, "little"), LimitError, "2147483648 pixels; the limit is 32768 per side"),
        (20, b"\xff\xff\xff\xff", LimitError, "32768 per side"),
        (16, bytes.fromhex("0080000001200000"), LimitError, "the limit is 268435456"),
    ],
)
def test_header_faults_have_their_own_errors(
    offset: int, value: bytes, error: type[AecodecError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_header(patched_header(header(), offset, value))


def test_a_newer_version_is_told_apart_from_damage_even_when_its_header_differs() -> None:
    newer = bytearray(GOLDEN_FILE[:20])
    newer[8] = 2
    with pytest.raises(UnsupportedError, match="version 2"):
        read_header(newer)


def moved(sections: list[Section], source: int, target: int) -> list[Section]:
    copy = list(sections)
    copy.insert(target, copy.pop(source))
    return copy


PLAIN = header()
PLAIN_SECTIONS = chunk_sections(PLAIN)  # two chunks: twelve sections
WITH_ALPHA = header(has_alpha=True)
JOINED = header(joined=True)
JOINED_SECTIONS = chunk_sections(JOINED)
JOINED_WITH_ALPHA = header(joined=True, has_alpha=True)
SYMBOLS = Section(SectionKind.SYMBOLS, b"symbols")
ALPHA = Section(SectionKind.ALPHA, b"png")


@both_readers
@pytest.mark.parametrize(
    ("head", "sections", "error", "message"),
    [
        (PLAIN, PLAIN_SECTIONS[:-1], TruncatedError, r"1 of RESIDUALS_4 \(0x06\)"),
        (PLAIN, [], TruncatedError, "12 section"),
        (PLAIN, PLAIN_SECTIONS[1:], CorruptedError, "begins after 1 HYPER_LATENTS"),
        (PLAIN, PLAIN_SECTIONS[:2] + PLAIN_SECTIONS[4:], CorruptedError, "begins after 0 RESIDUALS_0"),
        (PLAIN, [PLAIN_SECTIONS[0], *PLAIN_SECTIONS], CorruptedError, "more HYPER_LATENTS"),
        (PLAIN, [*PLAIN_SECTIONS, PLAIN_SECTIONS[-1]], CorruptedError, "more RESIDUALS_4"),
        (
            PLAIN,
            [*PLAIN_SECTIONS, PLAIN_SECTIONS[0]],
            CorruptedError,
            "HYPER_LATENTS .* follows a RESIDUALS_4",
        ),
        (PLAIN, moved(PLAIN_SECTIONS, 3, 4), CorruptedError, "begins after 1 RESIDUALS_0"),
        (PLAIN, [*PLAIN_SECTIONS, ALPHA], CorruptedError, "alpha flag is not set"),
        (WITH_ALPHA, PLAIN_SECTIONS, TruncatedError, "1 of ALPHA"),
        (WITH_ALPHA, [ALPHA, *PLAIN_SECTIONS], CorruptedError, "ALPHA .* begins after 0 HYPER"),
        (PLAIN, [*PLAIN_SECTIONS, SYMBOLS], CorruptedError, "SYMBOLS .* a section for each part"),
        (PLAIN, [SYMBOLS, SYMBOLS], CorruptedError, "SYMBOLS .* a section for each part"),
        (JOINED, PLAIN_SECTIONS, CorruptedError, "HYPER_LATENTS .* a chunk has one section"),
        *(
            (JOINED, [Section(kind, b""), *JOINED_SECTIONS], CorruptedError, "a chunk has one section")
            for kind in CHUNK_KINDS
        ),
        (JOINED, [*JOINED_SECTIONS, PLAIN_SECTIONS[-1]], CorruptedError, "RESIDUALS_4 .* follows a SYMBOLS"),
        (JOINED, JOINED_SECTIONS[:1], TruncatedError, r"1 of SYMBOLS \(0x07\)"),
        (JOINED, [*JOINED_SECTIONS, SYMBOLS], CorruptedError, "more SYMBOLS"),
        (JOINED, [*JOINED_SECTIONS, ALPHA], CorruptedError, "alpha flag is not set"),
        (JOINED_WITH_ALPHA, JOINED_SECTIONS, TruncatedError, "1 of ALPHA"),
        (JOINED_WITH_ALPHA, [JOINED_SECTIONS[0], ALPHA], CorruptedError, "ALPHA .* begins after 1 SYMBOLS"),
        (JOINED_WITH_ALPHA, [ALPHA, *JOINED_SECTIONS], CorruptedError, "ALPHA .* begins after 0 SYMBOLS"),
        (PLAIN, [*PLAIN_SECTIONS, Section(0x09, b"new")], UnsupportedError, "0x09 .*unknown"),
        (PLAIN, [Section(0x00, b""), *PLAIN_SECTIONS], UnsupportedError, "0x00 at byte 36"),
        (PLAIN, [Section(0x7F, b""), *PLAIN_SECTIONS], UnsupportedError, "0x7F"),
    ],
)
def test_sections_that_contradict_the_header_are_refused(
    read: Reader, head: Header, sections: list[Section], error: type[AecodecError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(file_bytes(head, sections))


@both_readers
def test_damage_is_a_better_explanation_than_a_broken_rule(read: Reader) -> None:
    data = bytearray(file_bytes(PLAIN, PLAIN_SECTIONS))
    data[HEADER_SIZE] = 0x7F
    with pytest.raises(ChecksumError, match=r"0x7F section at byte 36: expected the CRC-32 0x"):
        read(bytes(data))


@both_readers
def test_trailing_bytes_are_refused(read: Reader) -> None:
    for trailing in (b"\0", b"trailing", bytes(100)):
        with pytest.raises(FormatError):
            read(GOLDEN_FILE + trailing)
    with pytest.raises(TruncatedError, match="the 1 bytes behind them are no whole section"):
        read(GOLDEN_FILE + b"\n")


@both_readers
def test_unknown_optional_sections_are_kept_aside(read: Reader) -> None:
    stranger = Section(0xC4, b"from the future")
    result = read(file_bytes(PLAIN, [stranger, *PLAIN_SECTIONS, stranger]))
    assert [section for section in result.sections if section.kind < 0x80] == PLAIN_SECTIONS
    assert result.payloads(0xC4) == (stranger.payload, stranger.payload)


# Truncated files ------------------------------------------------------------------------------------------


@both_readers
@both_layouts
def test_truncated_files_give_their_whole_sections_and_count_the_missing(read: Reader, joined: bool) -> None:
    sections, data = whole_file(header(has_alpha=True, joined=joined))
    ends = [HEADER_SIZE]
    for section in sections:
        ends.append(ends[-1] + SECTION_OVERHEAD + len(section.payload))
    assert ends[-1] == len(data)
    for length in range(HEADER_SIZE, len(data)):
        result = read(data[:length], allow_truncated=True)
        whole = sum(end <= length for end in ends) - 1
        assert list(result.sections) == sections[:whole]
        if length == ends[-2]:
            assert result.truncation is None
            continue
        assert result.truncation is not None
        assert result.truncation.whole_bytes == ends[whole]
        missing = sections[whole:]
        assert 0 < result.truncation.missing_bytes <= len(data) - length
        for kind in (*CHUNK_KINDS, SectionKind.SYMBOLS):
            count = sum(section.kind == kind for section in missing)
            assert dict(result.truncation.missing).get(kind, 0) == count
            assert result.truncation.is_missing(kind) == (count > 0)
        assert result.truncation.is_missing(SectionKind.ALPHA)


@both_readers
def test_truncation_is_exact_when_only_the_last_section_is_cut(read: Reader) -> None:
    data = file_bytes(PLAIN, [*PLAIN_SECTIONS[:-1], Section(6, bytes(100))])
    truncation = read(data[:-30], allow_truncated=True).truncation
    assert truncation is not None
    assert truncation.missing == ((6, 1),)
    assert truncation.missing_bytes == 30
    assert "30 bytes in 1 section(s) are missing (1 of RESIDUALS_4 (0x06))" in str(truncation)


@both_readers
def test_a_cut_in_metadata_at_the_end_is_counted(read: Reader) -> None:
    data = file_bytes(PLAIN, [*PLAIN_SECTIONS, Section(SectionKind.EXIF, bytes(100))])
    truncation = read(data[:-1], allow_truncated=True).truncation
    assert truncation is not None
    assert (truncation.missing, truncation.missing_bytes) == (((0x82, 1),), 1)
    truncation = read(data[:-103], allow_truncated=True).truncation
    assert truncation is not None
    assert (truncation.missing, truncation.missing_bytes) == (((0x82, 1),), 3)


def test_chunks_behind_the_cut_are_none() -> None:
    data = file_bytes(PLAIN, PLAIN_SECTIONS[:5])
    for file in (
        read_container(data, allow_truncated=True),
        ContainerReader(io.BytesIO(data), allow_truncated=True),
    ):
        assert file.chunk_payload(SectionKind.RESIDUALS_1, 0) == PLAIN_SECTIONS[4].payload
        assert file.chunk_payload(SectionKind.RESIDUALS_1, 1) is None
        assert file.chunk_payload(SectionKind.RESIDUALS_3, 0) is None
        assert file.truncation is not None
        assert file.truncation.missing_sections == 7


def test_pieces_are_not_joined_when_one_is_cut() -> None:
    pieces = [Section(SectionKind.ALPHA, b"first"), Section(SectionKind.ALPHA, b"second")]
    data = file_bytes(WITH_ALPHA, [*PLAIN_SECTIONS, *pieces])
    for file in (
        read_container(data[:-1], allow_truncated=True),
        ContainerReader(io.BytesIO(data[:-1]), allow_truncated=True),
    ):
        assert file.concatenated(SectionKind.ALPHA) is None
    assert read_container(data).concatenated(SectionKind.ALPHA) == b"firstsecond"


@both_readers
@both_layouts
def test_the_section_that_is_cut_is_told_once_its_head_is_there(read: Reader, joined: bool) -> None:
    head = header(joined=joined)
    sections = [Section(section.kind, section.payload * 5) for section in chunk_sections(head)]
    data = file_bytes(head, sections)
    start = len(data) - SECTION_OVERHEAD - len(sections[-1].payload)
    for length in range(start, len(data)):
        truncation = read(data[:length], allow_truncated=True).truncation
        assert truncation is not None
        if length < start + SECTION_OVERHEAD:
            assert truncation.cut is None
            continue
        assert truncation.cut is not None
        assert (truncation.cut.kind, truncation.cut.length) == (sections[-1].kind, 20)
        assert (truncation.cut.offset, truncation.cut.end) == (start + SECTION_OVERHEAD, len(data))


def unverified(data: bytes, kind: int, index: int) -> tuple[bytes, int] | None:
    reader = ContainerReader(io.BytesIO(data), allow_truncated=True)
    return reader.unverified_payload(kind, index)


@both_layouts
def test_an_unverified_payload_is_there_as_far_as_the_file_goes(joined: bool) -> None:
    head = header(joined=joined)
    sections, data = chunk_sections(head), file_bytes(head, chunk_sections(head))
    starts = [HEADER_SIZE]
    for section in sections:
        starts.append(starts[-1] + SECTION_OVERHEAD + len(section.payload))
    for length in range(HEADER_SIZE, len(data) + 1):
        for number, section in enumerate(sections):
            start, size = starts[number] + SECTION_OVERHEAD, len(section.payload)
            there = min(max(length - start, 0), size)
            expected = (section.payload[:there], size - there) if there else None
            assert unverified(data[:length], section.kind, number % 2) == expected, (length, number)


def test_an_unverified_payload_may_be_damaged() -> None:
    data = bytearray(file_bytes(JOINED, JOINED_SECTIONS))
    data[-1] ^= 0x10
    assert unverified(bytes(data), SectionKind.SYMBOLS, 0) == (b"\7\0", 0)
    assert unverified(bytes(data), SectionKind.SYMBOLS, 1) == (b"\7\1\7\x11", 0)
    with pytest.raises(ChecksumError):
        ContainerReader(io.BytesIO(data)).chunk_payload(SectionKind.SYMBOLS, 1)


def test_an_unverified_payload_is_that_of_its_own_kind_and_chunk() -> None:
    cut = file_bytes(JOINED_WITH_ALPHA, [*JOINED_SECTIONS, Section(SectionKind.ALPHA, b"alpha")])[:-1]
    assert unverified(cut, SectionKind.SYMBOLS, 1) == (JOINED_SECTIONS[1].payload, 0)
    in_metadata = file_bytes(JOINED, [JOINED_SECTIONS[0], Section(SectionKind.XMP, b"xmp")])[:-1]
    assert unverified(in_metadata, SectionKind.SYMBOLS, 1) is None
    first = file_bytes(JOINED, JOINED_SECTIONS[:1])[:-1]
    assert unverified(first, SectionKind.SYMBOLS, 0) == (JOINED_SECTIONS[0].payload[:-1], 1)
    assert unverified(first, SectionKind.SYMBOLS, 1) is None
    for kind, index, message in (
        (SectionKind.XMP, 0, "each chunk has"),
        (SectionKind.RESIDUALS_0, 0, r"each chunk has \(SYMBOLS \(0x07\)\)"),
        (SectionKind.SYMBOLS, 2, "chunk index"),
    ):
        with pytest.raises(InputError, match=message):
            unverified(first, kind, index)


@both_readers
def test_damage_before_the_cut_is_not_tolerated(read: Reader) -> None:
    data = bytearray(file_bytes(PLAIN, PLAIN_SECTIONS)[:-1])
    data[HEADER_SIZE + SECTION_OVERHEAD] ^= 0x10
    with pytest.raises(ChecksumError, match="HYPER_LATENTS"):
        read(bytes(data), allow_truncated=True)


@both_readers
def test_a_cut_header_gives_nothing_to_decode(read: Reader) -> None:
    with pytest.raises(TruncatedError, match="found only 35"):
        read(GOLDEN_FILE[:35], allow_truncated=True)


# Hostile files and limits ---------------------------------------------------------------------------------


@both_readers
def test_hostile_sizes_allocate_nothing(read: Reader) -> None:
    hostile = [
        patched_header(PLAIN, 16, (2**31).to_bytes(4, "little") * 2),
        patched_header(PLAIN, 13, bytes.fromhex("01 0000 00800000 00200000")),  # 65,536 chunks
        write_header(PLAIN) + section_bytes(1, length=MAX_PAYLOAD_SIZE),
        write_header(PLAIN) + section_bytes(0x81, b"x", length=MAX_PAYLOAD_SIZE),
    ]
    tracemalloc.start()
    try:
        for data in hostile:
            with pytest.raises((LimitError, TruncatedError)):
                read(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@both_readers
@pytest.mark.parametrize("length", [0, 1, 3, 5, 255, 256, 2**16, 2**23, MAX_PAYLOAD_SIZE])
def test_wrong_section_lengths_are_noticed(read: Reader, length: int) -> None:
    head = Header(width=1, height=1, level=0, model_id=MODEL_ID)
    sections = chunk_sections(head)
    good = file_bytes(head, sections)
    first = SECTION_OVERHEAD + len(sections[0].payload)
    # Once with the old checksum, once with one that covers the wrong length and the old payload.
    for start in (
        good[HEADER_SIZE : HEADER_SIZE + 1] + length.to_bytes(3, "little") + good[HEADER_SIZE + 4 :][:first],
        section_bytes(1, sections[0].payload, length=length),
    ):
        with pytest.raises((ChecksumError, TruncatedError)):
            read(good[:HEADER_SIZE] + start + good[HEADER_SIZE + first :])


@both_readers
def test_limits_can_be_lowered(read: Reader) -> None:
    head = header(has_alpha=True)
    _, data = whole_file(head)
    assert read(data, limits=Limits(max_side=130, max_pixels=130 * 70, max_sections=18, max_metadata_bytes=7))
    for limits in (
        Limits(max_side=129),
        Limits(max_pixels=130 * 70 - 1),
        Limits(max_sections=17),
        Limits(max_sections=12),
        Limits(max_metadata_bytes=6),
    ):
        with pytest.raises(LimitError, match="the limit is"):
            read(data, limits=limits)


def test_a_higher_limit_accepts_more_pixels_but_never_longer_sides() -> None:
    large = patched_header(header(), 16, (32_768).to_bytes(4, "little") * 2)
    assert read_header(large, limits=Limits(max_pixels=2**30)).height == 32_768
    too_long = patched_header(header(), 16, (32_769).to_bytes(4, "little"))
    with pytest.raises(LimitError):
        read_header(too_long, limits=Limits(max_side=2**31, max_pixels=2**62))


def test_the_largest_picture_in_the_smallest_chunks_is_within_the_limits() -> None:
    head = Header(width=32_768, height=8192, level=0, model_id=MODEL_ID, has_alpha=True, chunk_side=64)
    assert read_header(write_header(head)) == head
    with pytest.raises(LimitError, match="max_sections"):
        read_header(write_header(head), limits=Limits(max_sections=6 * head.chunk_count))
    joined = replace(head, joined=True)
    assert read_header(write_header(joined), limits=Limits(max_sections=head.chunk_count + 1)) == joined
    with pytest.raises(LimitError, match="max_sections"):
        read_header(write_header(joined), limits=Limits(max_sections=head.chunk_count))


def test_a_chunk_that_needs_much_memory_is_refused_before_it_is_decoded() -> None:
    def headed(width: int, height: int, chunk_side: int) -> Header:
        return Header(width=width, height=height, level=0, model_id=MODEL_ID, chunk_side=chunk_side)

    small = headed(4096, 4096, 16_320)  # a chunk is no larger than the picture
    assert read_header(write_header(small)) == small
    for large in (headed(4097, 1, 4160), headed(1, 4097, 16_320)):
        with pytest.raises(LimitError, match="max_chunk_side"):
            read_header(write_header(large))
        assert read_header(write_header(large), limits=Limits(max_chunk_side=4160)) == large
        with pytest.raises(LimitError, match="max_chunk_side"):
            ContainerWriter(io.BytesIO(), large)


@both_readers
def test_a_flood_of_empty_sections_is_stopped(read: Reader) -> None:
    flood = write_header(PLAIN) + section_bytes(0x90) * 1001
    with pytest.raises(LimitError, match="1001 sections or more"):
        read(flood, limits=Limits(max_sections=1000))


@both_readers
def test_metadata_is_limited_over_all_its_pieces(read: Reader) -> None:
    pieces = [Section(SectionKind.EXIF, bytes(60)), Section(SectionKind.EXIF, bytes(60))]
    data = file_bytes(PLAIN, [*pieces, *PLAIN_SECTIONS])
    assert read(data, limits=Limits(max_metadata_bytes=120)).concatenated(SectionKind.EXIF) == bytes(120)
    with pytest.raises(LimitError, match=r"EXIF \(0x82\) sections hold 120 bytes"):
        read(data, limits=Limits(max_metadata_bytes=119))


# The lazy reader ------------------------------------------------------------------------------------------


class CountingStream(io.BytesIO):
    """Counts the bytes that are read."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data


class StutteringStream(io.BytesIO):
    """Gives at most three bytes a read, as an unbuffered stream may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(3, size) if size is not None and size >= 0 else 3)


def test_lazy_reader_reads_heads_and_the_chunks_asked_for_only() -> None:
    head = Header(width=10_000, height=10_000, level=100, model_id=MODEL_ID)  # 100 chunks, 600 sections
    sections = [Section(kind, bytes(20_000)) for kind in CHUNK_KINDS for _ in range(head.chunk_count)]
    stream = CountingStream(write_container(head, sections))
    reader = ContainerReader(stream)
    assert len(reader.entries) == 600
    assert stream.bytes_read == HEADER_SIZE + 600 * SECTION_OVERHEAD
    touched = head.chunks_touching(Box(1000, 1000, 100, 100))
    assert touched == (0, 1, 10, 11)
    for chunk in touched:
        assert reader.chunk_payload(SectionKind.RESIDUALS_2, chunk) == bytes(20_000)
    assert stream.bytes_read == HEADER_SIZE + 600 * SECTION_OVERHEAD + 4 * 20_000


def test_lazy_reader_finds_damage_when_the_section_is_read() -> None:
    data = bytearray(file_bytes(PLAIN, PLAIN_SECTIONS))
    data[-1] ^= 1
    reader = ContainerReader(io.BytesIO(data))
    assert reader.chunk_payload(SectionKind.RESIDUALS_4, 0) == PLAIN_SECTIONS[-2].payload
    with pytest.raises(ChecksumError, match="RESIDUALS_4"):
        reader.chunk_payload(SectionKind.RESIDUALS_4, 1)
    with pytest.raises(ChecksumError, match="RESIDUALS_4"):
        reader.verify()
    ContainerReader(io.BytesIO(GOLDEN_FILE)).verify()


def test_lazy_reader_names_wrong_chunks() -> None:
    reader = ContainerReader(io.BytesIO(GOLDEN_FILE))
    with pytest.raises(InputError, match="each chunk has"):
        reader.chunk_payload(SectionKind.EXIF, 0)
    with pytest.raises(InputError, match="chunk index"):
        reader.chunk_payload(SectionKind.HYPER_LATENTS, 1)
    assert reader.concatenated(SectionKind.EXIF) is None


def test_lazy_reader_begins_where_the_stream_stands() -> None:
    stream = io.BytesIO(b"something else" + GOLDEN_FILE)
    stream.seek(len(b"something else"))
    reader = ContainerReader(stream)
    assert reader.entries[0].offset == HEADER_SIZE + SECTION_OVERHEAD
    assert reader.entries[-1].end == len(GOLDEN_FILE)
    assert reader.chunk_payload(SectionKind.HYPER_LATENTS, 0) == b"\xa1\xa2"


def test_lazy_reader_survives_short_reads() -> None:
    _, data = whole_file(header(has_alpha=True))
    reader = ContainerReader(StutteringStream(data))
    assert reader.concatenated(SectionKind.ICC_PROFILE) == b"profile"


def test_lazy_reader_notices_a_file_that_shrinks() -> None:
    stream = io.BytesIO(GOLDEN_FILE)
    reader = ContainerReader(stream)
    stream.truncate(HEADER_SIZE + SECTION_OVERHEAD + 1)
    with pytest.raises(TruncatedError, match="became shorter"):
        reader.chunk_payload(SectionKind.HYPER_LATENTS, 0)


def test_lazy_reader_needs_a_seekable_stream() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(InputError, match="seekable"):
        ContainerReader(Pipe(GOLDEN_FILE))


def test_lazy_reader_serves_threads(tmp_path: Path) -> None:
    head = header(width=2000, height=2000)
    path = tmp_path / "picture.aec"
    path.write_bytes(write_container(head, chunk_sections(head)))
    with path.open("rb") as stream, ThreadPoolExecutor(8) as threads:
        reader = ContainerReader(stream)
        start = threading.Barrier(8, timeout=10)

        def read_all(_: int) -> list[Section]:
            start.wait()
            return [Section(entry.kind, reader.read_payload(entry)) for entry in reader.entries]

        for sections in threads.map(read_all, range(8)):
            assert sections == chunk_sections(head)


# The writer -----------------------------------------------------------------------------------------------


class WriteOnlyStream:
    """The least that the writer may ask of a stream."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.pieces.append(data)
        return len(data)


def test_writer_streams_sections_as_they_come() -> None:
    stream = WriteOnlyStream()
    head = header(has_alpha=True)
    sections, data = whole_file(head)
    with ContainerWriter(cast(BinaryIO, stream), head) as writer:
        assert writer.bytes_written == HEADER_SIZE
        for section in sections:
            writer.write(section)
            assert sum(map(len, stream.pieces)) == writer.bytes_written
    assert b"".join(stream.pieces) == data


@pytest.mark.parametrize(
    ("head", "sections", "error", "message"),
    [
        (PLAIN, PLAIN_SECTIONS[:-1], InputError, "1 of RESIDUALS_4"),
        (WITH_ALPHA, PLAIN_SECTIONS, InputError, "1 of ALPHA"),
        (PLAIN, moved(PLAIN_SECTIONS, 3, 4), InputError, "cannot be written here"),
        (PLAIN, [*PLAIN_SECTIONS, PLAIN_SECTIONS[-1]], InputError, "more RESIDUALS_4"),
        (PLAIN, [*PLAIN_SECTIONS, ALPHA], InputError, "alpha flag"),
        (PLAIN, [SYMBOLS], InputError, "SYMBOLS .* a section for each part"),
        (PLAIN, [*PLAIN_SECTIONS, SYMBOLS], InputError, "SYMBOLS .* a section for each part"),
        *((JOINED, [Section(kind, b"")], InputError, "a chunk has one section") for kind in CHUNK_KINDS),
        (JOINED, JOINED_SECTIONS[:1], InputError, "1 of SYMBOLS"),
        (JOINED, [*JOINED_SECTIONS, SYMBOLS], InputError, "more SYMBOLS"),
        (JOINED_WITH_ALPHA, [JOINED_SECTIONS[0], ALPHA], InputError, "begins after 1 SYMBOLS"),
        (PLAIN, [Section(0x09, b"")], InputError, "received 0x09"),
        (PLAIN, [Section(0x00, b"")], InputError, "received 0x00"),
        (PLAIN, [Section(0x100, b"")], InputError, "received 0x100"),
        (PLAIN, [Section(0x81, bytes(MAX_PAYLOAD_SIZE + 1))], LimitError, "too long"),
    ],
)
def test_writer_refuses_what_readers_would_refuse(
    head: Header, sections: list[Section], error: type[AecodecError], message: str
) -> None:
    with pytest.raises(error, match=message):
        write_container(head, sections)


def test_writer_keeps_to_the_limits() -> None:
    with pytest.raises(LimitError, match="268435456"):
        ContainerWriter(io.BytesIO(), header(width=32_768, height=32_768))
    with pytest.raises(LimitError, match="max_metadata_bytes"):
        write_container(PLAIN, [Section(SectionKind.XMP, bytes(9))], limits=Limits(max_metadata_bytes=8))


def test_writer_lets_an_error_inside_its_block_pass() -> None:
    with pytest.raises(KeyError), ContainerWriter(io.BytesIO(), PLAIN):
        raise KeyError


# The module and the other descriptions of the format ------------------------------------------------------


def test_public_names_are_those_of_the_module() -> None:
    assert list(container.__all__) == sorted(container.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(container, name) for name in container.__all__)


def test_container_needs_the_standard_library_only() -> None:
    code = (
        "import sys; import aecodec.container; "
        "print(*sorted({name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    command = [sys.executable, "-S", "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, cwd=FORMATS.parent).stdout
    assert set(loaded.split()) == {"__main__", "aecodec"} - set(sys.stdlib_module_names)


def test_names_of_sections_serve_messages() -> None:
    assert section_name(SectionKind.EXIF) == "EXIF (0x82)"
    assert section_name(0x7A) == "0x7A"


def test_the_format_document_shows_the_golden_file() -> None:
    text = (FORMATS / "aec.md").read_text(encoding="utf-8")
    block = text.split("<!-- golden file -->")[1].split("```")[1]
    dump = "".join(line.split("|")[0] for line in block.splitlines()[1:])
    assert bytes.fromhex(dump) == GOLDEN_FILE


def test_the_format_document_lists_every_section() -> None:
    text = (FORMATS / "aec.md").read_text(encoding="utf-8")
    for kind in SectionKind:
        assert f"| 0x{kind:02X} | {kind.name} |" in text


def test_the_mime_description_knows_the_magic() -> None:
    root = ElementTree.parse(FORMATS / "aec.xml").getroot()
    space = {"mime": "http://www.freedesktop.org/standards/shared-mime-info"}
    kind = root.find("mime:mime-type", space)
    assert kind is not None
    assert kind.get("type") == "image/x-aecodec"
    match = kind.find("mime:magic/mime:match", space)
    assert match is not None
    assert match.get("offset") == "0"
    assert match.get("value", "").encode("latin-1").decode("unicode_escape").encode("latin-1") == MAGIC
    glob = kind.find("mime:glob", space)
    assert glob is not None
    assert glob.get("pattern") == "*.aec"


def test_the_thumbnailer_calls_the_command() -> None:
    parser = configparser.RawConfigParser()
    parser.read(FORMATS / "aecodec.thumbnailer", encoding="utf-8")
    entry = parser["Thumbnailer Entry"]
    assert entry["Exec"] == "aecodec decompress --thumbnail %s %i %o"
    assert entry["TryExec"] == "aecodec"
    assert entry["MimeType"] == "image/x-aecodec;"


@pytest.mark.skipif(shutil.which("file") is None, reason="file(1) is not installed")
def test_file_knows_the_format(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(whole_file(header(has_alpha=True, layout=1, depth=16))[1])

    def describe(*options: str) -> str:
        command = ["file", "--brief", "--magic-file", str(FORMATS / "aec.magic"), *options, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert describe() == (
        "aecodec image, version 1, 130 x 70, 16-bit grayscale, with alpha, level 96, model 0x00112233445566ff"
    )
    assert describe("--mime-type") == "image/x-aecodec"
    path.write_bytes(GOLDEN_FILE)
    assert describe() == "aecodec image, version 1, 1 x 1, 8-bit RGB, level 96, model 0x00112233445566ff"
    path.write_bytes(b"\xaeAEC\n" + GOLDEN_FILE)
    assert "aecodec" not in describe()
