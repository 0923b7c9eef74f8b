from __future__ import annotations

import re
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import aecodec
from aecodec.entropy import (
    Tables,
    decode_hyper_latents,
    encode_hyper_latents,
    integer_frequencies,
    logistic_tables,
)
from aecodec.errors import CorruptedError, InputError
from tests.entropy import reference
from tests.entropy.helpers import decode_group, encode_group, one_group

PLAIN = reference.plain_tables()
LOGISTIC = logistic_tables()

MAGNITUDES = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 500), st.integers(0, 32767))
SYMBOLS = st.builds(lambda sign, magnitude: sign * magnitude, st.sampled_from([-1, 1]), MAGNITUDES)
CODED = st.lists(st.tuples(SYMBOLS, st.integers(0, 191)), min_size=1, max_size=60)
TABLES = st.sampled_from([PLAIN, LOGISTIC])


def indices_of(coded: list[tuple[int, int]]) -> np.ndarray:
    return np.array([index for _, index in coded], np.uint8)


def symbols_of(coded: list[tuple[int, int]]) -> np.ndarray:
    return np.array([symbol for symbol, _ in coded], np.int16)


@given(CODED, TABLES)
def test_symbols_come_back(coded: list[tuple[int, int]], tables: Tables) -> None:
    payload = encode_group(symbols_of(coded), indices_of(coded), tables)
    decoded = decode_group(payload, indices_of(coded), tables)
    assert decoded.dtype == np.int16
    assert decoded.tolist() == [symbol for symbol, _ in coded]


@given(CODED, TABLES)
def test_payloads_are_those_of_exact_integer_arithmetic(coded: list[tuple[int, int]], tables: Tables) -> None:
    symbols, indices = [s for s, _ in coded], [i for _, i in coded]
    payload = encode_group(symbols_of(coded), indices_of(coded), tables)
    assert payload == reference.encode(symbols, indices, tables)
    assert reference.decode(payload, indices, tables) == symbols


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_any_frequencies_are_reproduced_exactly(seed: int, steepness: float) -> None:
    random = np.random.default_rng(seed)
    half_widths = random.integers(0, 12, 192).astype(np.int16)
    frequencies = [
        integer_frequencies(np.exp(random.normal(0, 10.0**steepness, 2 * int(half) + 2).clip(-300, 300)))
        for half in half_widths
    ]
    tables = Tables(half_widths, np.concatenate(frequencies))
    indices = random.integers(0, 192, 40)
    symbols = random.integers(-14, 15, 40)
    payload = encode_group(symbols, indices, tables)
    assert payload == reference.encode(symbols.tolist(), indices.tolist(), tables)
    assert reference.decode(payload, indices.tolist(), tables) == symbols.tolist()


@pytest.mark.parametrize(
    ("symbols", "indices", "payload"),
    [
        ([0, 0, 0], [0, 20, 63], ""),
        ([1], [63], "1f 00 f0"),
        ([3, -1, 0, 2, 0, 0, -1, 5], [40, 40, 0, 63, 8, 63, 12, 50], "7f 52 f5 69 d1 21 22 02"),
        (
            [0, -1, 100, -32767, 16, 0],
            [0, 0, 5, 20, 63, 63],
            "00 e6 0f 7f b0 01 88 b1 ff 7f ff 01 0f 00 f8 15 ba 55 d6 44",
        ),
    ],
)
def test_golden_payloads(symbols: list[int], indices: list[int], payload: str) -> None:
    of_tables = np.array(indices, np.uint8)
    assert encode_group(np.array(symbols, np.int16), of_tables, PLAIN).hex(" ") == payload
    assert decode_group(bytes.fromhex(payload), of_tables, PLAIN).tolist() == symbols


def test_golden_words() -> None:
    numbers = np.arange(200)
    symbols = (numbers * 37 % 11 - 5) * (numbers % 3 == 0)
    payload = encode_group(symbols, (numbers % 64).astype(np.uint8), PLAIN)
    assert len(payload) == 106
    assert struct.unpack_from("<4I", payload) == (0x23300000, 0x21227BDC, 0x230695C5, 0x64800363)
    assert payload[-4:].hex() == "f7b7916a"


def test_all_zero_symbols_cost_nothing() -> None:
    assert (
        encode_group(np.zeros(100_000, np.int16), np.arange(100_000).astype(np.uint8) % 64, LOGISTIC) == b""
    )


def test_a_single_rare_symbol_among_zeros_costs_at_most_four_bytes() -> None:
    symbols = np.zeros(100_000, np.int16)
    symbols[70_000] = -1
    assert len(encode_group(symbols, np.zeros(100_000, np.uint8), LOGISTIC)) <= 4


@given(st.binary(max_size=60), st.lists(st.integers(0, 191), min_size=1, max_size=40), TABLES)
@example(b"\x01", [0], PLAIN)
@example(b"\0", [3], PLAIN)
@example(b"\xff" * 50, [63] * 30, LOGISTIC)
def test_any_bytes_give_symbols_or_a_format_error(data: bytes, indices: list[int], tables: Tables) -> None:
    of_tables = np.array(indices, np.uint8)
    try:
        symbols = decode_group(data, of_tables, tables)
    except CorruptedError:
        return
    assert encode_group(symbols, of_tables, tables) == data


@given(CODED.filter(len), TABLES, st.data())
def test_damaged_payloads_never_decode_to_the_same_symbols(
    coded: list[tuple[int, int]], tables: Tables, data: st.DataObject
) -> None:
    payload = encode_group(symbols_of(coded), indices_of(coded), tables)
    cut = data.draw(st.integers(0, len(payload)))
    damaged = payload[:cut] + data.draw(st.binary(max_size=6)) + payload[cut + data.draw(st.integers(0, 6)) :]
    try:
        decoded = decode_group(damaged, indices_of(coded), tables)
    except CorruptedError:
        assert damaged != payload
        return
    assert (decoded.tolist() == symbols_of(coded).tolist()) == (damaged == payload)
    assert encode_group(decoded, indices_of(coded), tables) == damaged


@pytest.mark.parametrize("tail", [b"\0", b"\x01", b"\0\0\0\0\x01", b"\xff" * 9])
def test_bytes_behind_the_end_are_refused(tail: bytes) -> None:
    indices = np.full(50, 40, np.uint8)
    payload = encode_group(np.arange(50) - 25, indices, LOGISTIC)
    with pytest.raises(CorruptedError):
        decode_group(payload + tail, indices, LOGISTIC)


def test_a_payload_for_fewer_symbols_is_refused() -> None:
    indices = np.full(50, 40, np.uint8)
    payload = encode_group(np.arange(50) - 25, indices, LOGISTIC)
    with pytest.raises(CorruptedError, match="left over"):
        decode_group(payload, indices[:49], LOGISTIC)


@pytest.mark.parametrize("symbol", [32768, -32768, -32900])
def test_escapes_beyond_the_range_of_symbols_are_refused(symbol: int) -> None:
    half = 200
    side = [1] * half
    wide = Tables(
        np.full(192, half, np.int16), np.tile(np.array([*side, 2**24 - 401, *side, 1], np.uint32), 192)
    )
    payload = reference.encode([0, symbol, 5], [7, 7, 7], wide)
    with pytest.raises(CorruptedError, match="magnitude"):
        decode_group(payload, np.full(3, 7, np.uint8), wide)


def test_many_escapes_decode() -> None:
    random = np.random.default_rng(3)
    symbols = random.integers(-32767, 32768, 20_000)
    indices = random.integers(0, 192, 20_000).astype(np.uint8)
    payload = encode_group(symbols, indices, PLAIN)
    assert np.array_equal(decode_group(payload, indices, PLAIN), symbols)


def test_threads_may_share_tables() -> None:
    tables = logistic_tables()
    random = np.random.default_rng(7)
    indices = random.integers(0, 192, 3000).astype(np.uint8)
    planes = [np.rint(random.laplace(0, 2, 3000)).astype(np.int16) for _ in range(16)]

    def there_and_back(symbols: np.ndarray) -> np.ndarray:
        return decode_group(encode_group(symbols, indices, tables), indices, tables)

    with ThreadPoolExecutor(8) as pool:
        for symbols, decoded in zip(planes, pool.map(there_and_back, planes), strict=True):
            assert np.array_equal(symbols, decoded)


@pytest.mark.parametrize(
    "z",
    [
        np.full((1, 1, 2), -32768, np.int16),
        np.zeros((1, 1, 2), np.int32),
        np.zeros((1, 1, 2)),
        np.zeros((1, 1, 3), np.int16),
        np.zeros((1, 2), np.int16),
    ],
)
def test_what_cannot_be_coded_is_refused(z: np.ndarray) -> None:
    with pytest.raises(InputError):
        encode_hyper_latents(z, 0, one_group([5, 6], PLAIN))


@pytest.mark.parametrize("level", [-1, 225])
def test_levels_outside_of_the_scale_are_refused(level: int) -> None:
    with pytest.raises(InputError, match="level"):
        encode_hyper_latents(np.ones((1, 1, 2), np.int16), level, one_group([5, 6], PLAIN))
    for payload in (b"\x01", b""):
        with pytest.raises(InputError, match="level"):
            decode_hyper_latents(payload, (1, 1), level, one_group([5, 6], PLAIN))


@pytest.mark.parametrize("shape", [(0, 1), (-1, 2), (2,)])
def test_grids_without_a_position_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="each at least 1"):
        decode_hyper_latents(b"", shape, 0, one_group([5, 6], PLAIN))


def test_the_coder_alone_imports_constriction() -> None:
    package = Path(aecodec.__file__).parent
    importing = re.compile(r"^\s*(import|from) constriction\b", re.MULTILINE)
    importers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if importing.search(path.read_text(encoding="utf-8"))
    }
    assert importers == {"entropy/coder.py"}


def test_the_package_loads_without_constriction() -> None:
    check = "import sys, aecodec.entropy; sys.exit('constriction' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
