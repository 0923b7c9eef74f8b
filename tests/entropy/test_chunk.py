from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aecodec.entropy import (
    ChunkBytes,
    ChunkIndices,
    EntropyModel,
    coded_symbols,
    decode_chunk,
    decode_hyper_latents,
    decode_parts,
    encode_chunk,
    encode_hyper_latents,
    encode_residuals,
    estimate_bits,
    fixed_residuals,
    put_step,
    take_step,
)
from aecodec.errors import CorruptedError, InputError, ModelError
from tests.entropy import reference
from tests.entropy.helpers import (
    FILTER_COEFFICIENTS,
    Arrays,
    random_dependent_symbols,
    random_entropy_arrays,
    random_hyper_tables,
    random_symbols,
)

MODEL = EntropyModel.from_arrays(random_entropy_arrays(0, first_dependent=20))
DEPENDENT = pytest.mark.parametrize("dependent", [False, True])
JOINED = pytest.mark.parametrize("joined", [False, True])


def formula(shape: tuple[int, ...], factor: int, size: int, middle: int) -> np.ndarray:
    """Integers that only a formula determines, the same with every library and version."""
    numbers = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(factor)
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(40)
    return (mixed.astype(np.int64) % size - middle).reshape(shape)


def formula_arrays() -> Arrays:
    """A model from :func:`formula`, with the tables of the test vector in the format text."""
    arrays = random_entropy_arrays(0)
    for source in ("hyper_latents", *(f"step{step}" for step in range(5))):
        arrays |= reference.plain_tables().to_arrays(source)
    for name, array in arrays.items():
        if name.endswith("/weight"):
            arrays[name] = formula(array.shape, 17 + len(name), 255, 127).astype(np.int8)
        elif name.endswith("/bias"):
            shift = int(arrays[name.replace("bias", "shift")])
            middle, size = (12, 40) if "index" in name else (60, 80)
            bias = formula(array.shape, 11 + len(name), size, -middle) << shift
            arrays[name] = bias.clip(max=2**18 - 1).astype(np.int32)
    arrays["tables/hyper_latents/choice"] = formula((8, 3, 6), 5, 192, 0).astype(np.uint8)
    arrays["adaptation/expected"] = formula((2, 64), 19, 1025, 0).astype(np.int16)
    arrays["adaptation/bias"] = formula((2, 4, 4), 23, 4095, 2047).astype(np.int32)
    return arrays


def symbols_of(
    seed: int, dependent: bool, level: int, height: int = 2, width: int = 3, scale: float = 1.5
) -> tuple[np.ndarray, np.ndarray]:
    if dependent:
        return random_dependent_symbols(seed, MODEL, level, height, width, scale)
    return random_symbols(seed, MODEL, height, width, scale)


@settings(max_examples=40)
@given(
    st.integers(0, 10**6),
    st.booleans(),
    st.integers(0, 224),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([0.05, 1.0, 30.0, 3000.0]),
    st.booleans(),
)
def test_chunks_come_back(
    seed: int, dependent: bool, level: int, height: int, width: int, scale: float, joined: bool
) -> None:
    z, r = symbols_of(seed, dependent, level, height, width, scale=scale)
    data = encode_chunk(z, r, level, MODEL, dependent=dependent, joined=joined)
    assert data.whole
    assert (data.joined, len(data.payloads)) == ((True, 1) if joined else (False, 6))
    decoded_z, decoded_r = decode_chunk(data, (height, width), level, MODEL, dependent=dependent)
    assert decoded_z.dtype == decoded_r.dtype == np.int16
    assert np.array_equal(decoded_z, z)
    assert np.array_equal(decoded_r, r)


@DEPENDENT
@pytest.mark.parametrize("seed", range(3))
def test_a_decoder_made_from_the_format_text_reads_chunks(seed: int, dependent: bool) -> None:
    arrays = random_entropy_arrays(seed, latent_channels=16, hyper_channels=5, first_dependent=22)
    model = EntropyModel.from_arrays(arrays)
    z, plain = random_symbols(seed, model, 1, 2)
    r = reference.chunk_residuals(z, plain // 8, 75 * seed, arrays, dependent).astype(np.int16)
    if dependent:
        assert np.array_equal(random_dependent_symbols(seed, model, 75 * seed, 1, 2)[1], r)
    data = encode_chunk(z, r, 75 * seed, model, dependent=dependent)
    decoded_z, decoded_r = reference.decode_chunk(list(data.payloads), (1, 2), 75 * seed, arrays, dependent)
    assert np.array_equal(decoded_z, z)
    assert np.array_equal(decoded_r, r)
    [payload] = encode_chunk(z, r, 75 * seed, model, dependent=dependent, joined=True).payloads
    found = reference.decode_joined_chunk(payload, (1, 2), 75 * seed, arrays, dependent)
    assert np.array_equal(found[0], z)
    assert np.array_equal(found[1], r)


GOLDEN = {
    False: (
        [238, 211, 453, 426, 471],
        ["00000000", "00002000", "0000002b", "000040a5", "006034a0"],
        "73772ee044cdde6ae59616bc08486d9e913ee976f1e334b50be4f8111c7c98d2",
        (1819, "0137fbf1fce7fcf5", "76b5b5516d51e4ef468b832e30fcebe6e108b5da0a8ada8f6fbb23f075be7b36"),
    ),
    True: (
        [215, 185, 402, 377, 424],
        ["00000000", "00002000", "0000002b", "000040a5", "006034a0"],
        "1be9c7ffb689b3572899eea9f17af81ed22b3bbb38df033939b96697d941c57c",
        (1622, "0947f1fcfde8f3fb", "6fc3af2f8194726b99d1db00b571c7a74751ef3eb5663ebead61f833bf2ac687"),
    ),
}


@DEPENDENT
def test_golden_chunk(dependent: bool) -> None:
    arrays = formula_arrays()
    model = EntropyModel.from_arrays(arrays)
    z = formula((2, 3, 6), 7, 9, 4).astype(np.int16)
    symbols = formula((8, 12, 16), 13, 7, 3)
    symbols[5, 7, 3] = -1234
    r = reference.chunk_residuals(z, symbols, 99, arrays, dependent).astype(np.int16)
    data = encode_chunk(z, r, 99, model, dependent=dependent)
    hyper, *residuals = data.payloads
    assert hyper.hex() == "fc12db7af57dfcbfe1bceeffc50bfbf6fffffced476ee36a1c41f9f47ce1fcf1fbff5b"
    lengths, beginnings, digest, of_joined = GOLDEN[dependent]
    assert [len(payload) for payload in residuals] == lengths
    assert [payload[:4].hex() for payload in residuals] == beginnings
    assert hashlib.sha256(b"".join(data.payloads)).hexdigest() == digest
    [payload] = encode_chunk(z, r, 99, model, dependent=dependent, joined=True).payloads
    assert (len(payload), payload[:8].hex(), hashlib.sha256(payload).hexdigest()) == of_joined
    assert np.array_equal(decode_chunk(data, (2, 3), 99, model, dependent=dependent)[1], r)
    assert np.array_equal(reference.decode_chunk(list(data.payloads), (2, 3), 99, arrays, dependent)[1], r)


@DEPENDENT
@JOINED
def test_a_chunk_of_zeros_costs_nothing(dependent: bool, joined: bool) -> None:
    z, r = random_symbols(0, MODEL)
    data = encode_chunk(0 * z, 0 * r, 30, MODEL, dependent=dependent, joined=joined)
    assert data.size == 0
    decoded = decode_chunk(data, (2, 3), 30, MODEL, dependent=dependent)
    assert not any(plane.any() for plane in decoded)


@DEPENDENT
@JOINED
def test_a_level_other_than_that_of_the_encoder_does_not_parse(dependent: bool, joined: bool) -> None:
    z, r = symbols_of(1, dependent, 30)
    data = encode_chunk(z, r, 30, MODEL, dependent=dependent, joined=joined)
    with pytest.raises(CorruptedError):
        decode_chunk(data, (2, 3), 31 + 64, MODEL, dependent=dependent)


@JOINED
def test_dependent_and_plain_residuals_do_not_parse_as_each_other(joined: bool) -> None:
    for dependent in (False, True):
        data = encode_chunk(*symbols_of(1, dependent, 30), 30, MODEL, dependent=dependent, joined=joined)
        with pytest.raises(CorruptedError):
            decode_chunk(data, (2, 3), 30, MODEL, dependent=not dependent)


@DEPENDENT
@pytest.mark.parametrize("count", range(7))
def test_missing_payloads_leave_zeros(count: int, dependent: bool) -> None:
    z, r = symbols_of(2, dependent, 30)
    payloads = encode_chunk(z, r, 30, MODEL, dependent=dependent).payloads
    data = ChunkBytes(payloads[:count])
    assert data.whole == (count == 6)
    decoded_z, decoded_r = decode_chunk(data, (2, 3), 30, MODEL, dependent=dependent)
    assert np.array_equal(decoded_z, z if count else 0 * z)
    assert np.array_equal(decoded_r, np.where(reference.step_of(r.shape) < count - 1, r, 0))


@pytest.mark.parametrize(("most", "joined"), [(6, False), (1, True)])
def test_more_payloads_than_a_chunk_has_are_refused(most: int, joined: bool) -> None:
    with pytest.raises(InputError, match=f"at most {most}"):
        decode_chunk(ChunkBytes((b"",) * (most + 1), joined=joined), (1, 1), 0, MODEL, dependent=False)


@DEPENDENT
@JOINED
def test_parts_are_decoded_one_by_one(dependent: bool, joined: bool) -> None:
    z, r = symbols_of(3, dependent, 200)
    data = encode_chunk(z, r, 200, MODEL, dependent=dependent, joined=joined)
    decoded_z, decoded_r = np.full_like(z, 99), np.full_like(r, 99)
    parts = decode_parts(data, decoded_z, decoded_r, 200, MODEL, dependent=dependent)
    for part, _ in enumerate(parts):
        assert np.array_equal(decoded_z, z)
        assert np.array_equal(decoded_r, np.where(reference.step_of(r.shape) < part, r, 99))
    assert part == 5


def test_the_hyper_latents_of_six_payloads_have_one_of_their_own() -> None:
    z, r = symbols_of(3, True, 200)
    hyper, *_ = encode_chunk(z, r, 200, MODEL, dependent=True).payloads
    assert np.array_equal(decode_hyper_latents(hyper, (2, 3), 200, MODEL.hyper), z)


@DEPENDENT
def test_a_step_can_be_chosen_when_its_table_indices_are_known(dependent: bool) -> None:
    z, r = symbols_of(3, dependent, 200)
    indices = ChunkIndices(z, 200, MODEL.scale_network, MODEL.adaptation)
    found, payloads = np.zeros_like(r), []
    for step, tables in enumerate(MODEL.steps):
        of_network = indices.of_network(step, found)
        residuals = take_step(r, step)
        assert of_network.shape == residuals.shape
        coded = indices.code(step, of_network, fixed_residuals(residuals.ravel()))
        put_step(found, step, coded.residuals.reshape(residuals.shape))
        payloads.append(encode_residuals(coded, tables, dependent=dependent))
    assert tuple(payloads) == encode_chunk(z, r, 200, MODEL, dependent=dependent).payloads[1:]


@DEPENDENT
@given(st.integers(0, 10**6), st.integers(0, 224))
@settings(max_examples=20)
def test_the_coefficients_of_a_post_filter_come_back(dependent: bool, seed: int, level: int) -> None:
    z, r = symbols_of(seed, dependent, level)
    coefficients = np.random.default_rng(seed).integers(-40, 41, FILTER_COEFFICIENTS).astype(np.int16)
    data = encode_chunk(z, r, level, MODEL, dependent=dependent, coefficients=coefficients)
    assert data.payloads[1:] == encode_chunk(z, r, level, MODEL, dependent=dependent).payloads[1:]
    joined = encode_chunk(z, r, level, MODEL, dependent=dependent, coefficients=coefficients, joined=True)
    for layout in (data, joined):
        found = np.zeros_like(coefficients)
        decoded = decode_chunk(layout, z.shape[:2], level, MODEL, dependent=dependent, coefficients=found)
        assert np.array_equal(decoded[0], z)
        assert np.array_equal(decoded[1], r)
        assert np.array_equal(found, coefficients)


def test_coefficients_whose_payload_is_missing_stay_as_they_are() -> None:
    found = np.array([1, 2, 3, 4, 5], np.int16)
    for joined in (False, True):
        nothing = ChunkBytes((), joined=joined)
        decode_chunk(nothing, (2, 3), 100, MODEL, dependent=True, coefficients=found)
    assert found.tolist() == [1, 2, 3, 4, 5]
    z, r = random_symbols(0, MODEL)
    first, *_ = encode_chunk(z, r, 100, MODEL, dependent=False, coefficients=-found).payloads
    decode_chunk(ChunkBytes((first,)), (2, 3), 100, MODEL, dependent=True, coefficients=found)
    assert found.tolist() == [-1, -2, -3, -4, -5]


@DEPENDENT
@pytest.mark.parametrize("part", range(6))
def test_a_refused_part_leaves_its_plane_unchanged(part: int, dependent: bool) -> None:
    z, r = symbols_of(3, dependent, 0)
    payloads = encode_chunk(z, r, 0, MODEL, dependent=dependent).payloads
    data = ChunkBytes((*payloads[:part], b"\x05" * 3000))
    decoded_z, decoded_r = np.full_like(z, 99), np.full_like(r, 99)
    with pytest.raises(CorruptedError):
        list(decode_parts(data, decoded_z, decoded_r, 0, MODEL, dependent=dependent))
    assert np.array_equal(decoded_z, z if part else np.full_like(z, 99))
    assert np.array_equal(decoded_r, np.where(reference.step_of(r.shape) < part - 1, r, 99))


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(0, 224), st.booleans())
def test_any_payloads_give_symbols_or_a_format_error(
    payloads: list[bytes], level: int, dependent: bool
) -> None:
    try:
        z, r = decode_chunk(ChunkBytes((*payloads,)), (1, 1), level, MODEL, dependent=dependent)
    except CorruptedError:
        return
    filled = [*payloads, *[b""] * 6]
    assert encode_chunk(z, r, level, MODEL, dependent=dependent) == ChunkBytes((*filled[:6],))


@DEPENDENT
def test_estimates_are_the_lengths_of_the_payloads(dependent: bool) -> None:
    z, r = symbols_of(6, dependent, 111, 4, 6)
    data = encode_chunk(z, r, 111, MODEL, dependent=dependent)
    bits = estimate_bits(z, r, 111, MODEL, dependent=dependent)
    assert bits.shape == (6,)
    assert np.abs(8 * np.array([len(payload) for payload in data.payloads]) - bits).max() < 32
    joined = encode_chunk(z, r, 111, MODEL, dependent=dependent, joined=True)
    assert abs(8 * joined.size - bits.sum()) < 32


@DEPENDENT
def test_the_symbols_of_a_chunk_cost_what_is_estimated(dependent: bool) -> None:
    z, r = symbols_of(6, dependent, 111)
    coded = coded_symbols(z, r, 111, MODEL, dependent=dependent)
    bits = estimate_bits(z, r, 111, MODEL, dependent=dependent)
    assert len(coded) == 5
    for step, (symbols, tables) in enumerate(coded):
        assert symbols.shape == tables.shape == (take_step(r, step).size,)
        assert bool(np.any(tables >= 64)) == dependent
        assert MODEL.steps[step].cost_in_bits(symbols, tables).sum() == pytest.approx(bits[1 + step])
    of_hyper_latents = MODEL.hyper.symbols_and_tables(z, 111)
    assert MODEL.hyper.tables.cost_in_bits(*of_hyper_latents).sum() == pytest.approx(bits[0])


def test_each_source_has_tables_of_its_own() -> None:
    z, r = symbols_of(6, True, 111)
    expected = encode_chunk(z, r, 111, MODEL, dependent=True)
    assert expected.payloads[0] == encode_hyper_latents(z, 111, MODEL.hyper)
    for step in range(5):
        steps = list(MODEL.steps)
        steps[step] = MODEL.steps[step - 1]
        other = EntropyModel(MODEL.hyper, tuple(steps), MODEL.scale_network, MODEL.adaptation)
        found = encode_chunk(z, r, 111, other, dependent=True)
        changed = [one != two for one, two in zip(found.payloads, expected.payloads, strict=True)]
        assert changed == [number == 1 + step for number in range(6)]


@DEPENDENT
def test_threads_may_share_a_model(dependent: bool) -> None:
    chunks = [symbols_of(seed, dependent, 140) for seed in range(12)]

    def there_and_back(chunk: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        data = encode_chunk(*chunk, 140, MODEL, dependent=dependent)
        return decode_chunk(data, (2, 3), 140, MODEL, dependent=dependent)

    with ThreadPoolExecutor(6) as pool:
        for chunk, decoded in zip(chunks, pool.map(there_and_back, chunks), strict=True):
            assert np.array_equal(chunk[0], decoded[0])
            assert np.array_equal(chunk[1], decoded[1])


def test_planes_that_do_not_fit_are_refused() -> None:
    z, r = random_symbols(0, MODEL)
    planes: list[tuple[np.ndarray, np.ndarray]] = [
        (z[:, :, :-1], r),
        (z, r[:, :, :-1]),
        (z, r[:4]),
        (z[:0], r[:0]),
        (z.astype(np.int32), r),
        (z, r.astype(np.float32)),
        (z[0], r),
    ]
    for bad in planes:
        with pytest.raises(InputError):
            encode_chunk(*bad, 0, MODEL, dependent=True)
        with pytest.raises(InputError):
            estimate_bits(*bad, 0, MODEL, dependent=True)


@DEPENDENT
def test_residuals_between_the_points_of_their_quantisers_are_refused(dependent: bool) -> None:
    z, r = symbols_of(0, dependent, 0)
    r[4, 5, 6] += 1
    with pytest.raises(InputError, match=r"multiples of 8|points of the quantiser"):
        encode_chunk(z, r, 0, MODEL, dependent=dependent)


def test_a_symbol_that_int16_has_but_the_format_has_not_is_refused() -> None:
    z, r = random_symbols(0, MODEL)
    r[0, 0, 0] = -32768
    with pytest.raises(InputError, match="-32768"):
        encode_chunk(z, r, 0, MODEL, dependent=False)


def test_a_hyper_latent_that_int16_has_but_the_format_has_not_is_refused() -> None:
    z, r = random_symbols(0, MODEL)
    z[0, 0, 0] = -32768
    for encode in (encode_chunk, estimate_bits):
        with pytest.raises(InputError, match="32768"):
            encode(z, r, 0, MODEL, dependent=False)


def test_steps_that_differ_in_their_first_dependent_index_or_number_are_refused() -> None:
    other = reference.plain_tables(first_dependent=21)
    for steps in ((*MODEL.steps[:4], other), MODEL.steps[:4]):
        with pytest.raises(ModelError, match="5 steps with one first dependent index"):
            EntropyModel(MODEL.hyper, steps, MODEL.scale_network, MODEL.adaptation)


@pytest.mark.parametrize("shape", [(0, 1), (1, 0), (-1, 2)])
def test_grids_without_positions_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="grid"):
        decode_chunk(ChunkBytes(()), shape, 0, MODEL, dependent=False)


def test_tables_for_other_hyper_latents_than_the_networks_are_refused() -> None:
    arrays = random_entropy_arrays(0, hyper_channels=6)
    arrays |= random_hyper_tables(0, channels=5).to_arrays()
    with pytest.raises(ModelError, match=r"6 channels of hyper-latents\. Found 5"):
        EntropyModel.from_arrays(arrays)


def test_a_model_without_tables_or_layers_is_refused() -> None:
    arrays = random_entropy_arrays(0)
    for prefix in ("tables/hyper_latents/", *(f"tables/step{step}/" for step in range(5)), "scales/"):
        with pytest.raises(ModelError):
            EntropyModel.from_arrays({n: a for n, a in arrays.items() if not n.startswith(prefix)})
