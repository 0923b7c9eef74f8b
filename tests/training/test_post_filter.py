"""The basis of post-filters and the tables of its coefficients, as export fits them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="a model is built with Keras")
pytest.importorskip("onnx", reason="pictures pass through ONNX graphs")

from aecodec.codec import decode, encode
from aecodec.container import read_header
from aecodec.entropy import EntropyModel, HyperTables
from aecodec.filter_fitting import MAX_COEFFICIENT, TERMS, FilterFitting, FilterStatistics, quadratic_form
from aecodec.models import Model
from aecodec.post_filter import FilterBasis, with_border
from aecodec.training import post_filter
from aecodec.training.folder import write_model
from aecodec.training.hyper_tables import uniform_hyper_tables
from aecodec.training.post_filter import Sample, empty_basis, fit_post_filters, principal_filters
from tests.helpers import photograph
from tests.networks.helpers import TINY
from tests.training.pictures import picture_set

VALUES = np.arange(-MAX_COEFFICIENT, MAX_COEFFICIENT + 1)
PICTURES = picture_set((200, 130), (128, 192))
CROPS = 6


@pytest.fixture(scope="module")
def fitted(tiny_model: Model) -> dict[str, np.ndarray]:
    return fit_post_filters(tiny_model, PICTURES, CROPS)


@pytest.fixture(scope="module")
def with_filters(
    tiny_model: Model, fitted: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """The tiny model with what was fitted."""
    return write_model(tmp_path_factory.mktemp("fitted") / "tiny", TINY, {**tiny_model.arrays, **fitted})


def planted_statistics(filters: np.ndarray, count: int, noise: float = 0.5) -> list[FilterStatistics]:
    """Pictures whose errors random sums of filters (filter, term, colour) take back, but for noise."""
    random = np.random.default_rng((7, count))
    found = []
    for number in range(count):
        decoded = photograph(48, 64, number).astype(np.float32)
        sizes = random.normal(size=len(filters)) * 3.0 ** -np.arange(len(filters))
        weights = np.tensordot(sizes, filters, 1)
        plain = FilterStatistics.of(with_border(decoded), decoded)
        # Errors are the terms times the weights, and noise: so are their sums.
        noisy = random.normal(0, noise, decoded.shape)
        own = FilterStatistics.of(with_border(decoded), (decoded + noisy).astype(np.float32))
        seen = plain.products @ weights
        energy = float((weights * (seen + 2 * own.errors)).sum()) + own.energy
        found.append(FilterStatistics(plain.products, seen + own.errors, energy))
    return found


def share_left(statistics: list[FilterStatistics], filters: np.ndarray) -> float:
    """Of the errors of all pictures, with the best sums of filters, in the mean."""
    left = []
    for found in statistics:
        curvature, saved = quadratic_form(found, filters, 3.0)
        ridge = 1e-9 * np.trace(curvature) * np.eye(len(curvature))
        left.append(1 - float(saved @ np.linalg.solve(curvature + ridge, saved)) / found.energy)
    return float(np.mean(left))


def random_filters(count: int, seed: int = 5) -> np.ndarray:
    filters = np.random.default_rng(seed).normal(0, 0.02, (count, TERMS, 3))
    filters[:, -1] *= 0.1
    return filters


class TestPrincipalFilters:
    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_planted_filters_are_found(self, count: int) -> None:
        planted = random_filters(count)
        statistics = planted_statistics(planted, 24)
        found = principal_filters(statistics, count)
        assert found.shape == (count, TERMS, 3)
        assert share_left(statistics, found) < share_left(statistics, planted) + 0.02
        assert share_left(statistics, random_filters(count, seed=6)) > 0.3

    def test_the_most_useful_come_first(self) -> None:
        statistics = planted_statistics(random_filters(3), 24)
        found = principal_filters(statistics, 3)
        left = [share_left(statistics, found[number : number + 1]) for number in range(3)]
        assert left == sorted(left)
        firsts = [share_left(statistics, found[: number + 1]) for number in range(3)]
        assert firsts == sorted(firsts, reverse=True)

    def test_more_filters_than_there_are_causes_do_no_harm(self) -> None:
        planted = random_filters(2)
        statistics = planted_statistics(planted, 10)
        found = principal_filters(statistics, 5)
        assert np.isfinite(found).all()
        assert share_left(statistics, found) < share_left(statistics, planted) + 0.02

    def test_one_picture_has_one_filter(self) -> None:
        planted = random_filters(1)
        statistics = planted_statistics(planted, 1)
        found = principal_filters(statistics, 1)
        assert found.shape == (1, TERMS, 3)
        assert share_left(statistics, found) < share_left(statistics, planted) + 0.001


class TestFitting:
    def test_the_arrays_are_those_that_a_model_needs(
        self, fitted: dict[str, np.ndarray], tiny_model: Model
    ) -> None:
        basis = FilterBasis.from_arrays(fitted)
        assert len(basis.kernel) == CROPS  # not more filters than pictures
        assert basis.log_unit.shape == (TINY.level_nodes, CROPS)
        assert all(np.isfinite(array).all() for array in basis.to_arrays().values())
        assert all(array.dtype == np.float32 for array in basis.to_arrays().values())
        hyper = EntropyModel.from_arrays({**tiny_model.arrays, **fitted}).hyper
        assert hyper.coefficient_count == CROPS

    def test_they_are_the_same_each_time(self, fitted: dict[str, np.ndarray], tiny_model: Model) -> None:
        again = fit_post_filters(tiny_model, PICTURES, CROPS)
        assert again.keys() == fitted.keys()
        assert all(np.array_equal(array, again[name]) for name, array in fitted.items())

    def test_tables_of_hyper_latents_stay(self, fitted: dict[str, np.ndarray], tiny_model: Model) -> None:
        before, after = tiny_model.entropy.hyper, HyperTables.from_arrays(fitted)
        assert np.array_equal(before.choice, after.choice)
        for number in np.unique(before.choice):
            assert np.array_equal(before.tables.table(int(number)), after.tables.table(int(number)))

    def test_coefficients_have_tables_that_hyper_latents_do_not_use(
        self, fitted: dict[str, np.ndarray]
    ) -> None:
        hyper = HyperTables.from_arrays(fitted)
        assert not np.isin(hyper.of_filter, hyper.choice).any()
        assert len(np.unique(hyper.of_filter)) == CROPS
        assert np.all(hyper.tables.half_width[hyper.of_filter] == MAX_COEFFICIENT)

    def test_a_coefficient_and_its_opposite_cost_the_same_and_large_ones_more(
        self, fitted: dict[str, np.ndarray]
    ) -> None:
        hyper = HyperTables.from_arrays(fitted)
        bits = hyper.tables.bits_table(VALUES)[hyper.of_filter]
        np.testing.assert_allclose(bits, bits[:, ::-1], atol=0.01)
        assert np.all(bits[:, 0] > bits.min(axis=1) + 3)

    def test_a_coefficient_of_1_moves_a_like_share_of_errors_at_any_level(self, with_filters: Model) -> None:
        basis = FilterBasis.of(with_filters)
        units = np.stack([basis.units(level) for level in range(0, 225, 32)])
        logarithms = np.log(units)
        assert np.isfinite(logarithms).all()
        # Linear in the level.
        np.testing.assert_allclose(np.diff(logarithms, 2, axis=0), 0, atol=1e-3)

    def test_the_model_makes_files_that_are_better_for_them(self, with_filters: Model) -> None:
        picture = PICTURES.pictures[0]
        for level in (97, 194):  # two of those that were fitted
            weight, costs = with_filters.lambda_of_level(level), []
            for effort in (0, 1):
                data = encode(picture, level=level, effort=effort, model=with_filters)
                assert read_header(data).filtered == (effort > 0)
                error = np.square(decode(data, model=with_filters).astype(float) - picture)
                costs.append(8 * len(data) + weight * float(error.sum()) / 3)
            assert costs[1] < costs[0]


class TestFewTables:
    def test_where_too_few_are_free_those_of_hyper_latents_serve(
        self, tiny_model: Model, tmp_path: Path
    ) -> None:
        """All 192 are in use: none is changed."""
        arrays = dict(tiny_model.arrays)
        choice = np.resize(np.arange(192), (8, 3, TINY.hyper_channels)).astype(np.uint8)
        assert len(np.unique(choice)) == 192
        arrays["tables/hyper_latents/choice"] = choice
        model = write_model(tmp_path / "full", TINY, arrays)
        fitted = fit_post_filters(model, PICTURES, 3)
        before, after = model.entropy.hyper, HyperTables.from_arrays(fitted)
        assert np.array_equal(after.choice, choice)
        assert np.array_equal(after.tables.frequencies, before.tables.frequencies)
        assert after.coefficient_count == 3

    def test_then_each_has_the_table_that_suits_it(self) -> None:
        hyper = uniform_hyper_tables(TINY)
        narrow = np.where(VALUES == 0, 1000.0, 0.001)
        wide = np.ones(len(VALUES))
        own = post_filter._with_own_tables(hyper, np.stack([narrow, wide]))
        full = HyperTables(own.tables, np.resize(np.arange(192), hyper.choice.shape).astype(np.uint8))
        again = post_filter._with_own_tables(full, np.stack([wide, narrow, wide]))
        assert again.tables is full.tables
        assert again.of_filter.tolist() == [own.of_filter[number] for number in (1, 0, 1)]


def sample_without_error() -> Sample:
    """Of a picture that is decoded exactly."""
    pixels = photograph(64, 64).astype(np.float32)
    return Sample(FilterStatistics.of(with_border(pixels), pixels), 100, 0.1)


class TestNothingToLearnFrom:
    def test_without_crops_a_model_has_no_filters(self, tiny_model: Model) -> None:
        self.check_empty(fit_post_filters(tiny_model, PICTURES, 0), tiny_model)

    def test_pictures_that_are_decoded_without_error_tell_nothing(
        self, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exact = sample_without_error()
        monkeypatch.setattr(post_filter, "_samples", lambda *_: iter([exact, exact]))
        self.check_empty(fit_post_filters(tiny_model, PICTURES, 2), tiny_model)

    def test_they_do_not_disturb_what_others_tell(
        self, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exact = sample_without_error()
        others = [Sample(found, 50, 0.1) for found in planted_statistics(random_filters(2), 4)]
        results: list[dict[str, Any]] = []
        for samples in (others, [exact, *others, exact]):
            monkeypatch.setattr(post_filter, "_samples", lambda *_, samples=samples: iter(samples))
            results.append(fit_post_filters(tiny_model, PICTURES, 4))
        assert all(np.array_equal(array, results[1][name]) for name, array in results[0].items())

    def check_empty(self, fitted: dict[str, np.ndarray], model: Model) -> None:
        basis, empty = FilterBasis.from_arrays(fitted), empty_basis(TINY)
        for name, array in basis.to_arrays().items():
            assert array.shape == empty.to_arrays()[name].shape
        hyper = HyperTables.from_arrays(fitted)
        assert hyper.coefficient_count == 0
        assert np.array_equal(hyper.tables.frequencies, model.entropy.hyper.tables.frequencies)
        statistics = planted_statistics(random_filters(1), 1)[0]
        assert FilterFitting(basis, hyper).choose(statistics, 100, 1.0).shape == (0,)


def test_a_model_without_filters_makes_files_of_any_effort(tiny_model: Model, tmp_path: Path) -> None:
    arrays = {**tiny_model.arrays, **empty_basis(TINY).to_arrays()}
    arrays["tables/hyper_latents/of_filter"] = np.zeros(0, np.uint8)
    model = write_model(tmp_path / "none", TINY, arrays)
    picture = photograph(70, 90)
    files = [encode(picture, 50, effort=effort, model=model) for effort in (0, 1)]
    assert read_header(files[1]).filtered
    assert np.array_equal(*(decode(data, model=model) for data in files))
