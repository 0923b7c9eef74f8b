from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aecodec.entropy import EntropyModel, IntegerScaleNetwork, group_of, positions_of, put_step, take_step
from aecodec.errors import InputError, ModelError
from tests.entropy import reference
from tests.entropy.helpers import Arrays, random_entropy_arrays, random_entropy_model, random_symbols

LEVELS = st.integers(0, 224)


@settings(max_examples=25)
@given(st.integers(0, 10**6), LEVELS, st.sampled_from([(1, 1), (2, 3), (3, 1)]))
def test_the_network_equals_its_definition_in_integers(seed: int, level: int, shape: tuple[int, int]) -> None:
    arrays = random_entropy_arrays(seed)
    network = IntegerScaleNetwork.from_arrays(arrays)
    z, r = random_symbols(seed, random_entropy_model(seed), *shape)
    features = network.features(z, level)
    assert features.dtype == np.uint8
    assert np.array_equal(features, reference.features(arrays, z, level))
    for step in range(5):
        expected = reference.all_step_indices(arrays, step, features.astype(np.int64), r, level)
        indices = network.step_indices(step, features, r, level)
        assert indices.dtype == np.uint8
        assert np.array_equal(indices, take_step(expected, step))


def test_random_networks_use_activations_and_tables_of_all_sizes() -> None:
    model = random_entropy_model(1)
    z, r = random_symbols(1, model, 4, 4)
    features = model.scale_network.features(z, 100)
    indices = model.scale_network.step_indices(2, features, r, 100)
    assert features.std() > 20
    assert len(np.unique(indices)) > 30


def test_wide_networks_do_not_depend_on_the_order_of_summation() -> None:
    arrays = random_entropy_arrays(2, 320, 96, hyper_width=128, feature_channels=96, step_width=128)
    random = np.random.default_rng(0)
    shuffled = dict(arrays)
    order = random.permutation(96)
    shuffled["scales/hyper_pointwise_0/weight"] = arrays["scales/hyper_pointwise_0/weight"][:, order]
    z = random.integers(-40, 41, (1, 2, 96)).astype(np.int16)
    r = random.integers(-9, 10, (4, 8, 320)).astype(np.int16)
    network = IntegerScaleNetwork.from_arrays(arrays)
    features = network.features(z, 33)
    assert np.array_equal(features, IntegerScaleNetwork.from_arrays(shuffled).features(z[:, :, order], 33))
    for step in range(5):
        expected = reference.all_step_indices(arrays, step, features.astype(np.int64), r, 33)
        assert np.array_equal(network.step_indices(step, features, r, 33), take_step(expected, step))


def tight(slack: int) -> Arrays:
    """A model whose first layer can reach 2**24 - 1 - slack, with 528 inputs of the largest weights."""
    arrays = random_entropy_arrays(0, hyper_channels=528)
    name, shift = "scales/hyper_pointwise_0", 4
    arrays[f"{name}/weight"] = np.full((8, 528), 127, np.int8)
    arrays[f"{name}/weight"][1] = -127
    worst = 528 * 127 * 248 + 2 ** (shift - 1)
    arrays[f"{name}/bias"] = np.full((8, 8), 2**24 - 1 - slack - worst, np.int32)
    arrays[f"{name}/shift"] = np.array(shift, np.int32)
    return arrays


def test_the_bound_of_exactness_is_sharp() -> None:
    assert 0 < tight(0)["scales/hyper_pointwise_0/bias"].max() < 2**18
    IntegerScaleNetwork.from_arrays(tight(0))
    with pytest.raises(ModelError, match=r"hyper_pointwise_0.*can reach 16777216"):
        IntegerScaleNetwork.from_arrays(tight(-1))


def test_the_largest_sums_that_the_bound_allows_are_exact() -> None:
    arrays = tight(0)
    network = IntegerScaleNetwork.from_arrays(arrays)
    z = np.tile(np.array([[[32767], [-32767], [31], [-31]]], np.int16), (1, 1, 528))
    z[0, 3, ::2] = 31
    assert np.array_equal(network.features(z, 224), reference.features(arrays, z, 224))


@pytest.mark.parametrize(
    ("layer", "value"),
    [
        ("hyper_depthwise_0", 2**24 - 100),
        ("hyper_pointwise_2", 2**24 - 100),
        ("step3_depthwise", -(2**24)),
        ("step1_index", 2**31 - 1),
        ("step1_pointwise_1", -(2**31)),
    ],
)
def test_biases_that_break_the_bound_are_refused(layer: str, value: int) -> None:
    arrays = random_entropy_arrays(0)
    arrays[f"scales/{layer}/bias"] = arrays[f"scales/{layer}/bias"].copy()
    arrays[f"scales/{layer}/bias"][3] = value
    with pytest.raises(ModelError, match=layer):
        IntegerScaleNetwork.from_arrays(arrays)


@pytest.mark.parametrize("value", [2**18, -(2**18)])
def test_biases_of_a_level_are_below_two_to_the_eighteen(value: int) -> None:
    arrays = random_entropy_arrays(0)
    arrays["scales/step2_pointwise_0/bias"][7, 1] = value
    with pytest.raises(ModelError, match="step2_pointwise_0/bias"):
        IntegerScaleNetwork.from_arrays(arrays)


def test_rounding_counts_towards_the_bound() -> None:
    arrays = random_entropy_arrays(0)
    arrays["scales/step0_depthwise/shift"] = np.array(24, np.int32)
    IntegerScaleNetwork.from_arrays(arrays)
    arrays["scales/step0_depthwise/bias"] = np.full(8, 2**23, np.int32)
    with pytest.raises(ModelError, match="step0_depthwise"):
        IntegerScaleNetwork.from_arrays(arrays)


@pytest.mark.parametrize("shift", [0, 25, -1])
def test_shifts_outside_of_their_range_are_refused(shift: int) -> None:
    arrays = random_entropy_arrays(0)
    arrays["scales/step0_index/shift"] = np.array(shift, np.int32)
    with pytest.raises(ModelError, match="step0_index/shift"):
        IntegerScaleNetwork.from_arrays(arrays)


@pytest.mark.parametrize("name", [n for n in random_entropy_arrays(0) if n.startswith("scales/")])
def test_every_array_is_needed_in_its_dtype_and_shape(name: str) -> None:
    good = random_entropy_arrays(0)[name]
    for bad in (
        None,
        good.astype(np.float32),
        good[np.newaxis],
        np.concatenate((good.ravel(), good.ravel())),
    ):
        arrays = random_entropy_arrays(0)
        if bad is None:
            del arrays[name]
        else:
            arrays[name] = bad
        with pytest.raises(ModelError):
            IntegerScaleNetwork.from_arrays(arrays)


@pytest.mark.parametrize(
    ("name", "axis", "count"),
    [
        ("step1_pointwise_0/weight", 1, 27),
        ("step0_pointwise_0/weight", 1, 28),
        ("hyper_pointwise_1/weight", 0, 46),
        ("step2_pointwise_1/weight", 1, 7),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(name: str, axis: int, count: int) -> None:
    arrays = random_entropy_arrays(0)
    arrays[f"scales/{name}"] = np.resize(
        arrays[f"scales/{name}"],
        [count if a == axis else n for a, n in enumerate(arrays[f"scales/{name}"].shape)],
    )
    with pytest.raises(ModelError):
        IntegerScaleNetwork.from_arrays(arrays)


def test_steps_of_different_numbers_of_latents_are_refused() -> None:
    arrays = random_entropy_arrays(0, latent_channels=16)
    other = random_entropy_arrays(0, latent_channels=32)
    arrays |= {name: other[name] for name in other if name.startswith("scales/step2")}
    with pytest.raises(ModelError, match="five steps"):
        IntegerScaleNetwork.from_arrays(arrays)


def test_an_unknown_residual_must_look_like_zero() -> None:
    arrays = random_entropy_arrays(0)
    arrays["scales/magnitude_lut"][0] = 1
    with pytest.raises(ModelError, match="magnitude_lut"):
        IntegerScaleNetwork.from_arrays(arrays)


@pytest.mark.parametrize("step", range(5))
def test_a_step_sees_the_former_steps_and_nothing_else(step: int) -> None:
    model = random_entropy_model(4)
    network = model.scale_network
    z, r = random_symbols(4, model)
    features = network.features(z, 50)
    expected = network.step_indices(step, features, r, 50)
    later, former = r.copy(), r.copy()
    for other in range(5):
        put_step(later if other >= step else former, other, np.full_like(take_step(r, other), 77))
    assert np.array_equal(network.step_indices(step, features, later, 50), expected)
    if step:
        assert not np.array_equal(network.step_indices(step, features, former, 50), expected)


def test_signs_of_residuals_do_not_matter_and_magnitudes_end_at_2047() -> None:
    arrays = random_entropy_arrays(4)
    arrays["scales/magnitude_lut"] = (np.arange(2048) // 8).astype(np.uint8)
    model = EntropyModel.from_arrays(arrays)
    network = model.scale_network
    z, r = random_symbols(4, model, scale=100.0)
    features = network.features(z, 50)
    expected = network.step_indices(3, features, r, 50)
    assert np.array_equal(network.step_indices(3, features, -r, 50), expected)
    assert np.array_equal(network.step_indices(3, features, r.clip(-2047, 2047), 50), expected)
    assert not np.array_equal(network.step_indices(3, features, r.clip(-1023, 1023), 50), expected)


def test_levels_change_the_indices() -> None:
    model = random_entropy_model(5)
    z, _ = random_symbols(5, model)
    low, high = (model.scale_network.features(z, level) for level in (10, 200))
    assert not np.array_equal(low, high)


@pytest.mark.parametrize("level", [-1, 225])
def test_levels_outside_of_the_scale_are_refused(level: int) -> None:
    model = random_entropy_model(0)
    network = model.scale_network
    z, r = random_symbols(0, model)
    with pytest.raises(InputError, match="level"):
        network.features(z, level)
    with pytest.raises(InputError, match="level"):
        network.step_indices(0, network.features(z, 0), r, level)


def test_planes_of_other_shapes_are_refused() -> None:
    model = random_entropy_model(0)
    network = model.scale_network
    z, r = random_symbols(0, model)
    features = network.features(z, 0)
    calls: list[tuple[Any, ...]] = [
        (0, features[:, :, :3], r, 0),
        (0, features.astype(np.int16), r, 0),
        (0, features[:3], r[:3], 0),
        (0, features, r[:4], 0),
        (0, features, r.astype(np.int32), 0),
        (5, features, r, 0),
        (-1, features, r, 0),
    ]
    for call in calls:
        with pytest.raises(InputError):
            network.step_indices(*call)
    with pytest.raises(InputError):
        network.features(z[:, :, :2], 0)


def test_each_residual_is_coded_in_exactly_one_step() -> None:
    plane = np.zeros((6, 4, 8), np.int16)
    for step in range(5):
        put_step(plane, step, take_step(plane, step) + 1 + step)
    assert np.array_equal(plane, 1 + reference.step_of(plane.shape))


def test_a_step_is_in_raster_order_then_by_channel() -> None:
    plane = np.arange(4 * 6 * 8).reshape(4, 6, 8)
    for step in range(5):
        expected = plane[reference.step_of(plane.shape) == step]
        assert np.array_equal(take_step(plane, step).ravel(), expected)


def test_groups_rotate_over_the_positions_of_a_cell() -> None:
    """The table of section 10.2 of the format."""
    assert [
        [group_of(step, position) if position in positions_of(step) else None for step in range(5)]
        for position in range(4)
    ] == [
        [0, None, 1, 2, 3],
        [None, 3, 0, 1, 2],
        [None, 2, 3, 0, 1],
        [1, None, 2, 3, 0],
    ]


def test_the_first_two_steps_have_half_of_the_positions_each() -> None:
    plane = np.zeros((6, 4, 8), np.int16)
    assert [take_step(plane, step).shape for step in range(5)] == [(6, 2, 2)] * 2 + [(6, 4, 2)] * 3
