"""Random entropy models of any size, for tests that need a model but no training."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy import (
    ADAPTED_STEPS,
    CONTEXT_COUNT,
    INDEX_COUNT,
    RESIDUAL_UNIT,
    TABLE_COUNT,
    WAVE_COUNT,
    Adaptation,
    Choose,
    ChunkIndices,
    CodedStep,
    EntropyModel,
    HyperTables,
    Lanes,
    Tables,
    decode_hyper_latents,
    encode_hyper_latents,
    integer_frequencies,
    logistic_tables,
    put_step,
    step_source,
    take_step,
)
from aecodec.entropy.adaptation import BAND, Places
from aecodec.entropy.coder import PayloadReader
from aecodec.entropy.dependent import advanced, residuals_of
from aecodec.entropy.scales import GROUP_COUNT, STEP_COUNT

Arrays = dict[str, NDArray[Any]]

FILTER_COEFFICIENTS = 5


def random_entropy_model(
    seed: int = 0, latent_channels: int = 16, hyper_channels: int = 6, **widths: int
) -> EntropyModel:
    """An entropy model with random weights; the widths are those of :func:`random_entropy_arrays`."""
    return EntropyModel.from_arrays(random_entropy_arrays(seed, latent_channels, hyper_channels, **widths))


def random_entropy_arrays(
    seed: int = 0,
    latent_channels: int = 16,
    hyper_channels: int = 6,
    hyper_width: int = 8,
    feature_channels: int = 12,
    step_width: int = 8,
    first_dependent: int = 64,
) -> Arrays:
    """The arrays of a random entropy model, scaled so that its table indices spread over all 64 tables. Each
    source has tables of its own.
    """
    random = np.random.default_rng(seed)
    arrays = random_hyper_tables(seed, hyper_channels).to_arrays()
    for step in range(STEP_COUNT):
        arrays |= _step_tables(step, first_dependent).to_arrays(step_source(step))
    widths = (hyper_channels, hyper_width, 4 * feature_channels, 4 * feature_channels)
    arrays |= _pointwise(random, "hyper_pointwise_0", widths[0], widths[1], nodes=8)
    arrays |= _depthwise(random, "hyper_depthwise_0", hyper_width)
    arrays |= _pointwise(random, "hyper_pointwise_1", hyper_width, 4 * feature_channels)
    arrays |= _depthwise(random, "hyper_depthwise_1", feature_channels)
    arrays |= _pointwise(random, "hyper_pointwise_2", feature_channels, 4 * feature_channels)
    arrays |= _depthwise(random, "hyper_depthwise_2", feature_channels)
    for step in range(5):
        inputs = feature_channels + (latent_channels if step else 0)
        arrays |= _pointwise(random, f"step{step}_pointwise_0", inputs, step_width, nodes=8)
        arrays |= _depthwise(random, f"step{step}_depthwise", step_width)
        arrays |= _pointwise(random, f"step{step}_pointwise_1", step_width, step_width)
        arrays |= _pointwise(random, f"step{step}_index", step_width, latent_channels, spread=24, middle=28)
    arrays |= random_adaptation(seed, latent_channels // GROUP_COUNT).to_arrays()
    arrays["scales/magnitude_lut"] = np.minimum(3 * np.arange(2048), 255).astype(np.uint8)
    return arrays


def random_adaptation(seed: int = 0, channels: int = 4) -> Adaptation:
    """One that moves indices by many places, for groups of so many channels."""
    random = np.random.default_rng((seed, channels))
    shape = (ADAPTED_STEPS, WAVE_COUNT, channels)
    expected = np.sort(random.integers(0, 1025, (ADAPTED_STEPS, INDEX_COUNT)).astype(np.int16))
    weight = random.integers(-127, 128, (*shape, channels // BAND + 1)).astype(np.int8)
    bias = random.integers(-(2**11), 2**11, shape).astype(np.int32)
    return Adaptation(expected, weight, bias, 10)


def random_hyper_tables(seed: int = 0, channels: int = 6) -> HyperTables:
    """Tables of hyper-latents, wide ones last, no two alike and none symmetric but the narrowest, and any of
    them for each channel and for each coefficient of a post-filter.
    """
    random = np.random.default_rng((seed, channels))
    half_widths = np.arange(TABLE_COUNT) // 16
    frequencies = []
    for half in half_widths.tolist():
        magnitudes = np.abs(np.arange(-half, half + 2))  # the escape, last, is as rare as what is beyond
        weights = 2.0 ** (-8 * magnitudes / (half + 1)) * random.uniform(0.2, 1, 2 * half + 2)
        frequencies.append(integer_frequencies(weights))
    choice = random.integers(0, TABLE_COUNT, (8, CONTEXT_COUNT, channels)).astype(np.uint8)
    of_filter = random.integers(0, TABLE_COUNT, FILTER_COEFFICIENTS).astype(np.uint8)
    return HyperTables(Tables(half_widths.astype(np.int16), np.concatenate(frequencies)), choice, of_filter)


def one_group(indices: NDArray[Any] | list[int], tables: Tables) -> HyperTables:
    """What codes the channels of a single position, at any level, with the tables of these indices."""
    choice = np.broadcast_to(np.array(indices, np.uint8), (8, CONTEXT_COUNT, len(indices)))
    return HyperTables(tables, choice)


def encode_group(symbols: NDArray[Any], indices: NDArray[Any] | list[int], tables: Tables) -> bytes:
    """Code integers (symbol,) as one group: the channels of a single position."""
    plane = symbols.astype(np.int16).reshape(1, 1, -1)
    return encode_hyper_latents(plane, 0, one_group(indices, tables))


def decode_group(data: bytes, indices: NDArray[Any] | list[int], tables: Tables) -> NDArray[np.int16]:
    """Decode what :func:`encode_group` wrote."""
    return decode_hyper_latents(data, (1, 1), 0, one_group(indices, tables)).ravel()


@cache
def _step_tables(step: int, first_dependent: int) -> Tables:
    return logistic_tables(first_dependent, scale_max=40.0 - 4 * step, blend=(0.02 + 0.03 * step, 3.0))


def random_symbols(
    seed: int, model: EntropyModel, height: int = 2, width: int = 3, scale: float = 1.5
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Random ``(z, r)`` of (height, width) hyper-latents, with a few symbols far outside of every table; the
    residuals are plain.
    """
    random = np.random.default_rng(seed)
    network = model.scale_network
    z = _laplacian(random, (height, width, network.hyper_channels), scale, 32767)
    symbols = _laplacian(random, (4 * height, 4 * width, network.latent_channels), scale, 3276)
    return z, RESIDUAL_UNIT * symbols


def random_dependent_symbols(
    seed: int, model: EntropyModel, level: int, height: int = 2, width: int = 3, scale: float = 1.5
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """The same symbols, where those of large indices stand for dependent residuals."""
    z, plain = random_symbols(seed, model, height, width, scale)
    r = np.zeros_like(plain)
    indices = ChunkIndices(z, level, model.scale_network, model.adaptation)
    for step in range(STEP_COUNT):
        of_network = indices.of_network(step, r)
        coded = indices.code(step, of_network, dependent_of(take_step(plain, step).ravel(), model))
        put_step(r, step, coded.residuals.reshape(of_network.shape))
    return z, r


def dependent_of(plain: NDArray[np.int16], model: EntropyModel) -> Choose:
    """Residuals with the symbols of plain ones (residual,)."""

    def choose(places: Places, indices: NDArray[np.uint8]) -> NDArray[np.int16]:
        residuals = plain[places].copy()
        lanes = Lanes.of(indices, model.first_dependent)
        residuals[lanes.order] = of_lanes(lanes, residuals[lanes.order] // RESIDUAL_UNIT)
        return residuals

    return choose


def one_wave(residuals: NDArray[np.int16], indices: NDArray[np.uint8]) -> CodedStep:
    """The residuals of a step that has one wave."""
    return CodedStep(residuals, ((slice(None), indices),))


def decode_wave(
    data: bytes, indices: NDArray[np.uint8], tables: Tables, *, dependent: bool
) -> NDArray[np.int16]:
    """Decode the payload of a step that has one wave."""
    reader = PayloadReader(data)
    residuals = reader.pull_wave(indices, tables, dependent=dependent)
    reader.finish()
    return residuals


def of_lanes(lanes: Lanes, symbols: NDArray[Any]) -> NDArray[np.int32]:
    """What symbols, in the order of the lanes, stand for, in eighths of a step."""
    residuals = np.empty(len(symbols), np.int32)
    states = np.zeros(lanes.columns, np.uint8)
    for row in lanes.rows:
        of_row = symbols[row].astype(np.int32)
        states = states[: len(of_row)]
        residuals[row] = residuals_of(of_row, states & np.uint8(1))
        states = advanced(states, of_row)
    return residuals


def _laplacian(
    random: np.random.Generator, shape: tuple[int, ...], scale: float, limit: int
) -> NDArray[np.int16]:
    plane = np.rint(random.laplace(0, scale, shape))
    far = random.random(shape) < 0.002
    plane[far] = random.integers(-limit, limit + 1, np.count_nonzero(far))
    return plane.clip(-limit, limit).astype(np.int16)


def _pointwise(
    random: np.random.Generator,
    name: str,
    inputs: int,
    outputs: int,
    nodes: int | None = None,
    spread: float = 60,
    middle: float = 100,
) -> Arrays:
    weight = random.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    bias_shape = (outputs,) if nodes is None else (nodes, outputs)
    return _layer(random, name, weight, bias_shape, 73 * 128 * inputs**0.5, spread, middle)


def _depthwise(random: np.random.Generator, name: str, channels: int) -> Arrays:
    weight = random.integers(-127, 128, (3, 3, channels)).astype(np.int8)
    return _layer(random, name, weight, (channels,), 73 * 128 * 3.0, 60, 100)


def _layer(
    random: np.random.Generator,
    name: str,
    weight: NDArray[np.int8],
    bias_shape: tuple[int, ...],
    deviation: float,
    spread: float,
    middle: float,
) -> Arrays:
    """A layer with outputs of about ``middle`` +- ``spread``, for sums that deviate by ``deviation``."""
    shift = max(1, round(np.log2(deviation / spread)))
    bias = random.normal(middle, spread / 2, bias_shape) * 2**shift
    return {
        f"scales/{name}/weight": weight,
        f"scales/{name}/bias": np.clip(bias, -(2**18) + 1, 2**18 - 1).astype(np.int32),
        f"scales/{name}/shift": np.array(shift, np.int32),
    }
