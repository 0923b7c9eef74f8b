"""A decoder of .aec files in NumPy and the standard library, written from aec.md alone.

    python reference_decoder.py MODEL_FOLDER in.aec out.png

It shows that the text suffices, and it is meant to be read beside it: the comments name its sections. It
computes in binary64, the synthesis of the whole picture at once, and puts clarity before speed: some
seconds for 256 x 256 pixels. Refused files end with exit code 1 and one line that begins with the class of
section 7.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]
Arrays = dict[str, NDArray[Any]]
Table = tuple[int, list[int]]  # its half width, and the starts of its entries and 2^24
HYPER_LATENTS, SYMBOLS, ALPHA = 1, 7, 8
KINDS = range(HYPER_LATENTS, ALPHA + 1)  # the known critical ones
STEPS = 5
PARTS = 1 + STEPS  # of a chunk: its hyper-latents, and its residuals in steps
TABLES = 192  # of a source; for residuals 64 of plain ones, then 64 for each of the two dependent quantisers
SOURCES = ("hyper_latents", *(f"step{step}" for step in range(STEPS)))
ROWS = 256
ENCODER_ONLY = ("analysis/", "hyper_analysis/", "encoder/")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class RefusedError(Exception):
    """A file that a decoder must refuse; ``kind`` is its class (section 7), or "model" for a model."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


def demand(condition: bool, kind: str, message: str) -> None:
    """Refuse the file unless the condition holds."""
    if not condition:
        raise RefusedError(kind, message)


# Container: sections 3 to 7 ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """Section 4. ``chunk_side`` is in pixels."""

    flags: int
    layout: int
    depth: int
    level: int
    chunk_side: int
    width: int
    height: int
    model_id: bytes

    @property
    def has_alpha(self) -> bool:
        """Whether ALPHA sections follow."""
        return bool(self.flags & 1)

    @property
    def is_dependent(self) -> bool:
        """Whether the file has dependent residuals (section 9.5)."""
        return bool(self.flags & 2)

    @property
    def is_filtered(self) -> bool:
        """Whether chunks have post-filters (sections 10.1 and 11.4)."""
        return bool(self.flags & 4)

    @property
    def is_joined(self) -> bool:
        """Whether each chunk has one section with all of its parts (sections 5 and 9.8)."""
        return bool(self.flags & 8)

    @property
    def chunk_kinds(self) -> range:
        """The kinds that each chunk has one section of (section 5)."""
        return range(SYMBOLS, ALPHA) if self.is_joined else range(HYPER_LATENTS, SYMBOLS)

    @property
    def padded(self) -> tuple[int, int]:
        """(rows, columns) of the padded picture."""
        return -(-self.height // 64) * 64, -(-self.width // 64) * 64

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return -(-self.width // self.chunk_side) * -(-self.height // self.chunk_side)

    @property
    def boxes(self) -> list[tuple[slice, slice]]:
        """(rows, columns) in units of 64 pixels of each chunk (section 6)."""
        side = self.chunk_side // 64
        ends = [size // 64 for size in self.padded]
        rows, columns = ([slice(at, min(at + side, end)) for at in range(0, end, side)] for end in ends)
        return [(i, j) for i in rows for j in columns]


def read_header(data: bytes) -> Header:
    """The header, checked in the order of section 7."""
    magic = b"\xaeAEC\r\n\x1a\n"
    demand(len(data) >= 8 or not magic.startswith(data), "truncated", "the file ends inside of the magic")
    demand(data[:8] == magic, "not an aecodec file", "the first 8 bytes are not the magic")
    demand(len(data) < 9 or data[8] == 1, "unsupported", "the version is not 1")
    demand(len(data) >= 36, "truncated", "the file ends inside of the header")
    flags, layout, depth, level, side, reserved, width, height = struct.unpack_from("<5BH2I", data, 9)
    demand(int.from_bytes(data[32:36], "little") == zlib.crc32(data[:32]), "checksum", "header")
    demand(flags <= 15 and reserved == 0, "unsupported", "a reserved bit is set")
    demand(layout in (1, 3) and depth in (8, 16), "unsupported", f"layout {layout}, depth {depth}")
    demand(level <= 224 and side >= 1, "corrupted", f"level {level}, chunk side {side}")
    demand(width >= 1 and height >= 1, "corrupted", "the picture is empty")
    demand(max(width, height) <= 32768 and width * height <= 2**28, "too large", f"{width} x {height} pixels")
    header = Header(flags, layout, depth, level, 64 * side, width, height, data[24:32])
    demand(min(header.chunk_side, max(header.padded)) <= 4096, "too large", "the chunks are too large")
    required = len(header.chunk_kinds) * header.chunks + header.has_alpha
    demand(required <= 2**19, "too large", "too many chunks")
    return header


def read_sections(data: bytes, header: Header) -> dict[int, list[bytes]]:
    """The payloads of the critical sections, by kind."""
    chunks, of_chunks = header.chunks, header.chunk_kinds
    found: dict[int, list[bytes]] = {kind: [] for kind in KINDS}
    lengths = dict.fromkeys(range(256), 0)
    position, last, count = 36, 0, 0
    while position < len(data):
        kind, length = data[position], int.from_bytes(data[position + 1 : position + 4], "little")
        end = position + 8 + length
        demand(position + 8 <= len(data) and end <= len(data), "truncated", f"section at {position}")
        computed = zlib.crc32(data[position + 8 : end], zlib.crc32(data[position : position + 4]))
        stored = int.from_bytes(data[position + 4 : position + 8], "little")
        demand(computed == stored, "checksum", f"section at {position}")
        if kind < 0x80:
            demand(kind in found, "unsupported", f"unknown critical section 0x{kind:02X}")
            demand(kind >= last, "corrupted", f"section at {position} is out of order")
            demand(kind in of_chunks or kind == ALPHA, "corrupted", "a section of the other layout")
            before = [len(found[lower]) for lower in of_chunks if lower < kind]
            demand(all(number == chunks for number in before), "corrupted", "sections before are missing")
            demand(kind == ALPHA or len(found[kind]) < chunks, "corrupted", "more sections than chunks")
            demand(kind != ALPHA or header.has_alpha, "corrupted", "alpha without its flag")
            found[kind].append(data[position + 8 : end])
            last = kind
        count += 1
        lengths[kind] += length
        demand(count <= 2**19, "too large", "too many sections")
        demand(not 0x81 <= kind <= 0x83 or lengths[kind] <= 2**26, "too large", "metadata")
        position = end
    demand(all(len(found[kind]) == chunks for kind in of_chunks), "truncated", "sections are missing")
    demand(bool(found[ALPHA]) or not header.has_alpha, "truncated", "the alpha plane is missing")
    return found


# Model: section 12 ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A model file. ``tables`` has the tables of each source."""

    manifest: dict[str, Any]
    arrays: Arrays
    tables: dict[str, list[Table]]

    @property
    def first_dependent(self) -> int:
        """The lowest table index of a dependent residual; 64 if there is none."""
        return int(self.arrays["tables/first_dependent"])

    @property
    def id(self) -> bytes:
        """The name of the model in a file, computed from its content."""
        keys = ("format", "architecture", "latent_channels", "hyper_channels", "level_count")
        content = {key: self.manifest[key] for key in keys}
        digest = hashlib.sha256(b"aecodec model\n")
        digest.update(json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        for name, array in sorted(self.arrays.items(), key=lambda item: item[0].encode()):
            shape = ",".join(map(str, array.shape))
            digest.update(f"{name} {array.dtype.newbyteorder('<').str} {shape}\n".encode())
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.digest()[:8]


def read_model(folder: Path) -> Model:
    """The manifest, and the arrays that decoding needs."""
    manifest = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    demand(manifest["format"] == 1, "model", "the format of the model is not 1")
    with np.load(folder / "arrays.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive if not name.startswith(ENCODER_ONLY)}
    choice = arrays["tables/hyper_latents/choice"]
    demand(choice.shape == (8, 3, manifest["hyper_channels"]), "model", "tables/hyper_latents/choice: shape")
    demand(choice.dtype == np.uint8, "model", "tables/hyper_latents/choice: dtype")
    demand(choice.max() < TABLES, "model", "tables/hyper_latents/choice is out of range")
    of_filter = arrays["tables/hyper_latents/of_filter"]
    demand(of_filter.dtype == np.uint8 and of_filter.ndim == 1, "model", "of_filter: dtype or shape")
    shapes = [arrays[f"post_filter/{name}"].shape for name in ("kernel", "bias", "log_unit/rows")]
    count = of_filter.size
    demand(shapes == [(count, 3, 3, 3, 3), (count, 3), (8, count)], "model", "post_filter: shapes")
    demand(of_filter.max(initial=0) < TABLES, "model", "tables/hyper_latents/of_filter is out of range")
    demand(0 <= arrays["tables/first_dependent"] <= 64, "model", "tables/first_dependent is out of range")
    check_adaptation(arrays, manifest["latent_channels"])
    return Model(manifest, arrays, read_tables(arrays))


def check_adaptation(arrays: Arrays, channels: int) -> None:
    """The rules of 10.6, and its bound of 10.7."""
    demand(channels % 16 == 0, "model", "latent_channels is no multiple of 16")
    group = channels // 4
    shapes = {
        "expected": (np.int16, (2, 64)),
        "weight": (np.int8, (2, 4, group, group // 4 + 1)),
        "bias": (np.int32, (2, 4, group)),
        "shift": (np.int32, ()),
    }
    for name, (dtype, shape) in shapes.items():
        array = arrays.get(f"adaptation/{name}")
        fits = array is not None and array.dtype == dtype and array.shape == shape
        demand(fits, "model", f"adaptation/{name}: missing, dtype or shape")
    expected, weight, bias, shift = (arrays[f"adaptation/{name}"].astype(np.int64) for name in shapes)
    demand(bool(np.all((expected >= 0) & (expected <= 1024))), "model", "adaptation/expected is out of range")
    demand(1 <= shift <= 16, "model", "adaptation/shift is out of range")
    worst = 127 * np.abs(weight).sum(axis=-1) + np.abs(bias) + (1 << int(shift) - 1)
    demand(bool(worst.max() < 2**24), "model", "adaptation breaks the bound of 10.7")


def read_tables(arrays: Arrays) -> dict[str, list[Table]]:
    """The tables of section 9.1 by source."""
    names = {source: (f"tables/{source}/half_width", f"tables/{source}/frequencies") for source in SOURCES}
    return {source: entry_starts(*(arrays[name] for name in pair)) for source, pair in names.items()}


def entry_starts(half_widths: Plane, frequencies: Plane) -> list[Table]:
    """The tables of a source, their entries numbered by the value modulo the number of entries."""
    demand(half_widths.shape == (TABLES,), "model", f"there are not {TABLES} tables")
    tables, position = [], 0
    for m in map(int, half_widths):
        stored = frequencies[position : position + 2 * m + 2].tolist()
        entries = stored[m : 2 * m + 1] + stored[2 * m + 1 :] + stored[:m]
        starts = list(itertools.accumulate(entries, initial=0))
        demand(min(entries) >= 1 and starts[-1] == 2**24, "model", "the sum of a table is not 2^24")
        tables.append((m, starts))
        position += 2 * m + 2
    demand(position == frequencies.size, "model", "there are more frequencies than tables have")
    return tables


# Entropy coding: section 9 ----------------------------------------------------------------------------------


class Stack:
    """The words of a payload, and the state (section 9.2)."""

    def __init__(self, payload: bytes) -> None:
        demand(not payload.endswith(b"\0"), "corrupted", "a payload ends in a zero byte")
        padded = payload + bytes(-len(payload) % 4)
        self.words = list(struct.unpack(f"<{len(padded) // 4}I", padded))
        self.state = 0
        for _ in range(2):
            self._refill()

    def _refill(self) -> None:
        if self.words:
            self.state = self.state << 32 | self.words.pop()

    def _advance(self, start: int, frequency: int) -> None:
        self.state = frequency * (self.state >> 24) + self.state % 2**24 - start
        if self.state < 2**32:
            self._refill()

    def pull(self, starts: list[int]) -> int:
        """An entry of a table."""
        entry = bisect.bisect_right(starts, self.state % 2**24) - 1
        self._advance(starts[entry], starts[entry + 1] - starts[entry])
        return entry

    def pull_bits(self, count: int) -> int:
        """An entry of 2^count ones that are equally frequent."""
        entry = self.state % 2**24 >> (24 - count)
        self._advance(entry << (24 - count), 1 << (24 - count))
        return entry

    def finish(self) -> None:
        """Refuse the payload unless it is used up."""
        demand(self.state == 0 and not self.words, "corrupted", "a payload holds more than its symbols")


def stacks_of(payloads: list[bytes], is_joined: bool) -> list[Stack]:
    """What each part of a chunk is decoded from: a stack of its own, or the same one for all (9.8)."""
    if is_joined:
        return [Stack(payloads[0][::-1])] * PARTS
    return [Stack(payload) for payload in payloads]


def finish_part(stacks: list[Stack], part: int) -> None:
    """Refuse a payload that is not used up behind the last part that it holds."""
    if stacks[part] not in stacks[part + 1 :]:
        stacks[part].finish()


def decode_group(stack: Stack, numbers: Plane, tables: list[Table]) -> Plane:
    """Symbols in the order of decoding, whose tables have these numbers, and their escapes (9.3, 9.4)."""
    symbols, escaped = np.zeros(numbers.size, np.int64), []
    for position, table in enumerate(numbers.tolist()):
        m, starts = tables[table]
        entry = stack.pull(starts)
        if entry == m + 1:
            escaped.append((position, m))
        else:
            symbols[position] = entry if entry <= m else entry - (2 * m + 2)
    classes = [stack.pull_bits(4) for _ in escaped]
    for (position, m), c in zip(escaped, classes, strict=True):
        raw = stack.pull_bits(max(c, 1))
        magnitude = m + 1 + (2 ** (c - 1) + (raw >> 1) if c else 0)
        symbols[position] = -magnitude if raw & 1 else magnitude
    demand(bool(np.all(np.abs(symbols) <= 32767)), "corrupted", "a symbol is out of range")
    return symbols


def widest_first(numbers: Plane) -> Plane:
    """The order of symbols by descending table (number or index), ascending where it is the same (9.3)."""
    return np.argsort(-numbers.astype(np.int64), kind="stable")


def decode_coefficients(stack: Stack, model: Model) -> Plane:
    """Those of the post-filter of a chunk, (K,), before its hyper-latents (10.1)."""
    table = model.arrays["tables/hyper_latents/of_filter"]
    n, order = np.zeros(table.size, np.int64), widest_first(table)
    n[order] = decode_group(stack, table[order], model.tables["hyper_latents"])
    return n


def decode_hyper_latents(stack: Stack, h: int, w: int, model: Model, level: int) -> Plane:
    """The hyper-latents (h, w, Z) of a chunk (10.1)."""
    choice = model.arrays["tables/hyper_latents/choice"][(level + 16) >> 5]  # by context and channel
    channels = np.arange(choice.shape[1])
    bordered = np.zeros((1 + h, 1 + w, channels.size), np.int64)  # zeros above and to the left
    z = bordered[1:, 1:]
    for d in range(h + w - 1):
        i = np.arange(max(0, d - w + 1), min(h, d + 1))
        j = d - i
        s = bordered[i, 1 + j] + bordered[1 + i, j]
        table = choice[np.minimum(np.abs(s), 2), channels]
        k, order = np.zeros(s.size, np.int64), widest_first(table.ravel())
        k[order] = decode_group(stack, table.ravel()[order], model.tables["hyper_latents"])
        z[i, j] = np.where(s >= 0, 1, -1) * k.reshape(s.shape)
    return z


def decode_residuals(stack: Stack, indices: Plane, tables: list[Table], first_dependent: int) -> Plane:
    """The residuals of a wave in the order of 10.2, in eighths (9.5); ``indices`` has the index of each.

    ``first_dependent`` is 64 where none are dependent.
    """
    r, order = np.zeros(indices.size, np.int64), np.argsort(indices, kind="stable")
    decode_dependent(stack, order[indices[order] >= first_dependent], indices, tables, r)
    plain = widest_first(indices)
    plain = plain[indices[plain] < first_dependent]
    r[plain] = 8 * decode_group(stack, indices[plain], tables)
    demand(bool(np.all(np.abs(r) <= 32767)), "corrupted", "a residual is out of range")
    return r


def decode_dependent(stack: Stack, numbers: Plane, indices: Plane, tables: list[Table], r: Plane) -> None:
    """Put into ``r`` the dependent residuals of a wave (9.6), whose ``numbers`` are sorted."""
    columns = -(-numbers.size // ROWS)
    states = np.zeros(columns, np.int64)
    for start in range(0, numbers.size, max(columns, 1)):
        row = numbers[start : start + columns]
        states = states[: row.size]  # the last row may be shorter
        quantiser, k = states % 2, np.zeros(row.size, np.int64)
        order = np.argsort(quantiser, kind="stable")
        k[order] = decode_group(stack, (64 * (1 + quantiser) + indices[row])[order], tables)
        r[row] = 5 * (2 * k - quantiser * np.sign(k))
        states = next_state(states, k)


def next_state(state: Plane, k: Plane) -> Plane:
    """The states 0..127 behind the symbols ``k`` (9.6)."""
    quantiser, coset = state % 2, (k + state) % 2
    result: Plane = state // 2 ^ 78 * quantiser ^ 43 * coset
    return result


# Integer scale network: section 10 --------------------------------------------------------------------------


class ScaleNetwork:
    """Gives the table index of each residual. binary64 holds all of its integers exactly."""

    def __init__(self, model: Model, level: int) -> None:
        self._arrays, self._level = model.arrays, level

    def _interpolated(self, rows: Plane) -> Plane:
        node, fraction = self._level >> 5, self._level & 31
        lo, hi = rows[node].astype(np.int64), rows[min(node + 1, 7)].astype(np.int64)
        result: Plane = (lo * (32 - fraction) + hi * fraction + 16) >> 5
        return result

    def _layer(self, name: str, x: Plane, top: int = 255) -> Plane:
        weight, bias, shift = (self._arrays[f"scales/{name}/{part}"] for part in ("weight", "bias", "shift"))
        demand(bound_of(name, weight, bias, shift) < 2**24, "model", f"{name} breaks the bound of 10.7")
        if bias.ndim == 2:
            bias = self._interpolated(bias)
        if weight.ndim == 2:
            total = x @ weight.T.astype(np.float64)
        else:
            total = correlate(x, weight.astype(np.float64))
        return np.clip(np.floor((total + bias + 2.0 ** (shift - 1)) / 2.0**shift), 0, top)

    def features(self, z: Plane) -> Plane:
        """Section 10.4: z (h, w, Z) -> (4h, 4w, F)."""
        x = 8.0 * np.clip(z, -31, 31)
        for number in range(3):
            x = self._layer(f"hyper_pointwise_{number}", x)
            x = self._layer(f"hyper_depthwise_{number}", space(x, 2) if number else x)
        return x

    def step_index(self, step: int, features: Plane, r: Plane) -> Plane:
        """Section 10.5: the table index of every residual, (4h, 4w, L); r is in eighths."""
        lut = self._arrays["scales/magnitude_lut"]
        seen = lut[np.minimum(np.abs(r), 2047)]
        x = np.concatenate((features, seen), axis=2) if step else features
        x = self._layer(f"step{step}_pointwise_0", x)
        x = self._layer(f"step{step}_depthwise", x)
        x = self._layer(f"step{step}_pointwise_1", x)
        return self._layer(f"step{step}_index", x, top=63)


def bound_of(name: str, weight: Plane, bias: Plane, shift: Plane) -> int:
    """What no sum of a layer of the scale network can pass in magnitude (10.7)."""
    inputs = weight.astype(np.int64) if weight.ndim == 2 else weight.astype(np.int64).reshape(9, -1).T
    largest_bias = np.abs(bias.astype(np.int64)).reshape(-1, len(inputs)).max(axis=0)
    largest_input = 248 if name == "hyper_pointwise_0" else 255
    sums = largest_input * np.abs(inputs).sum(axis=1) + largest_bias
    return int(sums.max()) + (1 << int(shift) - 1)


def step_mask(shape: tuple[int, ...], step: int) -> NDArray[np.bool_]:
    """Which residuals a step codes (10.2); the shape is (rows, columns, channels)."""
    i, j, c = np.ogrid[tuple(slice(size) for size in shape)]
    p, group = 2 * (i % 2) + j % 2, c // (shape[2] // 4)
    mask: NDArray[np.bool_] = group == (max(step - 1, 0) - p) % 4
    if step < 2:
        mask &= (i + j) % 2 == step
    return mask


def wave_masks(shape: tuple[int, ...], step: int) -> list[NDArray[np.bool_]]:
    """Which residuals each wave of a step codes (10.2)."""
    if step >= 2:
        return [step_mask(shape, step)]
    i, j, _ = np.ogrid[tuple(slice(size) for size in shape)]
    wave_of = 2 * (i % 2) + (i // 2 + j // 2) % 2
    return [step_mask(shape, step) & (wave_of == wave) for wave in range(4)]


class Surprise:
    """Corrects the table indices of the steps 0 and 1 (10.6); the shape is that of the residuals."""

    def __init__(self, arrays: Arrays, shape: tuple[int, ...]) -> None:
        names = ("expected", "weight", "bias", "shift")
        self._expected_of, *rest = (arrays[f"adaptation/{name}"].astype(np.int64) for name in names)
        self._weight, self._bias, self._shift = rest
        self._group = shape[2] // 4
        self._found, self._expected = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._step_of, self._at_once = np.full(shape, -1), np.zeros(shape, np.int64)

    def correct(self, step: int, wave: int, mask: NDArray[np.bool_], indices: Plane) -> None:
        """Correct the indices of a wave in place. What they were is kept for `learn`."""
        self._at_once = self._expected_of[step][indices]
        bands = self._group // 4
        for i, j, first in np.argwhere(mask[:, :, :: self._group]):
            channels = slice(first * self._group, (first + 1) * self._group)
            near = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if 1 <= abs(a) + abs(b) <= 2]
            sums = np.zeros((2, bands), np.int64)
            own = np.zeros((2, self._group), np.int64)
            for a, b in near:
                if 0 <= i + a < mask.shape[0] and 0 <= j + b < mask.shape[1]:
                    for kind, plane in enumerate((self._found, self._expected)):
                        sums[kind] += plane[i + a, j + b].reshape(4, bands, 4).sum(axis=(0, 2))
                        if a * b == 0 and abs(a + b) == 2:
                            of_step = self._step_of[i + a, j + b, channels] == step
                            own[kind] += np.where(of_step, plane[i + a, j + b, channels], 0)
            weight = self._weight[step, wave]
            total = self._bias[step, wave] + weight[:, :-1] @ surprise(*sums) + weight[:, -1] * surprise(*own)
            moved = indices[i, j, channels] + ((total + (1 << int(self._shift) - 1)) >> self._shift)
            indices[i, j, channels] = np.clip(moved, 0, 63)
        self._step_of[mask] = step

    def learn(self, mask: NDArray[np.bool_], r: Plane) -> None:
        """Take in the residuals of the wave."""
        self._found[mask] = np.minimum(np.abs(r[mask]), 64)
        self._expected[mask] = self._at_once[mask]


def surprise(found: Plane, expected: Plane) -> Plane:
    """What sums of magnitudes tell (10.6)."""
    pairs = zip(found.tolist(), ((expected + 8) >> 4).tolist(), strict=True)
    return np.array([max(-127, min(127, logarithm(f + 6) - logarithm(e + 6))) for f, e in pairs], np.int64)


def logarithm(n: int) -> int:
    """32 times the logarithm to base 2 of an integer, with straight lines between powers of 2 (10.6)."""
    b = n.bit_length() - 1
    return 32 * b + ((32 * n) >> b)


def decode_chunk(
    stacks: list[Stack], h: int, w: int, model: Model, level: int, is_dependent: bool
) -> tuple[Plane, Plane]:
    """The symbols of a chunk of h x w units of 64 pixels: z (h, w, Z), and r (4h, 4w, L) in eighths.

    There is a stack for each part; the coefficients, which come before the hyper-latents, have been decoded.
    """
    network = ScaleNetwork(model, level)
    z = decode_hyper_latents(stacks[0], h, w, model, level)
    finish_part(stacks, 0)
    r = np.zeros((4 * h, 4 * w, model.manifest["latent_channels"]), np.int64)
    features = network.features(z)
    first_dependent = model.first_dependent if is_dependent else 64
    surprise = Surprise(model.arrays, r.shape)
    for step in range(STEPS):
        indices = network.step_index(step, features, r).astype(np.int64)
        for wave, mask in enumerate(wave_masks(r.shape, step)):
            if step < 2:
                surprise.correct(step, wave, mask, indices)
            tables = model.tables[f"step{step}"]
            r[mask] = decode_residuals(stacks[1 + step], indices[mask], tables, first_dependent)
            if step < 2:
                surprise.learn(mask, r)
        finish_part(stacks, 1 + step)
    return z, r


# Decoder graph: section 11 ----------------------------------------------------------------------------------


def correlate(x: Plane, kernel: Plane) -> Plane:
    """Each channel of x (rows, columns, channels) with its 3x3 kernel (3, 3, channels), zeros around."""
    rows, columns, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    parts = (kernel[a, b] * padded[a : a + rows, b : b + columns] for a in range(3) for b in range(3))
    return sum(parts, start=np.zeros_like(x))


def space(x: Plane, n: int) -> Plane:
    """Depth to space: (rows, columns, n*n*C) -> (n*rows, n*columns, C)."""
    rows, columns, channels = x.shape
    split = x.reshape(rows, columns, n, n, channels // (n * n))
    return split.transpose(0, 2, 1, 3, 4).reshape(n * rows, n * columns, -1)


def sigmoid(x: Plane) -> Plane:
    """1 / (1 + exp(-x)), without overflow."""
    result: Plane = 0.5 + 0.5 * np.tanh(0.5 * x)
    return result


class Graph:
    """From the symbols of the chunks to their latents, and from those of the whole picture to its pixels."""

    def __init__(self, model: Model, level: int) -> None:
        self._arrays, self._level = model.arrays, level
        self._architecture: dict[str, int] = model.manifest["architecture"]

    def _array(self, name: str) -> Plane:
        return self._arrays[name].astype(np.float64)

    def _linear(self, name: str, x: Plane) -> Plane:
        result: Plane = x @ self._array(f"{name}/kernel") + self._array(f"{name}/bias")
        return result

    def _table(self, name: str) -> Plane:
        rows, node, fraction = self._array(f"{name}/rows"), self._level >> 5, (self._level & 31) / 32
        result: Plane = (1 - fraction) * rows[node] + fraction * rows[min(node + 1, 7)]
        return result

    def _block(self, name: str, x: Plane) -> Plane:
        e = self._linear(f"{name}/expand", x)
        e = correlate(e, self._array(f"{name}/mix/kernel")[..., 0]) + self._array(f"{name}/mix/bias")
        u, v = np.split(e, 2, axis=2)
        return x + self._linear(f"{name}/project", u * sigmoid(v) * self._table(f"{name}/feature_scale"))

    def _blocks(self, name: str, count: int, x: Plane) -> Plane:
        for number in range(count):
            x = self._block(f"{name}/block_{number}", x)
        return x

    def _gain(self, name: str) -> Plane:
        result: Plane = np.exp(np.clip(self._table(name), -12, 12))
        return result

    def _hyper_synthesis(self, z: Plane) -> Plane:
        """Section 11.2: z at 1/64 -> features at 1/16."""
        h = self._linear("hyper_synthesis/enter", z * self._gain("hyper_log_inverse_gain") / 4)
        h = space(self._linear("hyper_synthesis/up_0", h * sigmoid(h)), 2)
        h = self._blocks("hyper_synthesis/thirtysecond", 1, h)
        h = space(self._linear("hyper_synthesis/up_1", h), 2)
        return self._blocks("hyper_synthesis/sixteenth", 1, h)

    def latents(self, z: Plane, r: Plane) -> Plane:
        """Sections 11.2 and 11.3: the symbols of one chunk -> its latents, in five steps."""
        features = self._hyper_synthesis(z)
        residuals = r * self._gain("log_inverse_gain") / 8
        y = np.zeros_like(residuals)
        for step in range(STEPS):
            if step:
                features = np.concatenate((features, y * self._array("normaliser")), axis=2)
            features = self._linear(f"step_{step}/enter", features)
            features = self._blocks(f"step_{step}/blocks", self._architecture["prediction_blocks"], features)
            mean = self._linear(f"step_{step}/leave", features)
            y = np.where(step_mask(y.shape, step), mean + residuals, y)
        return y

    def pixels(self, y: Plane) -> Plane:
        """Section 11.4: the latents of the padded picture -> its red, green and blue, about 0..255."""
        x = self._linear("synthesis/enter", y * self._array("normaliser"))
        x = self._blocks("synthesis/sixteenth", self._architecture["synthesis_sixteenth_blocks"], x)
        x = space(self._linear("synthesis/up", x), 2)
        x = self._blocks("synthesis/eighth", self._architecture["synthesis_eighth_blocks"], x)
        detail = space(self._linear("synthesis/leave", x), 8)
        patch = space(self._linear("synthesis/shortcut/map", 0.64 * y), 16)
        result: Plane = patch + 8 * detail + 127.5
        return result

    def corrected(self, pixels: Plane, rows: slice, columns: slice, n: Plane) -> Plane:
        """Section 11.4: the pixels of a chunk by its post-filter; ``pixels``: all that were synthesised."""
        weight = n * self._gain("post_filter/log_unit")
        kernel = np.tensordot(weight, self._array("post_filter/kernel"), 1)
        bordered = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
        result = pixels[rows, columns] + weight @ self._array("post_filter/bias")
        for a in range(3):
            for b in range(3):
                read = bordered[rows.start + a : rows.stop + a, columns.start + b : columns.stop + b]
                with np.errstate(over="ignore", invalid="ignore"):
                    result = result + (read - 127.5) @ kernel[a, b]
        return result


def to_samples(pixels: Plane, header: Header) -> Plane:
    """Section 11.5: (height, width, 1 or 3), uint8 or uint16."""
    cropped = pixels[: header.height, : header.width]
    if header.layout == 1:
        cropped = cropped.mean(axis=2, keepdims=True)
    factor, dtype = (1, np.uint8) if header.depth == 8 else (257, np.uint16)
    values = np.fmax(np.floor(factor * cropped + 0.5), 0)  # 0 where there is no number
    return np.minimum(values, 255 * factor).astype(dtype)


# PNG: the alpha plane (section 5), and the decoded picture --------------------------------------------------


def read_alpha(data: bytes, header: Header) -> Plane:
    """The alpha plane (height, width) from the concatenated pieces."""
    demand(data.startswith(PNG_SIGNATURE), "corrupted", "alpha: no PNG file")
    chunks, position = [], 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        body, stored = data[position + 4 : position + 8 + length], data[position + 8 + length :][:4]
        intact = len(stored) == 4 and zlib.crc32(body) == int.from_bytes(stored, "big")
        demand(intact, "corrupted", "alpha: a PNG chunk is damaged")
        chunks.append((body[:4], body[4:]))
        position += 12 + length
    names = [name for name, _ in chunks]
    expected = [b"IHDR"] + [b"IDAT"] * (len(names) - 2) + [b"IEND"]
    demand(len(names) >= 3 and names == expected and not chunks[-1][1], "corrupted", "alpha: PNG chunks")
    start = struct.pack(">2I5B", header.width, header.height, header.depth, 0, 0, 0, 0)
    demand(chunks[0][1] == start, "corrupted", "alpha: size or kind of the PNG file")
    stream, pitch = zlib.decompressobj(), header.width * header.depth // 8
    try:
        data = b"".join(body for _, body in chunks[1:-1])
        rows = stream.decompress(data, header.height * (1 + pitch) + 1)
    except zlib.error as error:
        raise RefusedError("corrupted", f"alpha: {error}") from error
    whole = stream.eof and not stream.unused_data and len(rows) == header.height * (1 + pitch)
    demand(whole, "corrupted", "alpha: length of the PNG rows")
    return unfiltered(rows, header.height, pitch, header.depth // 8)


def unfiltered(data: bytes, height: int, pitch: int, size: int) -> Plane:
    """The rows of a PNG file without their filters; ``size`` bytes a sample."""
    predictors: list[Callable[[int, int, int], int]] = [
        lambda a, b, c: 0,
        lambda a, b, c: a,
        lambda a, b, c: b,
        lambda a, b, c: (a + b) // 2,
        lambda a, b, c: min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2],
    ]
    above, result = bytearray(size + pitch), b""
    for start in range(0, height * (1 + pitch), 1 + pitch):
        demand(data[start] <= 4, "corrupted", "alpha: a PNG filter")
        predict, row = predictors[data[start]], bytearray(size) + data[start + 1 : start + 1 + pitch]
        for i in range(size, size + pitch):
            row[i] = (row[i] + predict(row[i - size], above[i], above[i - size])) % 256
        above, result = row, result + row[size:]
    return np.frombuffer(result, np.dtype(f">u{size}")).reshape(height, -1).astype(f"u{size}")


def png_file(samples: Plane) -> bytes:
    """A PNG file of (height, width, 1 to 4 channels), uint8 or uint16."""
    height, width, channels = samples.shape
    big_endian = samples.astype(samples.dtype.newbyteorder(">")).reshape(height, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in big_endian)
    start = struct.pack(">2I5B", width, height, 8 * samples.itemsize, (0, 4, 2, 6)[channels - 1], 0, 0, 0)
    result = PNG_SIGNATURE
    for name, body in ((b"IHDR", start), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        result += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return result


# Together ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decoded:
    """``samples`` (height, width, channels), alpha last; the hash of the symbols as section 8 defines it."""

    samples: Plane
    symbols_hash: str


def decode(data: bytes, model: Model) -> Decoded:
    """Decode a file.

    Raises:
        RefusedError: in the cases of section 7.
    """
    header = read_header(data)
    sections = read_sections(data, header)
    demand(header.model_id == model.id, "unknown model", header.model_id.hex())
    alpha = read_alpha(b"".join(sections[ALPHA]), header) if header.has_alpha else None
    rows, columns = (size // 64 for size in header.padded)
    y = np.zeros((4 * rows, 4 * columns, model.manifest["latent_channels"]))
    graph, digest, coefficients = Graph(model, header.level), hashlib.sha256(), []
    for number, (i, j) in enumerate(header.boxes):
        payloads = [sections[kind][number] for kind in header.chunk_kinds]
        stacks = stacks_of(payloads, header.is_joined)
        h, w = i.stop - i.start, j.stop - j.start
        n = decode_coefficients(stacks[0], model) if header.is_filtered else None
        z, r = decode_chunk(stacks, h, w, model, header.level, header.is_dependent)
        for integers in (z, r) if n is None else (z, r, n):
            digest.update(integers.astype("<i2").tobytes())
        coefficients.append(n)
        y[4 * i.start : 4 * i.stop, 4 * j.start : 4 * j.stop] = graph.latents(z, r)
    pixels = graph.pixels(y)
    values = pixels.copy()
    for (i, j), n in zip(header.boxes, coefficients, strict=True):
        if n is not None:
            box = slice(64 * i.start, 64 * i.stop), slice(64 * j.start, 64 * j.stop)
            values[box] = graph.corrected(pixels, *box, n)
    samples = to_samples(values, header)
    if alpha is not None:
        samples = np.concatenate((samples, alpha[:, :, None]), axis=2)
    return Decoded(samples, digest.hexdigest())


def main() -> None:
    """The command line."""
    if len(sys.argv) != 4:
        sys.exit("usage: python reference_decoder.py MODEL_FOLDER in.aec out.png")
    folder, source, target = map(Path, sys.argv[1:])
    try:
        decoded = decode(source.read_bytes(), read_model(folder))
    except RefusedError as error:
        sys.exit(f"{source}: {error}")
    target.write_bytes(png_file(decoded.samples))
    print(f"{target}: the symbols hash to {decoded.symbols_hash}")


if __name__ == "__main__":
    main()
