"""The basis of a model's post-filters: the principal filters of training pictures.

Each picture has a best filter, by Wiener's normal equations. A basis of few filters shall make up for as much
of all errors as possible; it is found by alternating least squares: the coefficients of each picture by the
basis, then the basis by the coefficients of all pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aecodec.entropy import TABLE_COUNT, HyperTables, Tables, integer_frequencies
from aecodec.filter_fitting import (
    MAX_COEFFICIENT,
    TERMS,
    FilterFitting,
    FilterStatistics,
    cheapest,
    quadratic_form,
    taps_of_terms,
)
from aecodec.models import Model
from aecodec.networks.architecture import Architecture
from aecodec.post_filter import FilterBasis, with_border
from aecodec.residuals import ResidualCoder
from aecodec.runtime import open_runtime
from aecodec.training.data import PictureSet
from aecodec.training.fitting import map_crops

COEFFICIENTS = 16
"""Filters of a basis. Measured on held-out tiles, rate plus lambda times distortion in per cent of the rate,
by 8, 16, 24 and 32 filters: -0.8, -1.1, -1.1 and -1.1 %."""
UNIT = 0.015
"""How much of the root of the errors' energy a coefficient of 1 moves in the mean. Measured likewise: 0.03
to 0.008 differ by 0.1 %."""
ROUNDS = 20
RIDGE = 1e-4
"""Of the mean energy of the terms: pictures say little of some filters."""
DAMPING = 0.01
"""The share of errors from which on pictures that a filter suits well count less."""
FITTINGS = 4
"""Of tables: what is chosen depends on what it costs."""
PRIOR = 0.5
"""Counts that the prior of a table counts."""
_VALUES = np.arange(-MAX_COEFFICIENT, MAX_COEFFICIENT + 1)
_WIDE = 2.0 ** -np.abs(_VALUES)


@dataclass(frozen=True, eq=False)
class Sample:
    """A decoded crop: its statistics, the level, and bits that a squared error counts."""

    statistics: FilterStatistics
    level: int
    weight: float


def empty_basis(architecture: Architecture) -> FilterBasis:
    """The basis of a model without post-filters."""
    return FilterBasis(
        np.zeros((0, 3, 3, 3, 3), np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros((architecture.level_nodes, 0), np.float32),
    )


def fit_post_filters(model: Model, pictures: PictureSet, crops: int, seed: int = 1) -> dict[str, np.ndarray]:
    """The basis of a model's post-filters, and the tables of their coefficients.

    Args:
        model: whose decoded pictures are corrected.
        pictures: of 64 pixels a side at least.
        crops: random ones, at levels over the whole scale.
        seed: of the crops.

    Returns:
        Arrays of a model: those of `FilterBasis` and of `HyperTables`.
    """
    samples = [sample for sample in _samples(model, pictures, crops, seed) if sample.statistics.energy > 0]
    architecture = Architecture.from_dict(model.manifest["architecture"])
    basis = _basis(samples, architecture) if samples else empty_basis(architecture)
    hyper = _with_tables(model.entropy.hyper, basis, samples)
    return basis.to_arrays() | hyper.to_arrays()


def _samples(model: Model, pictures: PictureSet, crops: int, seed: int) -> Iterator[Sample]:
    runtime = open_runtime("onnx", model)
    coder = ResidualCoder(model, runtime)

    def sample(pixels: np.ndarray, level: int) -> Sample:
        coded = coder.encode(runtime.analyse(pixels, level), level)
        decoded = runtime.synthesise(coded.latents, level)
        statistics = FilterStatistics.of(with_border(decoded), pixels)
        return Sample(statistics, level, model.lambda_of_level(level))

    yield from map_crops(sample, model, pictures, crops, seed)


def _basis(samples: Sequence[Sample], architecture: Architecture) -> FilterBasis:
    statistics = [sample.statistics for sample in samples]
    terms = principal_filters(statistics, min(COEFFICIENTS, len(samples)))
    kernel, bias = taps_of_terms(terms)
    log_unit = _log_units(samples, terms, np.arange(architecture.level_nodes) * architecture.sublevels)
    return FilterBasis(kernel.astype(np.float32), bias.astype(np.float32), log_unit.astype(np.float32))


def principal_filters(statistics: Sequence[FilterStatistics], count: int) -> np.ndarray:
    """(count, term, colour) float64: filters, the most useful first.

    Args:
        statistics: of decoded pictures, all with errors.
        count: at most as many as there are pictures.
    """
    products = np.stack([found.products / found.energy for found in statistics])
    errors = np.stack([found.errors / found.energy for found in statistics])
    identity = np.eye(TERMS)
    ridges = 1e-7 * np.trace(products, axis1=1, axis2=2)[:, None, None] * identity
    best = np.linalg.solve(products + ridges, errors)
    weights = 1 / np.sqrt(np.maximum((errors * best).sum(axis=(1, 2)), 0) + DAMPING)
    # Terms of equal energy, and without correlation, in the mean.
    mean = np.tensordot(weights, products, 1) / len(products)
    energies, axes = np.linalg.eigh(mean + 1e-7 * np.trace(mean) / TERMS * identity)
    whitening = (axes / np.sqrt(energies)) @ axes.T
    products = whitening @ products @ whitening
    errors = whitening @ errors
    vectors = (weights[:, None, None] * errors).reshape(len(errors), -1)
    basis = np.linalg.svd(vectors, full_matrices=False)[2][:count].reshape(count, TERMS, 3)
    for _ in range(ROUNDS):
        basis = _orthonormal(_better_basis(_coefficients(basis, products, errors), products, errors, weights))
    chosen = _coefficients(basis, products, errors)
    _, turned = np.linalg.eigh(np.einsum("p,pk,pm->km", weights, chosen, chosen))
    ordered = np.einsum("km,kio->mio", turned[:, ::-1], basis)
    filters: np.ndarray = np.einsum("ij,kjo->kio", whitening, ordered)
    return filters


def _coefficients(basis: np.ndarray, products: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """(picture, coefficient): the best ones."""
    seen = np.einsum("pij,kjo->pkio", products, basis, optimize=True)
    curvature = np.einsum("pkio,mio->pkm", seen, basis, optimize=True)
    saved = np.einsum("kio,pio->pk", basis, errors)
    count = len(basis)
    ridges = 1e-3 * np.trace(curvature, axis1=1, axis2=2)[:, None, None] / count * np.eye(count)
    return np.linalg.solve(curvature + ridges, saved[..., None])[..., 0]


def _better_basis(
    chosen: np.ndarray, products: np.ndarray, errors: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The best basis for these coefficients (picture, coefficient)."""
    count = chosen.shape[1]
    pairs = weights[:, None, None] * chosen[:, :, None] * chosen[:, None, :]
    matrix = np.einsum("pkm,pij->kimj", pairs, products, optimize=True).reshape(count * TERMS, -1)
    right = np.einsum("p,pk,pio->kio", weights, chosen, errors, optimize=True).reshape(count * TERMS, 3)
    ridge = RIDGE * np.trace(matrix) / len(matrix) * np.eye(len(matrix))
    return np.linalg.solve(matrix + ridge, right).reshape(count, TERMS, 3)


def _orthonormal(basis: np.ndarray) -> np.ndarray:
    columns, _ = np.linalg.qr(basis.reshape(len(basis), -1).T)
    return columns.T.reshape(basis.shape)


def _log_units(samples: Sequence[Sample], terms: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(level, coefficient): what a coefficient of 1 counts, so that it always moves about as much of the
    errors: linear in the level.
    """
    energies = []
    for sample in samples:
        curvature, _ = quadratic_form(sample.statistics, terms, 3.0)
        energies.append(np.log(np.maximum(np.diag(curvature) / sample.statistics.energy, 1e-12)))
    design = np.stack([np.ones(len(samples)), [sample.level for sample in samples]], axis=1)
    line = np.linalg.lstsq(design, np.stack(energies), rcond=None)[0]
    log_units: np.ndarray = np.log(UNIT) - (line[0] + np.multiply.outer(levels, line[1])) / 2
    return log_units


def _with_tables(hyper: HyperTables, basis: FilterBasis, samples: Sequence[Sample]) -> HyperTables:
    """The tables with those of the coefficients, as they are chosen by what they cost with them."""
    count = len(basis.kernel)
    found = replace(hyper, of_filter=np.zeros(count, np.uint8))
    if not count:
        return found
    forms = [
        FilterFitting(basis, found).quadratic_form(sample.statistics, sample.level, sample.weight)
        for sample in samples
    ]
    bits = np.tile(1.5 + 0.8 * np.abs(_VALUES), (count, 1))  # a guess
    for _ in range(FITTINGS):
        chosen = np.stack([cheapest(*form, bits) for form in forms]) + MAX_COEFFICIENT
        counts = np.stack([np.bincount(values, minlength=len(_VALUES)) for values in chosen.T])
        found = _with_own_tables(hyper, (counts + counts[:, ::-1]) / 2 + PRIOR * _WIDE)
        bits = found.tables.bits_table(_VALUES)[found.of_filter]
    return found


def _with_own_tables(hyper: HyperTables, counts: np.ndarray) -> HyperTables:
    """The tables with some for counted coefficients (coefficient, value) in place of those that are not used;
    where these are too few, the best ones of all.
    """
    free = np.setdiff1d(np.arange(TABLE_COUNT), hyper.choice)[: len(counts)].astype(np.uint8)
    if len(free) < len(counts):
        cheapest_tables = (counts @ hyper.tables.bits_table(_VALUES).T).argmin(axis=1)
        return replace(hyper, of_filter=cheapest_tables.astype(np.uint8))
    tables = [hyper.tables.table(number) for number in range(TABLE_COUNT)]
    half_width = hyper.tables.half_width.copy()
    for number, count in zip(free, counts, strict=True):
        tables[number] = integer_frequencies([*count, PRIOR * _WIDE[0]])
        half_width[number] = MAX_COEFFICIENT
    own = Tables(half_width, np.concatenate(tables))
    return HyperTables(own, hyper.choice, free)
