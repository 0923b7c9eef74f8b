"""A second coder, written from the format text with Python integers and int64 alone: slow and plain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy import Tables

Arrays = dict[str, NDArray[Any]]


def plain_tables() -> Tables:
    """The tables of the test vector in the format text: powers of two, computed from integers only."""
    half_widths = [index // 4 for index in range(64)]
    frequencies: list[int] = []
    for index, half in enumerate(half_widths):
        side = [max(1, 2 ** (16 + index // 16) >> k) for k in range(1, half + 1)]
        frequencies += [*side[::-1], 2**24 - 2 * sum(side) - 1, *side, 1]
    return Tables(np.array(half_widths, np.int16), np.array(frequencies, np.uint32))


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


def decode(payload: bytes, indices: list[int], tables: Tables) -> list[int]:
    """Symbols of a well-formed payload, or ValueError."""
    stack = Stack(payload)
    symbols = [0] * len(indices)
    escapes = []
    for number in coding_order(indices):
        half = int(tables.half_width[indices[number]])
        entry = stack.pull(entries_of(tables, indices[number]))
        if entry == half + 1:
            escapes.append(number)
        symbols[number] = entry if entry <= half else entry - (2 * half + 2)
    classes = [stack.pull(uniform(4)) for _ in escapes]
    for number, size in zip(escapes, classes, strict=True):
        raw = stack.pull(uniform(max(size, 1)))
        excess = 2 ** (size - 1) + (raw >> 1) if size else 0
        magnitude = int(tables.half_width[indices[number]]) + 1 + excess
        if magnitude > 32767:
            raise ValueError("too large")
        symbols[number] = -magnitude if raw & 1 else magnitude
    if stack.state or stack.words or payload.endswith(b"\0"):
        raise ValueError("not used up")
    return symbols


def encode(symbols: list[int], indices: list[int], tables: Tables) -> bytes:
    """The payload of any integers, even of those that a decoder must refuse."""
    stack = Stack()
    order = coding_order(indices)
    half = [int(tables.half_width[index]) for index in indices]
    escapes = [number for number in order if abs(symbols[number]) > half[number]]
    excesses = [abs(symbols[number]) - half[number] - 1 for number in escapes]
    for number, excess in reversed(list(zip(escapes, excesses, strict=True))):
        size = excess.bit_length()
        raw = 2 * (excess - 2 ** (size - 1)) if size else 0
        stack.push(raw + (symbols[number] < 0), uniform(max(size, 1)))
    for excess in reversed(excesses):
        stack.push(excess.bit_length(), uniform(4))
    for number in reversed(order):
        entry = half[number] + 1 if number in escapes else symbols[number] % (2 * half[number] + 2)
        stack.push(entry, entries_of(tables, indices[number]))
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


def hyper_indices(arrays: Arrays, level: int) -> NDArray[np.int64]:
    rows = arrays["scales/hyper_index"].astype(np.int64)
    node, fraction = level >> 5, level & 31
    mixed = rows[node] * (32 - fraction) + rows[min(node + 1, 7)] * fraction
    indices: NDArray[np.int64] = np.clip((mixed + 256) >> 9, 0, 63)
    return indices


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
            np.minimum(np.abs(r.astype(np.int64)), 255)
        ]
        x = np.concatenate((x, np.where(step_of(r.shape) < step, magnitudes, 0)), axis=2)
    x = depthwise(arrays, f"step{step}_depthwise", pointwise(arrays, f"step{step}_pointwise_0", x, level))
    x = pointwise(arrays, f"step{step}_pointwise_1", x, level)
    return pointwise(arrays, f"step{step}_index", x, level, top=63)


def decode_chunk(
    payloads: list[bytes], shape: tuple[int, int], level: int, arrays: Arrays
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    tables = Tables.from_arrays(arrays)
    rows, columns = shape
    z = np.zeros((rows, columns, arrays["scales/hyper_index"].shape[1]), np.int64)
    channels = arrays["scales/step0_index/weight"].shape[0]
    r = np.zeros((4 * rows, 4 * columns, channels), np.int64)
    of_channel = hyper_indices(arrays, level)
    symbols = decode(payloads[0], [int(index) for _ in range(rows * columns) for index in of_channel], tables)
    for number, where in enumerate(np.ndindex(z.shape)):
        z[where] = symbols[number]
    of_features = features(arrays, z, level)
    for step in range(5):
        indices = all_step_indices(arrays, step, of_features, r, level)
        coded = [where for where in np.ndindex(r.shape) if step_of(r.shape)[where] == step]
        symbols = decode(payloads[1 + step], [int(indices[where]) for where in coded], tables)
        for where, symbol in zip(coded, symbols, strict=True):
            r[where] = symbol
    return z, r
