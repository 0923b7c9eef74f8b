"""The decoder that is written from the format text alone (formats/reference_decoder.py)."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from aecodec import encode
from aecodec.entropy import (
    ChunkBytes,
    EntropyModel,
    HyperTables,
    adaptation,
    decode_chunk,
    encode_chunk,
    encode_hyper_latents,
)
from aecodec.image import plane_to_png
from tests.entropy import reference
from tests.entropy.helpers import Arrays, random_entropy_arrays
from tests.helpers import CosineRuntime, fake_model, photograph
from tests.vectors import FORMATS, reference_decoder

decoder = reference_decoder()
PROGRAM = FORMATS / "reference_decoder.py"
TEXT = (FORMATS / "aec.md").read_text(encoding="utf-8")


def test_it_imports_numpy_and_the_standard_library_alone() -> None:
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}


def text_tables() -> Any:
    """The tables of section 9.7."""
    half_widths = np.arange(192) % 64 // 4
    frequencies: list[int] = []
    for table, m in enumerate(half_widths.tolist()):
        peak = 2 ** (16 + table % 64 // 16 + table // 64)
        sides = [max(1, peak >> value) for value in range(m, 0, -1)]
        frequencies += [*sides, 2**24 - 2 * sum(sides) - 1, *sides[::-1], 1]
    return decoder.entry_starts(half_widths, np.array(frequencies, np.uint32))


def hyper_model(choice: NDArray[np.uint8]) -> Any:
    """A model of hyper-latents alone, with the tables of section 9.7."""
    return decoder.Model({}, {"tables/hyper_latents/choice": choice}, {"hyper_latents": text_tables()})


def hyper_latents_of(payload: bytes, h: int, w: int, model: Any, level: int) -> Any:
    """Those of a payload that holds nothing else."""
    stack = decoder.Stack(payload)
    z = decoder.decode_hyper_latents(stack, h, w, model, level)
    stack.finish()
    return z


def model_of(arrays: Arrays) -> Any:
    """A model without a decoder graph."""
    channels = {
        "hyper_channels": arrays["tables/hyper_latents/choice"].shape[2],
        "latent_channels": arrays["scales/step0_index/bias"].size,
    }
    return decoder.Model(channels, arrays, decoder.read_tables(arrays))


def integers(text: str) -> list[int]:
    """The integers of a list with commas."""
    return [int(number) for number in text.split(",")]


def test_the_payloads_in_the_text_give_the_hyper_latents_in_the_text() -> None:
    rows = re.findall(r"^\| `([-\d, ]+)`\s*\| `([\d, ]+)`\s*\| `?([\da-f ]*|\(empty\))`?\s*\|$", TEXT, re.M)
    assert len(rows) == 4
    for of_channels, tables, payload in rows:
        z = np.array(integers(of_channels), np.int16)[np.newaxis, np.newaxis]
        choice = np.zeros((8, 3, z.size), np.uint8)
        choice[:, 0] = integers(tables)
        data = bytes.fromhex("" if "empty" in payload else payload)
        found = hyper_latents_of(data, 1, 1, hyper_model(choice), 100)
        assert np.array_equal(found, z)
        assert encode_hyper_latents(z, 100, HyperTables(reference.plain_tables(17), choice)) == data


def test_the_worked_example_of_hyper_latents_is_right() -> None:
    rows = [
        integers(row.replace("|", ",").strip(","))
        for row in re.findall(r"^((?:\| +-?\d+ ){9}\|)$", TEXT, re.M)
    ]
    [payload] = re.findall(r"The payload is `([\da-f ]+)`", TEXT)
    node, context, channel = np.ogrid[:8, :3, :2]
    choice = (60 * context + 10 * node + channel).astype(np.uint8)
    z, done = np.zeros((2, 3, 2), np.int64), np.zeros((2, 3, 2), bool)
    for group, i, j, c, near, of_near, table, symbol, value in rows:
        above, left = (z[i - 1, j, c] if i else 0), (z[i, j - 1, c] if j else 0)
        assert (group, near, of_near) == (i + j, above + left, min(abs(above + left), 2))
        assert table == 60 * of_near + 30 + c
        assert value == (symbol if near >= 0 else -symbol)
        assert not done[i, j, c]
        z[i, j, c], done[i, j, c] = value, True
    assert done.all()
    order = [(group, -table, i, c) for group, i, _, c, _, _, table, _, _ in rows]
    assert order == sorted(order)
    data = bytes.fromhex(payload)
    assert np.array_equal(hyper_latents_of(data, 2, 3, hyper_model(choice), 80), z)
    tables = HyperTables(reference.plain_tables(17), choice)
    assert encode_hyper_latents(z.astype(np.int16), 80, tables) == data
    escaped = [abs(row[7]) > tables.tables.half_width[row[6]] for row in rows]
    assert [row[7] for row, escape in zip(rows, escaped, strict=True) if escape] == [-9]


@pytest.mark.parametrize("level", [0, 15, 16, 80, 207, 208, 224])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (5, 3), (4, 6)])
def test_hyper_latents_are_those_that_were_encoded(shape: tuple[int, int], level: int) -> None:
    random = np.random.default_rng((*shape, level))
    choice = random.integers(0, 192, (8, 3, 5)).astype(np.uint8)
    z = np.rint(random.laplace(0, 1, (*shape, 5))).astype(np.int16)
    z[random.random(z.shape) < 0.05] *= -1000
    z.flat[0] = random.choice((-32767, 32767))
    payload = encode_hyper_latents(z, level, HyperTables(reference.plain_tables(17), choice))
    found = hyper_latents_of(payload, *shape, hyper_model(choice), level)
    assert np.array_equal(found, z)


@pytest.mark.parametrize("count", [0, 1, 16])
def test_coefficients_of_a_post_filter_are_those_that_were_encoded(count: int) -> None:
    random = np.random.default_rng(count)
    choice = random.integers(0, 192, (8, 3, 5)).astype(np.uint8)
    of_filter = random.integers(0, 192, count).astype(np.uint8)
    z = np.rint(random.laplace(0, 1, (2, 3, 5))).astype(np.int16)
    coefficients = np.rint(random.laplace(0, 6, count)).astype(np.int16)
    tables = HyperTables(reference.plain_tables(17), choice, of_filter)
    model = hyper_model(choice)
    model.arrays["tables/hyper_latents/of_filter"] = of_filter
    stack = decoder.Stack(encode_hyper_latents(z, 90, tables, coefficients))
    assert np.array_equal(decoder.decode_coefficients(stack, model), coefficients)
    assert np.array_equal(decoder.decode_hyper_latents(stack, 2, 3, model, 90), z)
    stack.finish()


def test_an_empty_payload_stands_for_hyper_latents_of_zero() -> None:
    choice = np.arange(8 * 3 * 8).reshape(8, 3, 8).astype(np.uint8)
    assert not hyper_latents_of(b"", 4, 3, hyper_model(choice), 60).any()


def test_the_payloads_in_the_text_give_the_residuals_in_the_text() -> None:
    cells = [r"`([\d, ]+)`", "(set|not set)", r"`([-\d, ]+)`", r"`([-\d, ]+)`", r"`([\da-f ]+)`"]
    rows = re.findall(r"^\| " + r"\s*\| ".join(cells) + r"\s*\|$", TEXT, re.M)
    assert len(rows) == 2
    for indices, flag, symbols, residuals, payload in rows:
        coded, of_symbols = np.array(integers(indices)), integers(symbols)
        stack, first = decoder.Stack(bytes.fromhex(payload)), 17 if flag == "set" else 64
        found = decoder.decode_residuals(stack, coded, text_tables(), first)
        stack.finish()
        assert found.tolist() == integers(residuals)
        assert reference.residuals_of(of_symbols, coded.tolist(), first) == integers(residuals)


def test_the_worked_example_of_the_states_is_right() -> None:
    rows = [
        integers(row.replace("|", ",").strip(","))
        for row in re.findall(r"^((?:\| +-?\d+ ){10}\|)$", TEXT, re.M)
    ]
    assert [row[0] for row in rows] == list(range(6))
    state = 0
    for _, _, index, before, quantiser, table, symbol, u, r, after in rows:
        assert (before, quantiser, table) == (state, state % 2, 64 * (1 + state % 2) + index)
        assert (u, r) == (2 * symbol - quantiser * np.sign(symbol), 5 * u)
        state = decoder.next_state(state, symbol)
        assert after == state


def test_the_table_of_next_states_in_the_text_is_right() -> None:
    every = [decoder.next_state(state, k) for state in range(128) for k in (0, 1)]
    for parity, name in enumerate(("even", "odd")):
        [row] = re.findall(rf"^\| next, `k` {name} +((?:\| +\d+ )+)\|$", TEXT, re.M)
        assert integers(row.replace("|", ",").strip(",")) == every[parity:16:2]
        assert [decoder.next_state(state, parity - 4) for state in range(128)] == every[parity::2]
    assert f"CRC-32 0x{zlib.crc32(bytes(every)):08X}." in " ".join(TEXT.split())


def test_the_step_of_several_columns_in_the_text_is_right() -> None:
    numbers = np.arange(1000)
    indices, symbols = 37 * numbers % 64, (numbers * numbers + numbers // 7) % 7 - 3
    symbols[::5] *= 20
    payload = reference.encode_step(symbols.tolist(), indices.tolist(), reference.plain_tables(17), True)
    stack = decoder.Stack(payload)
    r = decoder.decode_residuals(stack, indices, text_tables(), 17)
    stack.finish()
    sums = f"{len(payload)} bytes and the CRC-32 0x{zlib.crc32(payload):08X}"
    begin = f"begin with {', '.join(map(str, r[:6]))}, their sum is {r.sum()},"
    end = f"CRC-32 0x{zlib.crc32(r.astype('<i2').tobytes()):08X}."
    text = " ".join(TEXT.split())
    assert all(part in text for part in (sums, begin, end))


@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 512, 513, 1400])
def test_residuals_of_a_step_are_those_that_were_encoded(count: int, dependent: bool) -> None:
    random = np.random.default_rng(count)
    indices = random.integers(10, 40, count)
    symbols = np.rint(random.laplace(0, 3, count)).astype(int).tolist()
    payload = reference.encode_step(symbols, indices.tolist(), reference.plain_tables(17), dependent)
    first = 17 if dependent else 64
    stack = decoder.Stack(payload)
    found = decoder.decode_residuals(stack, indices, text_tables(), first)
    stack.finish()
    expected = reference.residuals_of(symbols, indices.tolist(), first)
    assert found.tolist() == expected
    assert np.any(found % 8) == (dependent and count > 0)


@pytest.mark.parametrize(
    ("symbol", "index", "dependent"),
    [(4096, 16, True), (-4096, 63, False), (3277, 17, True), (-3277, 63, True)],
)
def test_residuals_out_of_range_are_refused(symbol: int, index: int, dependent: bool) -> None:
    for offset in (0, -1):
        inside = symbol + offset * int(np.sign(symbol))
        payload = reference.encode_step([inside], [index], reference.plain_tables(17), dependent)
        arguments = decoder.Stack(payload), np.array([index]), text_tables(), 17 if dependent else 64
        if offset:
            assert decoder.decode_residuals(*arguments)[0] // inside in (8, 10)
        else:
            with pytest.raises(decoder.RefusedError, match="corrupted: a residual is out of range"):
                decoder.decode_residuals(*arguments)


def random_chunk(
    seed: int, shape: tuple[int, int], level: int, dependent: bool
) -> tuple[Arrays, NDArray[np.int16], NDArray[np.int16]]:
    """The arrays of a model, and the hyper-latents and residuals of a chunk."""
    arrays = random_entropy_arrays(seed) | {"tables/first_dependent": np.array(17, np.int16)}
    entropy, random = EntropyModel.from_arrays(arrays), np.random.default_rng(seed)
    z = np.rint(random.laplace(0, 1.5, (*shape, entropy.scale_network.hyper_channels))).astype(np.int16)
    of_residuals = 4 * shape[0], 4 * shape[1], entropy.scale_network.latent_channels
    symbols = np.rint(random.laplace(0, 1.5, of_residuals)).astype(int)
    far = random.random(symbols.shape) < 0.002
    symbols[far] = random.integers(-3276, 3277, np.count_nonzero(far))
    r = reference.chunk_residuals(z, symbols, level, arrays, dependent)
    return arrays, z, r.astype(np.int16)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize("level", [0, 77, 224])
@pytest.mark.parametrize("seed", [0, 1])
def test_symbols_are_those_that_were_encoded(seed: int, level: int, dependent: bool, joined: bool) -> None:
    arrays, z, r = random_chunk(seed, (2, 3), level, dependent)
    data = encode_chunk(z, r, level, EntropyModel.from_arrays(arrays), dependent=dependent, joined=joined)
    stacks = decoder.stacks_of(data.payloads, joined)
    found_z, found_r = decoder.decode_chunk(stacks, 2, 3, model_of(arrays), level, dependent)
    assert np.array_equal(found_z, z)
    assert np.array_equal(found_r, r)


def test_the_joined_payload_in_the_text_gives_the_parts_in_the_text() -> None:
    cells = [r"(hyper-latents|step \d)", r"`([\d, ]+)`", r"`([-\d, ]+)`", r"`([-\d, ]+)`", r"(\d+)"]
    rows = re.findall(r"^\| " + r"\s*\| +".join(cells) + r"\s*\|$", TEXT, re.M)
    assert [row[0] for row in rows] == ["hyper-latents", "step 0", "step 1"]
    [payload] = re.findall(r"^The payload of the section is `([\da-f ]+)`\.$", TEXT, re.M)
    data, tables = bytes.fromhex(payload), reference.plain_tables(17)
    assert f"how many of the {len(data)} bytes" in TEXT
    (of_hyper_latents, *of_steps) = rows
    choice = np.zeros((8, 3, len(integers(of_hyper_latents[1]))), np.uint8)
    choice[:, 0] = integers(of_hyper_latents[1])
    stacks = decoder.stacks_of([data], True)
    z = decoder.decode_hyper_latents(stacks[0], 1, 1, hyper_model(choice), 100)
    assert z.ravel().tolist() == integers(of_hyper_latents[2]) == integers(of_hyper_latents[3])
    for number, (_, indices, symbols, residuals, _) in enumerate(of_steps):
        found = decoder.decode_residuals(stacks[1 + number], np.array(integers(indices)), text_tables(), 17)
        assert found.tolist() == integers(residuals)
        assert reference.residuals_of(integers(symbols), integers(indices), 17) == integers(residuals)
    decoder.finish_part(stacks, 5)

    def parts_of(length: int) -> int:
        """How many can be used when so many bytes are there."""
        stack, parts = reference.CutStack(data[:length], len(data) - length), 0
        with suppress(reference.CutOffError):
            reference.pull_hyper_latents(stack, (1, 1), 100, choice, tables)
            parts += 1
            for _, indices, *_ in of_steps:
                reference.decode_wave(stack, integers(indices), tables, True)
                parts += 1
        return parts

    lengths = [int(row[4]) for row in rows]
    assert [parts_of(length) for length in lengths] == [1, 2, 3]
    assert [parts_of(length - 1) for length in lengths] == [0, 1, 2]


@pytest.mark.parametrize("part", range(6))
def test_payloads_with_something_left_over_are_refused_whichever_part_they_are_of(part: int) -> None:
    model = model_of(random_entropy_arrays())
    stacks = decoder.stacks_of([b"\1" if number == part else b"" for number in range(6)], False)
    with pytest.raises(decoder.RefusedError, match="corrupted: a payload holds more"):
        decoder.decode_chunk(stacks, 1, 1, model, 100, True)


@pytest.mark.parametrize("tail", [b"\1" * 4, b"\1" * 1000])  # whole words: what is before decodes as ever
def test_joined_payloads_with_something_left_over_are_refused(tail: bytes) -> None:
    arrays, z, r = random_chunk(1, (1, 1), 100, True)
    data = encode_chunk(z, r, 100, EntropyModel.from_arrays(arrays), dependent=True, joined=True)
    stacks = decoder.stacks_of([data.payloads[0] + tail], True)
    with pytest.raises(decoder.RefusedError, match="corrupted: a payload holds more"):
        decoder.decode_chunk(stacks, 1, 1, model_of(arrays), 100, True)


@pytest.mark.parametrize(("payload", "joined"), [(b"\1\0", False), (b"\0\1", True), (b"\0", True)])
def test_payloads_with_a_zero_at_their_end_are_refused(payload: bytes, joined: bool) -> None:
    with pytest.raises(decoder.RefusedError, match="corrupted: a payload ends in a zero byte"):
        decoder.stacks_of([payload], joined)


@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_joined_payloads_that_are_cut_off_give_the_parts_that_the_text_says(
    seed: int, dependent: bool
) -> None:
    level, shape = 80, (1, 2)
    arrays, z, r = random_chunk(seed, shape, level, dependent)
    entropy = EntropyModel.from_arrays(arrays)
    [payload] = encode_chunk(z, r, level, entropy, dependent=dependent, joined=True).payloads
    steps_seen = set()
    for length in np.linspace(1, len(payload), 24).astype(int).tolist():
        there, missing = payload[:length], len(payload) - length
        data = ChunkBytes((there,), joined=True, missing=missing)
        found_z, found_r = decode_chunk(data, shape, level, entropy, dependent=dependent)
        expected = reference.decode_joined_chunk(there, shape, level, arrays, dependent, missing)
        assert np.array_equal(found_z, expected[0])
        assert np.array_equal(found_r, expected[1])
        steps = np.unique(reference.step_of(r.shape)[found_r != 0])
        steps_seen.add(len(steps) if found_z.any() else -1)
        assert np.array_equal(found_r, np.where(reference.step_of(r.shape) < len(steps), r, 0))
    assert steps_seen == {-1, 0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("layer", ["hyper_pointwise_0", "hyper_depthwise_1", "step4_index"])
def test_a_model_that_breaks_the_bound_of_exactness_is_refused(layer: str) -> None:
    arrays = random_entropy_arrays()
    bias = arrays[f"scales/{layer}/bias"]
    bias[..., 0] = 2**24 - 255 * 127
    stacks = [decoder.Stack(b"") for _ in range(6)]
    with pytest.raises(decoder.RefusedError, match=rf"model: {layer}"):
        decoder.decode_chunk(stacks, 1, 1, model_of(arrays), 100, True)


def folder_with(name: str, array: NDArray[Any], tmp_path: Path) -> Path:
    """The folder of a model one array of which was replaced."""
    folder = fake_model(tmp_path).folder
    with np.load(folder / "arrays.npz") as archive:
        arrays = {name: archive[name] for name in archive}
    np.savez(folder / "arrays.npz", **arrays | {name: array})
    return folder


def test_the_values_of_logarithms_and_surprises_in_the_text_are_right() -> None:
    def row(name: str) -> list[int]:
        [found] = re.findall(rf"^\| `{re.escape(name)}` +((?:\| +-?\d+ +)+)\|$", TEXT, re.M)
        return integers(found.replace("|", ",").strip(","))

    assert [decoder.logarithm(n) for n in row("n")] == row("log(n)")
    found, expected = np.array(row("f")), np.array(row("e"))
    assert decoder.surprise(found, expected).tolist() == row("surprise(f, e)")
    own = adaptation._surprise(found.astype(np.int32), expected.astype(np.int32))
    assert own.tolist() == row("surprise(f, e)")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("expected", np.full((2, 64), 1025, np.int16)),
        ("expected", np.full((2, 64), -1, np.int16)),
        ("expected", np.zeros((2, 64), np.int32)),
        ("weight", np.zeros((2, 4, 12, 3), np.int8)),
        ("bias", np.zeros((2, 4, 12), np.int64)),
        ("bias", np.full((2, 4, 12), 2**24, np.int32)),
        ("shift", np.array(0, np.int32)),
        ("shift", np.array(17, np.int32)),
    ],
)
def test_a_model_with_another_adaptation_is_refused(name: str, array: NDArray[Any], tmp_path: Path) -> None:
    with pytest.raises(decoder.RefusedError, match=r"model: adaptation"):
        decoder.read_model(folder_with(f"adaptation/{name}", array, tmp_path))


@pytest.mark.parametrize(
    "choice",
    [np.full((8, 3, 8), 192, np.uint8), np.zeros((8, 6), np.uint8), np.full((8, 3, 8), -1, np.int8)],
)
def test_a_model_with_another_choice_of_tables_is_refused(choice: NDArray[Any], tmp_path: Path) -> None:
    folder = folder_with("tables/hyper_latents/choice", choice, tmp_path)
    with pytest.raises(decoder.RefusedError, match="model: tables/hyper_latents/choice"):
        decoder.read_model(folder)


@pytest.mark.parametrize(
    "tables", [np.full(5, 192, np.uint8), np.zeros((5, 1), np.uint8), np.zeros(5, np.int8)]
)
def test_a_model_with_other_tables_of_coefficients_is_refused(tables: NDArray[Any], tmp_path: Path) -> None:
    folder = folder_with("tables/hyper_latents/of_filter", tables, tmp_path)
    with pytest.raises(decoder.RefusedError, match="of_filter"):
        decoder.read_model(folder)


def test_the_id_of_a_model_is_the_one_in_its_files(tmp_path: Path) -> None:
    model = fake_model(tmp_path)
    assert decoder.read_model(model.folder).id == model.model_id


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_alpha_planes_are_those_that_were_encoded(data: st.DataObject) -> None:
    depth, width, height = (
        data.draw(strategy) for strategy in (st.sampled_from((8, 16)), *[st.integers(1, 20)] * 2)
    )
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    smooth = np.cumsum(random.integers(-9, 10, (height, width)), axis=1) * data.draw(
        st.sampled_from((1, 300))
    )
    plane = (smooth % 2**depth).astype(np.uint8 if depth == 8 else np.uint16)
    header = decoder.Header(1, 3, depth, 0, 64, width, height, bytes(8))
    assert np.array_equal(decoder.read_alpha(plane_to_png(plane), header), plane)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_it_writes_png_files(channels: int, dtype: type[np.generic]) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(dtype)
    data = decoder.png_file(samples)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == (7, 5)
        if dtype is np.uint8 or channels == 1:
            assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_the_command_line_names_the_class_of_a_fault(tmp_path: Path) -> None:
    model = fake_model(tmp_path)
    data = encode(photograph(8, 8), model=model, runtime=CosineRuntime())
    source, target = tmp_path / "in.aec", tmp_path / "out.png"
    source.write_bytes(data[:-1])
    command = [sys.executable, str(PROGRAM), str(model.folder), str(source), str(target)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "truncated: " in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not target.exists()
