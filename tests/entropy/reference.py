"""A second coder, written from the format text with Python integers and int64 alone: slow and plain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy import Tables

Arrays = dict[str, NDArray[Any]]


ROWS = 256


def plain_tables(first_dependent: int = 17) -> Tables:
    """The tables of the test vectors in the format text: powers of two, computed from integers only."""
    half_widths = [table % 64 // 4 for table in range(192)]
    frequencies: list[int] = []
    for table, half in enumerate(half_widths):
        peak = 2 ** (16 + table % 64 // 16 + table // 64)
        side = [max(1, peak >> k) for k in range(1, half + 1)]
        frequencies += [*side[::-1], 2**24 - 2 * sum(side) - 1, *side, 1]
    return Tables(np.array(half_widths, np.int16), np.array(frequencies, np.uint32), first_dependent)


class Stack:
    """The words and the state of section 9.2."""

    def __init__(self, payload: bytes = b"") -> None:
        padded = payload + bytes(-len(payload) % 4)
        self.words = [int.from_bytes(padded[i : i + 4], "little") for i in range(0, len(padded), 4)]
        self.state = 0
        for _ in range(2):
            if self.words:
                self.state = self.state << 32 | self.words.pop()

    def pull(self, frequencies: list[int]) -> int:
        quantile, start, entry = self.state % 2**24, 0, 0
        while quantile >= start + frequencies[entry]:
            start += frequencies[entry]
            entry += 1
        self.state = frequencies[entry] * (self.state >> 24) + quantile - start
        if self.state < 2**32 and self.words:
            self.state = self.state << 32 | self.words.pop()
        return entry

    def push(self, entry: int, frequencies: list[int]) -> None:
        frequency = frequencies[entry]
        if self.state >> 40 >= frequency:
            self.words.append(self.state % 2**32)
            self.state >>= 32
        self.state = (self.state // frequency << 24) + sum(frequencies[:entry]) + self.state % frequency

    def payload(self) -> bytes:
        words = [*self.words, self.state % 2**32, self.state >> 32]
        return b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")


class CutOffError(Exception):
    """What is decoded may depend on bytes that are not there."""


class CutStack(Stack):
    """The stack of the beginning of a joined payload (section 9.8), as it stands in its section.

    Args:
        payload: Its first bytes.
        missing: How many bytes follow.
    """

    def __init__(self, payload: bytes, missing: int) -> None:
        super().__init__((payload + bytes(missing))[::-1])
        self.unknown_words = -(-missing // 4)

    def pull(self, frequencies: list[int]) -> int:
        entry = super().pull(frequencies)
        if len(self.words) < self.unknown_words:
            raise CutOffError
        return entry


def entries_of(tables: Tables, index: int) -> list[int]:
    """The frequencies of a table in the order of its entries."""
    half = int(tables.half_width[index])
    start = sum(2 * int(m) + 2 for m in tables.half_width[:index])
    values = [int(f) for f in tables.frequencies[start : start + 2 * half + 2]]
    return [*values[half : 2 * half + 1], values[-1], *values[:half]]


def coding_order(indices: list[int]) -> list[int]:
    return sorted(range(len(indices)), key=lambda number: (-indices[number], number))


def uniform(bits: int) -> list[int]:
    return [2 ** (24 - bits)] * 2**bits


def pull_group(stack: Stack, of_tables: list[int], tables: Tables) -> list[int]:
    """The symbols with these tables, in the order of decoding, and their escapes."""
    symbols, escapes = [], []
    for number, table in enumerate(of_tables):
        half = int(tables.half_width[table])
        entry = stack.pull(entries_of(tables, table))
        if entry == half + 1:
            escapes.append(number)
        symbols.append(entry if entry <= half else entry - (2 * half + 2))
    classes = [stack.pull(uniform(4)) for _ in escapes]
    for number, size in zip(escapes, classes, strict=True):
        raw = stack.pull(uniform(max(size, 1)))
        excess = 2 ** (size - 1) + (raw >> 1) if size else 0
        magnitude = int(tables.half_width[of_tables[number]]) + 1 + excess
        if magnitude > 32767:
            raise ValueError("too large")
        symbols[number] = -magnitude if raw & 1 else magnitude
    return symbols


def push_group(stack: Stack, symbols: list[int], of_tables: list[int], tables: Tables) -> None:
    """The reverse of :func:`pull_group`."""
    half = [int(tables.half_width[table]) for table in of_tables]
    escapes = [number for number, symbol in enumerate(symbols) if abs(symbol) > half[number]]
    excesses = [abs(symbols[number]) - half[number] - 1 for number in escapes]
    for number, excess in reversed(list(zip(escapes, excesses, strict=True))):
        size = excess.bit_length()
        raw = 2 * (excess - 2 ** (size - 1)) if size else 0
        stack.push(raw + (symbols[number] < 0), uniform(max(size, 1)))
    for excess in reversed(excesses):
        stack.push(excess.bit_length(), uniform(4))
    for symbol, m, table in reversed(list(zip(symbols, half, of_tables, strict=True))):
        entry = m + 1 if abs(symbol) > m else symbol % (2 * m + 2)
        stack.push(entry, entries_of(tables, table))


def check_end(stack: Stack, payload: bytes) -> None:
    if stack.state or stack.words or payload.endswith(b"\0"):
        raise ValueError("not used up")


def decode(payload: bytes, indices: list[int], tables: Tables) -> list[int]:
    """Symbols of a well-formed payload of one group, or ValueError."""
    stack, order = Stack(payload), coding_order(indices)
    found = pull_group(stack, [indices[number] for number in order], tables)
    check_end(stack, payload)
    return [symbol for _, symbol in sorted(zip(order, found, strict=True))]


def encode(symbols: list[int], indices: list[int], tables: Tables) -> bytes:
    """The payload of any integers, even of those that a decoder must refuse, as one group."""
    stack, order = Stack(), coding_order(indices)
    push_group(stack, [symbols[n] for n in order], [indices[n] for n in order], tables)
    return stack.payload()


def next_state(state: int, k: int) -> int:
    """The state behind the symbol ``k`` (section 9.6)."""
    after = state // 2
    if state % 2:
        after ^= 78
    if (k + state) % 2:
        after ^= 43
    return after


Place = tuple[int, int, int]
CodePlaces = Callable[[list[tuple[Place, int]], list[int]], list[int]]


def walk_hyper_latents(
    shape: tuple[int, int], level: int, choice: NDArray[Any], code_group: CodePlaces
) -> NDArray[np.int64]:
    """The hyper-latents of a chunk (section 10.1). ``code_group`` gives the symbols of each diagonal in turn;
    it is told their places and signs, and their tables, in the order of decoding.
    """
    height, width = shape
    channels = choice.shape[2]
    node = (level + 16) // 32
    z = np.zeros((height, width, channels), np.int64)
    for diagonal in range(height + width - 1):
        places, of_tables = [], []
        for i, j, c in np.ndindex(height, width, channels):
            if i + j == diagonal:
                near = int(z[i - 1, j, c] if i else 0) + int(z[i, j - 1, c] if j else 0)
                places.append(((i, j, c), -1 if near < 0 else 1))
                of_tables.append(int(choice[node, min(abs(near), 2), c]))
        order = coding_order(of_tables)
        places = [places[number] for number in order]
        symbols = code_group(places, [of_tables[number] for number in order])
        for (place, sign), symbol in zip(places, symbols, strict=True):
            z[place] = sign * symbol
    return z


def decode_hyper_latents(
    payload: bytes, shape: tuple[int, int], level: int, choice: NDArray[Any], tables: Tables
) -> NDArray[np.int64]:
    """Hyper-latents (h, w, channel), or ValueError."""
    stack = Stack(payload)
    z = pull_hyper_latents(stack, shape, level, choice, tables)
    check_end(stack, payload)
    return z


def pull_hyper_latents(
    stack: Stack, shape: tuple[int, int], level: int, choice: NDArray[Any], tables: Tables
) -> NDArray[np.int64]:
    """Hyper-latents (h, w, channel), or ValueError."""
    return walk_hyper_latents(shape, level, choice, lambda _, of_tables: pull_group(stack, of_tables, tables))


def encode_hyper_latents(z: NDArray[Any], level: int, choice: NDArray[Any], tables: Tables) -> bytes:
    """The payload of any hyper-latents (h, w, channel)."""
    groups: list[tuple[list[int], list[int]]] = []

    def keep(places: list[tuple[Place, int]], of_tables: list[int]) -> list[int]:
        groups.append(([sign * int(z[place]) for place, sign in places], of_tables))
        return groups[-1][0]

    walk_hyper_latents((z.shape[0], z.shape[1]), level, choice, keep)
    stack = Stack()
    for of_group, of_tables in reversed(groups):
        push_group(stack, of_group, of_tables, tables)
    return stack.payload()


CodeGroup = Callable[[list[int], list[int]], list[int]]


def walk_step(indices: list[int], first_dependent: int, code_group: CodeGroup) -> list[int]:
    """The residuals of a step in eighths. ``code_group`` gives the symbols of each group in turn; it is told
    their numbers and tables, in the order of decoding.
    """
    r = [0] * len(indices)
    narrow_first = sorted(range(len(indices)), key=lambda number: (indices[number], number))
    dependent = [number for number in narrow_first if indices[number] >= first_dependent]
    columns = -(-len(dependent) // ROWS)
    states = [0] * columns
    while dependent:
        row, dependent = dependent[:columns], dependent[columns:]
        table_of = {n: 64 * (1 + states[column] % 2) + indices[n] for column, n in enumerate(row)}
        numbers = [n for n in row if table_of[n] < 128] + [n for n in row if table_of[n] >= 128]
        symbol_of = dict(zip(numbers, code_group(numbers, [table_of[n] for n in numbers]), strict=True))
        for column, number in enumerate(row):
            k = symbol_of[number]
            sign = (k > 0) - (k < 0)
            r[number] = 5 * (2 * k - sign * (states[column] % 2))
            states[column] = next_state(states[column], k)
    plain = [number for number in coding_order(indices) if indices[number] < first_dependent]
    symbols = code_group(plain, [indices[number] for number in plain])
    for number, k in zip(plain, symbols, strict=True):
        r[number] = 8 * k
    return r


def residuals_of(symbols: list[int], indices: list[int], first_dependent: int) -> list[int]:
    """What the symbols of a step, in coding order, stand for, in eighths."""
    return walk_step(indices, first_dependent, lambda numbers, of_tables: [symbols[n] for n in numbers])


def decode_step(payload: bytes, indices: list[int], tables: Tables, dependent: bool) -> list[int]:
    """The residuals of a step of one wave in coding order, in eighths, or ValueError."""
    stack = Stack(payload)
    r = decode_wave(stack, indices, tables, dependent)
    check_end(stack, payload)
    return r


def decode_wave(stack: Stack, indices: list[int], tables: Tables, dependent: bool) -> list[int]:
    """The residuals of a wave in coding order, in eighths, or ValueError."""
    first = tables.first_dependent if dependent else 64
    r = walk_step(indices, first, lambda numbers, of_tables: pull_group(stack, of_tables, tables))
    if any(abs(value) > 32767 for value in r):
        raise ValueError("too large")
    return r


def encode_step(symbols: list[int], indices: list[int], tables: Tables, dependent: bool) -> bytes:
    """The payload of any symbols of a step of one wave, in coding order, even of those that a decoder must
    refuse.
    """
    groups: list[tuple[list[int], list[int]]] = []

    def keep(numbers: list[int], of_tables: list[int]) -> list[int]:
        groups.append(([symbols[number] for number in numbers], of_tables))
        return groups[-1][0]

    walk_step(indices, tables.first_dependent if dependent else 64, keep)
    stack = Stack()
    for of_group, of_tables in reversed(groups):
        push_group(stack, of_group, of_tables, tables)
    return stack.payload()


def bias_at(rows: NDArray[Any], level: int) -> NDArray[np.int64]:
    rows = rows.astype(np.int64)
    if rows.ndim == 1:
        return rows
    node, fraction = level >> 5, level & 31
    mixed: NDArray[np.int64] = rows[node] * (32 - fraction) + rows[min(node + 1, 7)] * fraction
    return (mixed + 16) >> 5


def rescale(sums: NDArray[np.int64], shift: NDArray[Any], top: int) -> NDArray[np.int64]:
    rescaled: NDArray[np.int64] = np.clip((sums + (1 << (int(shift) - 1))) >> int(shift), 0, top)
    return rescaled


def pointwise(
    arrays: Arrays, name: str, x: NDArray[np.int64], level: int, top: int = 255
) -> NDArray[np.int64]:
    weight = arrays[f"scales/{name}/weight"].astype(np.int64)
    sums = np.einsum("ijk,ok->ijo", x, weight) + bias_at(arrays[f"scales/{name}/bias"], level)
    return rescale(sums, arrays[f"scales/{name}/shift"], top)


def depthwise(arrays: Arrays, name: str, x: NDArray[np.int64]) -> NDArray[np.int64]:
    weight = arrays[f"scales/{name}/weight"].astype(np.int64)
    sums = np.zeros_like(x) + arrays[f"scales/{name}/bias"]
    for i, j in np.ndindex(x.shape[:2]):
        for a, b in np.ndindex(3, 3):
            if 0 <= i + a - 1 < x.shape[0] and 0 <= j + b - 1 < x.shape[1]:
                sums[i, j] += weight[a, b] * x[i + a - 1, j + b - 1]
    return rescale(sums, arrays[f"scales/{name}/shift"], 255)


def depth_to_space(x: NDArray[np.int64]) -> NDArray[np.int64]:
    channels = x.shape[2] // 4
    y = np.empty((2 * x.shape[0], 2 * x.shape[1], channels), np.int64)
    for i, j, a, b in np.ndindex(*x.shape[:2], 2, 2):
        y[2 * i + a, 2 * j + b] = x[i, j, (2 * a + b) * channels : (2 * a + b + 1) * channels]
    return y


def features(arrays: Arrays, z: NDArray[Any], level: int) -> NDArray[np.int64]:
    x = 8 * np.clip(z.astype(np.int64), -31, 31)
    x = depthwise(arrays, "hyper_depthwise_0", pointwise(arrays, "hyper_pointwise_0", x, level))
    x = depth_to_space(pointwise(arrays, "hyper_pointwise_1", x, level))
    x = depth_to_space(
        pointwise(arrays, "hyper_pointwise_2", depthwise(arrays, "hyper_depthwise_1", x), level)
    )
    return depthwise(arrays, "hyper_depthwise_2", x)


def step_of(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """(rows, columns, L): the step that codes each residual."""
    i, j, c = np.indices(shape)
    turn = (c // (shape[2] // 4) + 2 * (i % 2) + j % 2) % 4
    steps: NDArray[np.int64] = np.where((turn == 0) & ((i + j) % 2 == 0), 0, 1 + turn)
    return steps


def all_step_indices(
    arrays: Arrays, step: int, of_features: NDArray[np.int64], r: NDArray[Any], level: int
) -> NDArray[np.int64]:
    """(rows, columns, L): the outputs of the index layer, of which only those of the step are meant."""
    x = of_features
    if step:
        magnitudes = arrays["scales/magnitude_lut"].astype(np.int64)[
            np.minimum(np.abs(r.astype(np.int64)), 2047)
        ]
        x = np.concatenate((x, np.where(step_of(r.shape) < step, magnitudes, 0)), axis=2)
    x = depthwise(arrays, f"step{step}_depthwise", pointwise(arrays, f"step{step}_pointwise_0", x, level))
    x = pointwise(arrays, f"step{step}_pointwise_1", x, level)
    return pointwise(arrays, f"step{step}_index", x, level, top=63)


def decode_chunk(
    payloads: list[bytes], shape: tuple[int, int], level: int, arrays: Arrays, dependent: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The hyper-latents, and the residuals in eighths."""
    choice = arrays["tables/hyper_latents/choice"]
    of_hyper_latents = Tables.from_arrays(arrays, "hyper_latents")
    z = decode_hyper_latents(payloads[0], shape, level, choice, of_hyper_latents)

    stacks = [Stack(payload) for payload in payloads]

    def decode_one(step: int, indices: list[int], coded: NDArray[np.bool_]) -> list[int]:
        tables = Tables.from_arrays(arrays, f"step{step}")
        return decode_wave(stacks[1 + step], indices, tables, dependent)

    r = walk_chunk(z, level, arrays, decode_one)
    for stack, payload in list(zip(stacks, payloads, strict=True))[1:]:
        check_end(stack, payload)
    return z, r


def decode_joined_chunk(
    payload: bytes,
    shape: tuple[int, int],
    level: int,
    arrays: Arrays,
    dependent: bool = False,
    missing: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The hyper-latents, and the residuals in eighths, of a chunk with one payload, as it stands in its
    section. Where ``missing`` bytes of it are cut off, the parts that cannot be used are 0.
    """
    choice = arrays["tables/hyper_latents/choice"]
    z = np.zeros((*shape, choice.shape[2]), np.int64)
    r = np.zeros((4 * shape[0], 4 * shape[1], arrays["scales/step0_index/weight"].shape[0]), np.int64)
    stack, present_step = CutStack(payload, missing), 0

    def decode_one(step: int, indices: list[int], coded: NDArray[np.bool_]) -> list[int]:
        nonlocal present_step
        present_step = step
        found = decode_wave(stack, indices, Tables.from_arrays(arrays, f"step{step}"), dependent)
        r[coded] = found
        return found

    try:
        z = pull_hyper_latents(stack, shape, level, choice, Tables.from_arrays(arrays, "hyper_latents"))
        walk_chunk(z, level, arrays, decode_one)
    except CutOffError:
        r[step_of(r.shape) == present_step] = 0
    if not missing:
        check_end(stack, payload[::-1])
    return z, r


def chunk_residuals(
    z: NDArray[Any], symbols: NDArray[Any], level: int, arrays: Arrays, dependent: bool
) -> NDArray[np.int64]:
    """(4 h, 4 w, L): what a plane of any symbols stands for, in eighths, and what a chunk can thus hold."""
    first = int(arrays["tables/first_dependent"]) if dependent else 64

    def take(step: int, indices: list[int], coded: NDArray[np.bool_]) -> list[int]:
        return residuals_of([int(symbol) for symbol in symbols[coded]], indices, first)

    return walk_chunk(z, level, arrays, take)


def walk_chunk(
    z: NDArray[Any],
    level: int,
    arrays: Arrays,
    residuals: Callable[[int, list[int], NDArray[np.bool_]], list[int]],
) -> NDArray[np.int64]:
    """The residuals of a chunk, of which ``residuals`` gives those of a wave by their table indices."""
    channels = arrays["scales/step0_index/weight"].shape[0]
    r = np.zeros((4 * z.shape[0], 4 * z.shape[1], channels), np.int64)
    expected = np.zeros_like(r)
    known = np.zeros(r.shape, np.bool_)
    of_features = features(arrays, z, level)
    for step in range(5):
        indices = all_step_indices(arrays, step, of_features, r, level)
        for wave in range(4 if step < 2 else 1):
            coded = (step_of(r.shape) == step) & ((wave_of(r.shape) == wave) | (step > 1))
            moved = indices.copy()
            if step < 2:
                adapt(arrays, step, wave, coded, moved, r, expected, known)
                expected[coded] = arrays["adaptation/expected"][step][indices[coded]]
            r[coded] = residuals(step, [int(index) for index in moved[coded]], coded)
            known |= coded
    return r


def wave_of(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """(rows, columns, L): the wave that codes each residual of the first two steps."""
    i, j, _ = np.indices(shape)
    waves: NDArray[np.int64] = 2 * (i % 2) + (i // 2 + j // 2) % 2
    return waves


def adapt(
    arrays: Arrays,
    step: int,
    wave: int,
    coded: NDArray[np.bool_],
    indices: NDArray[np.int64],
    r: NDArray[np.int64],
    expected: NDArray[np.int64],
    known: NDArray[np.bool_],
) -> None:
    """Correct the indices of a wave in place (section 10.6)."""
    rows, columns, channels = r.shape
    group = channels // 4
    weight, bias = arrays["adaptation/weight"].astype(np.int64), arrays["adaptation/bias"]
    shift = int(arrays["adaptation/shift"])
    of_steps = step_of(r.shape)
    for i, j, c in np.argwhere(coded):
        near = [(a, b) for a in range(rows) for b in range(columns) if 1 <= abs(a - i) + abs(b - j) <= 2]
        total = int(bias[step, wave, c % group])
        for band in range(group // 4):
            places = [
                (a, b, k)
                for a, b in near
                for k in range(channels)
                if k % group // 4 == band and known[a, b, k] and of_steps[a, b, k] < 2
            ]
            total += int(weight[step, wave, c % group, band]) * surprise(places, r, expected)
        own = [(a, b, c) for a, b in ((i - 2, j), (i + 2, j), (i, j - 2), (i, j + 2))]
        own = [place for place in own if 0 <= place[0] < rows and 0 <= place[1] < columns]
        own = [place for place in own if known[place] and of_steps[place] == step]
        total += int(weight[step, wave, c % group, -1]) * surprise(own, r, expected)
        moved = int(indices[i, j, c]) + ((total + (1 << (shift - 1))) >> shift)
        indices[i, j, c] = min(max(moved, 0), 63)


def surprise(places: list[Place], r: NDArray[np.int64], expected: NDArray[np.int64]) -> int:
    """How much larger residuals are than expected, -127..127."""
    found = sum(min(abs(int(r[place])), 64) for place in places) + 6
    hoped = ((sum(int(expected[place]) for place in places) + 8) >> 4) + 6
    return max(-127, min(127, logarithm(found) - logarithm(hoped)))


def logarithm(n: int) -> int:
    """32 times the logarithm to base 2, piecewise linear."""
    power = n.bit_length() - 1
    return 32 * power + 32 * n // 2**power
