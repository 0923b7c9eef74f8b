"""Write the conformance vectors of section 8 of aec.md.

    python make_vectors.py                  the invalid files that need no model
    python make_vectors.py --model FOLDER   all of them, for the model in that folder

Symbols come from aecodec's encoder, or from scripts that say what a decoder decodes; symbols hashes and
pixels come from ``reference_decoder.py`` beside this program, and aecodec must agree with them before
anything is written. Files that are there already are replaced, and those of cases that are no more are
removed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import reference_decoder as reference
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw

sys.path.append(str(Path(__file__).parents[1]))  # a checkout need not be installed
from aecodec import decode, encode, symbols_hash
from aecodec.container import Header, Section, SectionKind, read_container, write_container, write_header
from aecodec.entropy import encode_chunk
from aecodec.image import Picture, picture_from_array, plane_to_png
from aecodec.models import Model, load_model_folder
from aecodec.residuals import ResidualCoder
from aecodec.runtime import open_runtime

VECTORS = Path(__file__).parent / "vectors"
DEMO = Path(__file__).parents[1] / "aecodec" / "cli" / "demo.png"
#: Of the files that are invalid before it matters which model they name.
ANY_MODEL = bytes.fromhex("00112233445566ff")
#: Rounding flips a sample of depth 8 now and then; in few samples one flip weighs much.
FEW_SAMPLES = 200
Samples = NDArray[Any]


@dataclass(frozen=True)
class Valid:
    """A file and what it shows; ``has_pixels`` is False where section 11.6 leaves the pixels open."""

    name: str
    description: str
    data: bytes
    has_pixels: bool = True


@dataclass(frozen=True)
class Invalid:
    """A file and the class of the error that it gives (section 7 of the text)."""

    name: str
    description: str
    kind: str
    data: bytes
    needs_model: bool = False


# Pictures ---------------------------------------------------------------------------------------------------


def photograph(x: int, y: int, width: int, height: int) -> Samples:
    """A crop of the photograph that the package brings: uint8 (height, width, 3)."""
    with Image.open(DEMO) as image:
        return np.asarray(image.convert("RGB").crop((x, y, x + width, y + height)))


def drawing(width: int, height: int) -> Samples:
    """Lines, areas and letters: uint8 (height, width, 3)."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, width // 2, height // 2), fill=(200, 30, 40), outline="black")
    draw.ellipse((width // 3, height // 4, width - 5, height - 6), fill=(30, 90, 200))
    draw.line((0, height - 1, width - 1, 0), fill=(0, 0, 0), width=2)
    draw.text((8, height // 2), "aec", fill=(0, 120, 60))
    return np.asarray(image)


def ramps(width: int, height: int, channels: int) -> Samples:
    """Slopes with more than 8 bits: uint16 (height, width, channels)."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * (521 + 97 * c) + y * (263 + 31 * c) + 9000 * c) % 65536 for c in range(channels)]
    return np.dstack(planes).astype(np.uint16)


def opacity(width: int, height: int, peak: int) -> Samples:
    """A soft disc: (height, width) of 0..peak."""
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5)
    soft: Samples = np.floor(np.clip((0.5 - distance) * 4, 0, 1) * peak)
    return soft


# Valid files ------------------------------------------------------------------------------------------------


def valid_cases(model: Model, reference_model: reference.Model) -> Iterator[Valid]:
    """Every valid case, for a model."""

    def coded(picture: Picture | Samples, level: int, chunk_side: int = 1024, effort: int = 0) -> bytes:
        return encode(picture, level=level, chunk_side=chunk_side, effort=effort, model=model, jobs=1)

    yield Valid("one-pixel", "a single pixel", coded(photograph(214, 230, 1, 1), 96))
    yield Valid("one-column", "1 x 67 pixels", coded(photograph(214, 200, 1, 67), 96))
    yield Valid("odd-sizes", "67 x 45 pixels", coded(photograph(480, 150, 67, 45), 128))
    for level in (0, 109, 224):
        name = f"level-{level}"
        yield Valid(name, f"the level {level}", coded(photograph(160, 200, 64, 64), level))
    yield Valid("drawing", "lines, areas and letters", coded(drawing(90, 61), 120))
    yield Valid("gray", "gray", coded(drawing(60, 70)[:, :, 1], 90))
    yield Valid("gray-16", "gray of 16 bits", coded(ramps(33, 41, 1), 150))
    yield Valid(
        "rgb-16",
        "16 bits a sample",
        coded(photograph(150, 215, 50, 35) * np.uint16(256) + ramps(50, 35, 3) % 256, 180),
    )
    soft = opacity(63, 65, 255).astype(np.uint8)
    yield Valid("alpha", "RGB and alpha", coded(np.dstack((drawing(63, 65), soft)), 80))
    deep = opacity(30, 20, 65535).astype(np.uint16)
    data = coded(np.dstack((ramps(30, 20, 1), deep)), 100)
    yield Valid("gray-alpha-16", "gray and alpha of 16 bits", data)
    yield Valid("alpha-pieces", "alpha in four sections, one of them empty", _alpha_in_pieces(data))
    metadata = {"icc_profile": _profile(), "exif": _exif(), "xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"}
    data = coded(picture_from_array(photograph(140, 190, 40, 30), **metadata), 60)
    yield Valid("metadata", "an ICC profile, EXIF and XMP", data)
    data = coded(picture_from_array(photograph(140, 190, 70, 30), **metadata), 60, chunk_side=64)
    yield Valid("extensions", "unknown optional sections, and EXIF in pieces in between", _extended(data))
    data = coded(photograph(130, 190, 130, 70), 110, chunk_side=64)
    yield Valid("chunks-64", "chunks of 64 pixels: 3 x 2", data)
    data = coded(photograph(120, 160, 131, 129), 60, chunk_side=128)
    yield Valid("chunks-128", "chunks of 128 pixels: those of the last row and column are smaller", data)
    yield from _layout_cases(model)
    data = coded(photograph(120, 160, 131, 129), 160, chunk_side=64, effort=1)
    yield Valid("post-filters", "chunks of 64 pixels, each with a post-filter", data)
    data = coded(ramps(90, 70, 1), 140, effort=1)
    yield Valid("post-filter-gray-16", "gray of 16 bits with a post-filter", data)
    yield Valid("black", "every sample is zero", coded(np.zeros((64, 64, 3), np.uint8), 128))
    yield from _empty_cases(model)
    for name, is_dependent, joined in (
        ("escapes", True, False),
        ("plain-escapes", False, False),
        ("joined-escapes", True, True),
    ):
        residuals = "some of the residuals dependent" if is_dependent else "all residuals plain"
        sections = "one section" if joined else "six sections"
        description = f"escapes of all classes in {sections}, {residuals}; the pixels are left open"
        header = Header(64, 64, 180, model.model_id, dependent=is_dependent, joined=joined)
        yield Valid(name, description, _escapes(header, model, reference_model), False)


def _layout_cases(model: Model) -> Iterator[Valid]:
    """Files with one section or six for a chunk where the encoder would have it the other way."""
    header = Header(64, 64, 160, model.model_id, dependent=True)
    data = _of_chunks(header, photograph(160, 200, 64, 64), model)
    yield Valid("one-chunk-six-sections", "a single chunk, not joined", data)
    header = Header(192, 128, 90, model.model_id, chunk_side=64, dependent=True, joined=True)
    data = _of_chunks(header, photograph(130, 170, 192, 128), model)
    yield Valid("joined-chunks-64", "chunks of 64 pixels, joined: 3 x 2", data)
    header = Header(128, 64, 160, model.model_id, chunk_side=64)
    samples = photograph(150, 180, 128, 64)
    yield Valid("plain", "plain residuals alone", _of_chunks(header, samples, model))
    data = _of_chunks(replace(header, joined=True), samples, model)
    yield Valid("joined-plain", "plain residuals alone, joined", data)


def _empty_cases(model: Model) -> Iterator[Valid]:
    """Files whose payloads are empty."""
    usual = Header(70, 20, 40, model.model_id, dependent=True)
    for name, description, header in (
        ("no-symbols", "every symbol is zero, and every payload is empty", usual),
        ("joined-no-symbols", "every symbol is zero, joined", replace(usual, joined=True)),
        ("plain-no-symbols", "plain residuals alone, every symbol zero", replace(usual, dependent=False)),
        (
            "post-filter-no-symbols",
            "post-filters whose coefficients are zero, as are all symbols",
            replace(usual, filtered=True),
        ),
        (
            "joined-post-filter-no-symbols",
            "post-filters whose coefficients are zero, as are all symbols, joined",
            replace(usual, filtered=True, joined=True),
        ),
    ):
        data = write_container(header, [Section(kind, b"") for kind in header.chunk_kinds])
        yield Valid(name, description, data)


def _profile() -> bytes:
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "A description"
    return bytes(exif.tobytes().removeprefix(b"Exif\0\0"))


def _alpha_in_pieces(data: bytes) -> bytes:
    whole = read_container(data)
    *others, alpha = whole.sections
    pieces = (alpha.payload[:1], alpha.payload[1:30], b"", alpha.payload[30:])
    return write_container(whole.header, [*others, *(Section(SectionKind.ALPHA, piece) for piece in pieces)])


def _extended(data: bytes) -> bytes:
    whole = read_container(data)
    [exif] = (section.payload for section in whole.sections if section.kind == SectionKind.EXIF)
    sections: list[Section] = [Section(0xF0, b"for private use")]
    for section in whole.sections:
        is_exif = section.kind == SectionKind.EXIF
        sections.append(Section(SectionKind.EXIF, exif[:9]) if is_exif else section)
    first = next(at for at, section in enumerate(sections) if section.kind == SectionKind.RESIDUALS_1)
    sections[first + 1 : first + 1] = [Section(SectionKind.EXIF, exif[9:]), Section(0x90, b"")]
    return write_container(whole.header, [*sections, Section(0xFF, bytes(9))])


def _of_chunks(header: Header, samples: Samples, model: Model) -> bytes:
    """A file of a picture that fills its chunks; no chunk's encoder sees the others."""
    runtime = open_runtime("onnx", model)
    coder = ResidualCoder(model, runtime)
    payloads = []
    for box in map(header.chunk_box, range(header.chunk_count)):
        pixels = samples[box.y : box.bottom, box.x : box.right].astype(np.float32)
        latents = runtime.analyse(pixels, header.level)
        chunk = coder.encode(latents, header.level, dependent=header.dependent)
        payloads.append(coder.pack(chunk, joined=header.joined).payloads)
    return _of_payloads(header, payloads)


def _of_payloads(header: Header, payloads: Sequence[Sequence[bytes]]) -> bytes:
    """A file of the payloads of each chunk."""
    kinds = zip(header.chunk_kinds, zip(*payloads, strict=True), strict=True)
    return write_container(header, [Section(kind, payload) for kind, of in kinds for payload in of])


class Script(reference.Stack):
    """Stands where the reference decoder has a payload: says what it decodes, and then has the payload.

    Args:
        symbols: what is decoded, in the order of decoding; zeros follow.
    """

    def __init__(self, symbols: Iterable[int] = ()) -> None:
        super().__init__(b"")
        self._symbols = iter(symbols)
        self._classes: list[int] = []
        self._raw_bits: list[int] = []
        self._decoded: list[tuple[int, int]] = []

    def pull(self, starts: list[int]) -> int:
        """The next symbol's entry."""
        symbol, m = next(self._symbols, 0), (len(starts) - 3) // 2
        entry = symbol % (2 * m + 2)
        if abs(symbol) > m:
            excess, entry = abs(symbol) - m - 1, m + 1
            self._classes.append(excess.bit_length())
            below_leading_one = excess - (1 << excess.bit_length() - 1) if excess else 0
            self._raw_bits.append(2 * below_leading_one + (symbol < 0))
        self._decoded.append((starts[entry], starts[entry + 1] - starts[entry]))
        return entry

    def pull_bits(self, count: int) -> int:
        """The classes of a group's escapes, and then their raw bits."""
        entry = (self._classes or self._raw_bits).pop(0)
        self._decoded.append((entry << (24 - count), 1 << (24 - count)))
        return entry

    @property
    def payload(self) -> bytes:
        """What the decoder's steps, taken backwards, lead to (section 9.2)."""
        state, words = 0, []
        for start, frequency in reversed(self._decoded):
            if state >> 40 >= frequency:
                words.append(state % 2**32)
                state >>= 32
            state = state // frequency * 2**24 + start + state % frequency
        while state:
            words.append(state % 2**32)
            state >>= 32
        return struct.pack(f"<{len(words)}I", *words).rstrip(b"\0")


@dataclass(frozen=True)
class ScriptedChunk:
    """The chunk of a file of 64 x 64 pixels, as scripts want it.

    Args:
        header: of the file.
        scripts: one for each section of the chunk.
    """

    header: Header
    scripts: Sequence[Script]

    @classmethod
    def of(cls, header: Header, parts: Sequence[Sequence[int]]) -> ScriptedChunk:
        """``parts``: the symbols of each part. Joined, all of a part are needed before another."""
        if header.joined:
            return cls(header, [Script(itertools.chain.from_iterable(parts))])
        return cls(header, [Script(symbols) for symbols in parts])

    def decode(self, model: reference.Model) -> tuple[Samples, Samples]:
        """The symbols."""
        stacks: list[reference.Stack] = [*self.scripts]
        stacks *= reference.PARTS // len(stacks)
        return reference.decode_chunk(stacks, 1, 1, model, self.header.level, self.header.dependent)

    @property
    def payloads(self) -> list[bytes]:
        """Those of the sections; in a joined file their bytes are in reverse order (section 9.8)."""
        return [script.payload[:: -1 if self.header.joined else 1] for script in self.scripts]

    @property
    def file(self) -> bytes:
        """The file of the payloads."""
        return _of_payloads(self.header, [self.payloads])


def _escapes(header: Header, model: Model, reference_model: reference.Model) -> bytes:
    """Few symbols besides 0, of magnitudes up to the largest."""
    random = np.random.default_rng(5)
    magnitudes = [2**bits + offset for bits in range(1, 15) for offset in (-1, 0, 1)] + [32766, 32767]
    # The largest symbol of a residual: of a dependent one of quantiser 0, and of a plain one.
    largest = 32767 // 10 if header.dependent else 32767 // 8
    parts = []
    for count, limit in ((model.hyper_channels, 32767), *[(2 * model.latent_channels, largest)] * 2):
        chosen = [value for value in magnitudes if value < limit] + [limit]
        symbols = np.zeros(count, np.int64)
        places = random.choice(count, min(len(chosen), count), replace=False)
        symbols[places] = np.array(chosen)[: len(places)] * random.choice((-1, 1), len(places))
        parts.append(symbols.tolist())
    chunk = ScriptedChunk.of(header, [*parts, [], [], []])
    z, r = (plane.astype(np.int16) for plane in chunk.decode(reference_model))
    coded = encode_chunk(z, r, header.level, model.entropy, dependent=header.dependent, joined=header.joined)
    if chunk.payloads != list(coded.payloads):
        raise SystemExit("escapes: aecodec's encoder gets other payloads")
    return chunk.file


def write_valid(case: Valid, model: Model, reference_model: reference.Model, folder: Path) -> None:
    """Write the file, what it decodes to, and how near a decoder must come."""
    header = reference.read_header(case.data)
    decoded = reference.decode(case.data, reference_model)
    if symbols_hash(case.data, model=model) != decoded.symbols_hash:
        raise SystemExit(f"{case.name}: aecodec and the reference decoder get different symbols")
    content: dict[str, Any] = {
        "description": case.description,
        "model_id": header.model_id.hex(),
        "width": header.width,
        "height": header.height,
        "layout": header.layout,
        "depth": header.depth,
        "alpha": header.has_alpha,
        "dependent": header.is_dependent,
        "filtered": header.is_filtered,
        "joined": header.is_joined,
        "level": header.level,
        "chunk_side": header.chunk_side,
        "symbols_sha256": decoded.symbols_hash,
        "pixels": None,
    }
    if case.has_pixels:
        tolerance = tolerance_of(header.depth, decoded.samples.size)
        found = difference(decode(case.data, model=model), decoded.samples, header.layout)
        if found["peak"] > tolerance["peak"] or found["rms"] > tolerance["rms"]:
            raise SystemExit(f"{case.name}: aecodec's pixels differ from the reference decoder's by {found}")
        content["pixels"] = {"file": f"{case.name}.png", **tolerance}
        (folder / f"{case.name}.png").write_bytes(reference.png_file(decoded.samples))
    (folder / f"{case.name}.aec").write_bytes(case.data)
    (folder / f"{case.name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def tolerance_of(depth: int, samples: int) -> dict[str, float]:
    """Section 11.6, for rounded samples."""
    if depth == 16:
        return {"peak": 257, "rms": 0.02}
    return {"peak": 1, "rms": 0.2 if samples >= FEW_SAMPLES else 1.0}


def difference(samples: Samples, expected: Samples, layout: int) -> dict[str, float]:
    """Of the colours: ``peak`` in steps of a sample, ``rms`` on the scale of 8 bits. Alpha must be equal."""
    found = samples.reshape(expected.shape).astype(np.float64)
    if not np.array_equal(found[:, :, layout:], expected[:, :, layout:]):
        return {"peak": np.inf, "rms": np.inf}
    distance = found[:, :, :layout] - expected[:, :, :layout]
    scale = 257 if expected.dtype.itemsize == 2 else 1
    return {"peak": np.abs(distance).max(), "rms": float(np.sqrt(np.mean(distance**2))) / scale}


# Invalid files: the container -------------------------------------------------------------------------------


def container_cases() -> Iterator[Invalid]:
    """A case for each row of the table in section 7 that needs no model and no large file."""
    yield from _header_cases()
    yield from _section_cases()
    yield from _joined_cases()
    data = _whole(Header(9, 9, 60, ANY_MODEL))
    yield Invalid("unknown-model", "a model that nobody has", "unknown model", data)


def _header_cases() -> Iterator[Invalid]:
    data = _whole(Header(9, 9, 60, ANY_MODEL))
    yield Invalid("empty", "no bytes at all", "truncated", b"")
    yield Invalid("magic-cut", "the file ends inside of the magic", "truncated", data[:5])
    foreign = "not an aecodec file"
    yield Invalid("magic-png", "a PNG file", foreign, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    yield Invalid("magic-text", "a short text", foreign, b"aec")
    yield Invalid("magic-lf", "CR LF became LF", foreign, data.replace(b"\r\n", b"\n", 1))
    yield Invalid("magic-utf-8", "Latin-1 became UTF-8", foreign, data.decode("latin-1").encode())
    yield Invalid("version-2", "version 2", "unsupported", _with_header(data, 8, 2))
    yield Invalid("version-2-cut", "version 2, of which 9 bytes are there", "unsupported", data[:8] + b"\2")
    yield Invalid("header-cut", "the file ends inside of the header", "truncated", data[:35])
    yield Invalid("header-checksum", "the checksum of the header", "checksum", _replaced(data, 32, 1))
    for flag in (4, 7):
        damaged = _with_header(data, 9, 1 << flag)
        yield Invalid(f"flag-{flag}", f"the reserved flag {flag}", "unsupported", damaged)
    yield Invalid("reserved-14", "byte 14 is not zero", "unsupported", _with_header(data, 14, 1))
    yield Invalid("reserved-15", "byte 15 is not zero", "unsupported", _with_header(data, 15, 128))
    for name, offset, value, kind in (
        ("layout-2", 10, 2, "unsupported"),
        ("layout-4", 10, 4, "unsupported"),
        ("depth-12", 11, 12, "unsupported"),
        ("level-225", 12, 225, "corrupted"),
        ("chunk-side-0", 13, 0, "corrupted"),
    ):
        yield Invalid(name, name.replace("-", " "), kind, _with_header(data, offset, value))
    for name, width, height, kind in (
        ("width-0", 0, 9, "corrupted"),
        ("height-0", 9, 0, "corrupted"),
        ("width-32769", 32769, 9, "too large"),
        ("height-4294967295", 9, 2**32 - 1, "too large"),
        ("many-pixels", 32768, 32768, "too large"),
    ):
        size = struct.pack("<2I", width, height)
        yield Invalid(name, f"{width} x {height} pixels", kind, _with_header(data, 16, *size))
    large = _with_header(_with_header(data, 16, *struct.pack("<2I", 4097, 64)), 13, 255)
    yield Invalid("large-chunk", "a chunk of 4160 pixels a side", "too large", large)


def _section_cases() -> Iterator[Invalid]:
    header = Header(70, 9, 60, ANY_MODEL, chunk_side=64)  # two chunks
    data = _whole(header)
    kinds = [kind for kind in header.chunk_kinds for _ in range(2)]
    yield Invalid("head-cut", "the file ends inside of a section's head", "truncated", data + b"\x83\0\0")
    yield Invalid("payload-cut", "the file ends inside of a payload", "truncated", data[:-1])
    yield Invalid("payload-missing", "a length beyond the end", "truncated", data + b"\x83\xff\xff\xff" * 2)
    yield Invalid("payload-checksum", "a changed payload", "checksum", _replaced(data, len(data) - 1, 7))
    yield Invalid("kind-checksum", "a changed kind", "checksum", _replaced(data, 36, 0x81))
    yield Invalid("checksum-unknown", "an unknown section's checksum", "checksum", data + b"\xf0" + bytes(7))
    for kind in (0x00, 0x09, 0x7F):
        name, text = f"critical-{kind:02x}", f"the unknown critical kind 0x{kind:02X}"
        yield Invalid(name, text, "unsupported", data + _section(kind))
    yield Invalid(
        "too-many", "a third section for two chunks", "corrupted", data + _section(SectionKind.RESIDUALS_4)
    )
    yield Invalid("order", "kinds decrease", "corrupted", _file(header, [*kinds, SectionKind.RESIDUALS_3]))
    early = [1, 2, 1, 2, *kinds[4:]]
    yield Invalid(
        "too-early", "a kind begins before the one below is complete", "corrupted", _file(header, early)
    )
    yield Invalid("skipped", "a kind is missing", "corrupted", _file(header, [*kinds[:4], *kinds[6:]]))
    yield Invalid(
        "alpha-unannounced", "alpha without its flag", "corrupted", data + _section(SectionKind.ALPHA)
    )
    yield Invalid(
        "sections-missing", "the file ends behind a section", "truncated", _file(header, kinds[:-1])
    )
    yield Invalid("no-sections", "a header alone", "truncated", data[:36])
    announced = _file(replace(header, has_alpha=True), kinds)
    yield Invalid("alpha-missing", "the flag of alpha without alpha", "truncated", announced)


def _joined_cases() -> Iterator[Invalid]:
    """Sections of the other layout, and the rules on sections in a joined file."""
    kind, plain = SectionKind.SYMBOLS, Header(70, 9, 60, ANY_MODEL, chunk_side=64)  # two chunks
    data = _whole(plain) + _section(kind)
    yield Invalid("symbols-unannounced", "SYMBOLS in a file that is not joined", "corrupted", data)
    data = _file(plain, [kind, kind])
    yield Invalid("symbols-alone", "SYMBOLS alone in a file that is not joined", "corrupted", data)
    header = replace(plain, joined=True)
    data = _file(header, list(plain.chunk_kinds))
    yield Invalid("joined-hyper-latents", "six kinds in a joined file", "corrupted", data)
    data = _file(header, [SectionKind.RESIDUALS_4, kind, kind])
    yield Invalid("joined-residuals", "residuals before SYMBOLS in a joined file", "corrupted", data)
    data = _file(header, [kind, kind, SectionKind.RESIDUALS_0])
    yield Invalid("joined-order", "kinds decrease in a joined file", "corrupted", data)
    data = _file(header, [kind] * 3)
    yield Invalid("joined-too-many", "a third SYMBOLS section for two chunks", "corrupted", data)
    yield Invalid("joined-missing", "one SYMBOLS section for two chunks", "truncated", _file(header, [kind]))
    yield Invalid("joined-no-sections", "a header of a joined file alone", "truncated", _file(header, []))
    data = _file(header, [kind, kind])
    yield Invalid("joined-cut", "the file ends inside of a SYMBOLS section", "truncated", data[:-1])
    data = _replaced(data, len(data) - 1, 7)
    yield Invalid("joined-checksum", "a changed payload of SYMBOLS", "checksum", data)
    data = _file(replace(header, has_alpha=True), [kind, SectionKind.ALPHA, kind])
    yield Invalid("joined-alpha-early", "alpha before SYMBOLS are complete", "corrupted", data)
    data = _file(replace(header, has_alpha=True), [kind, kind])
    yield Invalid("joined-alpha-missing", "the flag of alpha without alpha, joined", "truncated", data)


def _section(kind: int, payload: bytes = b"") -> bytes:
    head = bytes([kind]) + len(payload).to_bytes(3, "little")
    return head + zlib.crc32(payload, zlib.crc32(head)).to_bytes(4, "little") + payload


def _file(header: Header, kinds: Sequence[int]) -> bytes:
    """A file of sections of one byte each."""
    return write_header(header) + b"".join(_section(kind, b"\x01") for kind in kinds)


def _whole(header: Header) -> bytes:
    return _file(header, [kind for kind in header.chunk_kinds for _ in range(header.chunk_count)])


def _replaced(data: bytes, offset: int, *values: int) -> bytes:
    if data[offset : offset + len(values)] == bytes(values):
        raise ValueError("nothing would change")
    return data[:offset] + bytes(values) + data[offset + len(values) :]


def _with_header(data: bytes, offset: int, *values: int) -> bytes:
    """Other bytes in the header, and its checksum right."""
    start = _replaced(data[:32], offset, *values)
    return start + zlib.crc32(start).to_bytes(4, "little") + data[36:]


# Invalid files: what is in the sections ---------------------------------------------------------------------


def model_cases(model: Model, reference_model: reference.Model) -> Iterator[Invalid]:
    """Files that name the model, whose alpha or symbols break a rule."""
    for name, description, png in _alpha_files():
        header = Header(6, 5, 60, model.model_id, has_alpha=True)
        sections = [*(Section(kind, b"") for kind in header.chunk_kinds), Section(SectionKind.ALPHA, png)]
        yield Invalid(f"alpha-{name}", description, "corrupted", write_container(header, sections), True)
    header = Header(64, 64, 60, model.model_id, dependent=True)
    joined = replace(header, joined=True)
    for name, description, kind, payload in (
        ("zero-byte", "a payload that ends in a zero byte", 1, b"\1\0"),
        ("zero-payload", "a payload of one zero byte", 2, b"\0"),
        ("left-state", "something is left when all symbols are decoded", 3, b"\1"),
        ("left-words", "words are left when all symbols are decoded", 1, b"\1" * 4096),
        ("joined-zero-byte", "a payload of SYMBOLS that begins with a zero byte", 7, b"\0\1"),
        ("joined-zero-payload", "a payload of SYMBOLS of one zero byte", 7, b"\0"),
        ("joined-left-state", "something is left when all of SYMBOLS are decoded", 7, b"\1"),
    ):
        head = joined if kind == SectionKind.SYMBOLS else header
        sections = [Section(number, payload if number == kind else b"") for number in head.chunk_kinds]
        yield Invalid(name, description, "corrupted", write_container(head, sections), True)
    data = _with_words_left(joined, model, reference_model)
    yield Invalid("joined-left-words", "words are left of a payload of SYMBOLS", "corrupted", data, True)
    dependent = replace(header, level=200)
    plain = replace(dependent, dependent=False)
    for name, description, part, symbol, head in (
        ("symbol-range", "a symbol above 32767", 0, 32768, dependent),
        ("residual-range", "a dependent residual below -32767 eighths", 1, -3278, dependent),
        ("plain-residual-range", "a plain residual above 32767 eighths", 1, 4096, plain),
        ("plain-symbol-range", "a residual with a symbol above 32767", 3, 32768, plain),
        ("joined-symbol-range", "a symbol above 32767, joined", 0, 32768, replace(dependent, joined=True)),
        (
            "joined-residual-range",
            "a plain residual above 32767 eighths, joined",
            1,
            4096,
            replace(plain, joined=True),
        ),
    ):
        data = _too_large(part, symbol, head, model, reference_model)
        yield Invalid(name, description, "corrupted", data, True)


def _alpha_files() -> Iterator[tuple[str, str, bytes]]:
    plane = opacity(6, 5, 255).astype(np.uint8)
    png = plane_to_png(plane)
    rows = b"".join(b"\0" + row.tobytes() for row in plane)
    start = struct.pack(">2I5B", 6, 5, 8, 0, 0, 0, 0)
    stream = zlib.compress(rows)

    def made(*chunks: tuple[bytes, bytes]) -> bytes:
        parts = [len(c).to_bytes(4, "big") + k + c + zlib.crc32(k + c).to_bytes(4, "big") for k, c in chunks]
        return reference.PNG_SIGNATURE + b"".join(parts)

    def usual(header: bytes = start, data: bytes = stream) -> bytes:
        return made((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))

    if usual() == png or made((b"IHDR", start))[:33] != png[:33]:
        raise ValueError("the alpha files are not what they should be")
    yield "empty", "no bytes of alpha", b""
    yield "cut", "the PNG file ends early", png[:-1]
    yield "crc", "the CRC of a PNG chunk", png[:-16] + bytes([png[-16] ^ 1]) + png[-15:]
    yield "trailing", "a byte behind the PNG file", png + b"\0"
    yield "iend", "IEND with content", made((b"IHDR", start), (b"IDAT", stream), (b"IEND", b"x"))
    text = (b"tEXt", b"Comment\0text")
    yield "text", "a text chunk", made((b"IHDR", start), text, (b"IDAT", stream), (b"IEND", b""))
    yield "no-data", "no IDAT chunk", made((b"IHDR", start), (b"IEND", b""))
    yield "size", "another width", usual(struct.pack(">2I5B", 5, 6, 8, 0, 0, 0, 0))
    yield "depth", "another bit depth", usual(struct.pack(">2I5B", 6, 5, 16, 0, 0, 0, 0))
    yield "colour", "colour type 4", usual(struct.pack(">2I5B", 6, 5, 8, 4, 0, 0, 0))
    yield "interlaced", "an interlaced PNG file", usual(struct.pack(">2I5B", 6, 5, 8, 0, 0, 0, 1))
    yield "rows-few", "a byte of the rows is missing", usual(data=zlib.compress(rows[:-1]))
    yield "rows-many", "a byte more than the rows", usual(data=zlib.compress(rows + b"\0"))
    yield "filter-5", "a filter that PNG does not have", usual(data=zlib.compress(b"\5" + rows[1:]))
    yield "stream-cut", "the zlib stream ends early", usual(data=stream[:-1])
    yield "stream-trailing", "a byte behind the zlib stream", usual(data=stream + b"\0")


def _too_large(
    part: int, symbol: int, header: Header, model: Model, reference_model: reference.Model
) -> bytes:
    """A file of 64 x 64 pixels, a part of which begins with a symbol that is out of range."""
    parts = [[symbol] if number == part else [] for number in range(reference.PARTS)]
    if header.joined and part:
        parts[0] = [0] * model.hyper_channels
    chunk = ScriptedChunk.of(header, parts)
    try:
        chunk.decode(reference_model)
    except reference.RefusedError:
        return chunk.file
    raise SystemExit(f"The symbol {symbol} is not out of range in part {part}.")


def _with_words_left(header: Header, model: Model, reference_model: reference.Model) -> bytes:
    """A joined file of 64 x 64 pixels, some hyper-latents, and words that no symbol takes from the stack."""
    chunk = ScriptedChunk.of(header, [[5] * model.hyper_channels])
    chunk.decode(reference_model)
    [payload] = chunk.payloads
    return _of_payloads(header, [[payload + b"\1" * 4096]])


def write_invalid(case: Invalid, folder: Path, model: reference.Model | None = None) -> None:
    """Write the file, and the class of its error; ``model`` is the one that it needs."""
    try:
        if model is None:
            header = reference.read_header(case.data)
            reference.read_sections(case.data, header)
            found = "unknown model" if header.model_id == ANY_MODEL else "none"
        else:
            reference.decode(case.data, model)
            found = "none"
    except reference.RefusedError as error:
        found = error.kind
    if found != case.kind:
        raise SystemExit(f"{case.name}: expected {case.kind}, but the reference decoder says {found}")
    content = {"description": case.description, "class": case.kind, "needs_model": case.needs_model}
    (folder / f"{case.name}.aec").write_bytes(case.data)
    (folder / f"{case.name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


# Together ---------------------------------------------------------------------------------------------------


def _emptied(folder: Path, is_old: Callable[[dict[str, Any]], bool]) -> Path:
    """The folder, without the cases that will be written again."""
    folder.mkdir(parents=True, exist_ok=True)
    for description in folder.glob("*.json"):
        if is_old(json.loads(description.read_text(encoding="utf-8"))):
            for path in folder.glob(f"{description.stem}.*"):
                path.unlink()
    return folder


def write_vectors(target: Path, model_folder: Path | None) -> None:
    """Write what can be written with or without a model."""
    folder = _emptied(target / "invalid", lambda case: not case["needs_model"] or model_folder is not None)
    for invalid in container_cases():
        write_invalid(invalid, folder)
    if model_folder is None:
        return
    model, reference_model = load_model_folder(model_folder), reference.read_model(model_folder)
    for invalid in model_cases(model, reference_model):
        write_invalid(invalid, folder, reference_model)
    folder = _emptied(target / "valid", lambda case: True)
    for valid in valid_cases(model, reference_model):
        write_valid(valid, model, reference_model, folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the conformance vectors of aec.md.")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="the model that the files name")
    parser.add_argument("--output", type=Path, metavar="FOLDER", default=VECTORS)
    arguments = parser.parse_args()
    write_vectors(arguments.output, arguments.model)
    total = sum(path.stat().st_size for path in arguments.output.rglob("*.*"))
    cases = len(list(arguments.output.rglob("*.aec")))
    print(f"{arguments.output}: {cases} cases, {total / 1024:.0f} KiB", file=sys.stderr)


if __name__ == "__main__":
    main()
