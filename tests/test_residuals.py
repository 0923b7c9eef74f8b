"""The walk through the five steps: encoder and decoder get the same latents, chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from aecodec.entropy import RESIDUAL_UNIT, Tables, decode_chunk, put_step, take_step
from aecodec.entropy.scales import STEP_COUNT
from aecodec.errors import InputError, ModelError
from aecodec.models import Model, load_model_folder
from aecodec.residuals import ResidualCoder, SettledSteps
from aecodec.runtime import open_runtime
from tests.entropy.helpers import FILTER_COEFFICIENTS
from tests.helpers import (
    LATENT_CHANNELS,
    CosineRuntime,
    model_arrays,
    photograph,
    random_coefficients,
    write_model,
)

DEPENDENT = pytest.mark.parametrize("dependent", [False, True])
JOINED = pytest.mark.parametrize("joined", [False, True])
LEVELS = pytest.mark.parametrize("level", [0, 100, 224])


class Noting(CosineRuntime):
    """Keeps what was known in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[NDArray[np.float32]] = []

    def predict_step(self, step: int, features: Any, known: Any, level: int) -> Any:
        self.known.append(np.zeros(0, np.float32) if known is None else known.copy())
        return super().predict_step(step, features, known, level)


@pytest.fixture(scope="module")
def coder(cosine_model: Model) -> ResidualCoder:
    return ResidualCoder(cosine_model, CosineRuntime())


def latents_of(height: int = 192, width: int = 128, seed: int = 0) -> NDArray[np.float32]:
    return CosineRuntime().analyse(photograph(height, width, seed).astype(np.float32), 0)


@LEVELS
@DEPENDENT
@JOINED
def test_the_bytes_give_the_symbols_and_these_the_encoders_latents(
    cosine_model: Model, level: int, dependent: bool, joined: bool
) -> None:
    encoder, decoder = Noting(), Noting()
    latents = latents_of()
    coded = ResidualCoder(cosine_model, encoder).encode(latents, level, dependent=dependent)
    assert coded.z.dtype == coded.r.dtype == np.int16
    data = ResidualCoder(cosine_model, encoder).pack(coded, joined=joined)
    assert data.joined == joined
    z, r = decode_chunk(data, (3, 2), level, cosine_model.entropy, dependent=dependent)
    assert np.array_equal(z, coded.z)
    assert np.array_equal(r, coded.r)
    reconstructed = ResidualCoder(cosine_model, decoder).reconstruct(z, r, level)
    assert reconstructed.dtype == np.float32
    for step, (known, seen) in enumerate(zip(decoder.known, encoder.known, strict=True)):
        assert np.array_equal(known, seen)
        if step:
            expected = np.zeros_like(reconstructed)
            for former in range(step):
                put_step(expected, former, take_step(reconstructed, former))
            assert np.array_equal(known, expected)


@LEVELS
@DEPENDENT
def test_latents_come_back_within_the_errors_of_quantisation(
    coder: ResidualCoder, level: int, dependent: bool
) -> None:
    latents = latents_of()
    step = 2 ** (7 - level / 32)
    coded = coder.encode(latents, level, dependent=dependent)
    errors = np.abs(coder.reconstruct(coded.z, coded.r, level) - latents) / step
    assert errors.max() <= (1.25 if dependent else 0.5) + 0.001


@DEPENDENT
def test_plain_residuals_are_whole_steps_and_dependent_ones_need_not_be(
    coder: ResidualCoder, dependent: bool
) -> None:
    z, r = coder.quantise(latents_of(), 150, dependent=dependent)
    assert bool(np.any(r % RESIDUAL_UNIT)) == dependent
    coded = coder.encode(latents_of(), 150, dependent=dependent)
    assert np.array_equal(coded.z, z)
    assert np.array_equal(coded.r, r)


def test_residuals_are_dependent_unless_told_otherwise(coder: ResidualCoder) -> None:
    latents = latents_of()
    data = coder.pack(coder.encode(latents, 90))
    assert data == coder.pack(coder.encode(latents, 90, dependent=True))
    assert data != coder.pack(coder.encode(latents, 90, dependent=False))


@DEPENDENT
@pytest.mark.parametrize("count", range(STEP_COUNT + 1))
def test_settled_steps_keep_their_residuals_whatever_the_latents(
    coder: ResidualCoder, count: int, dependent: bool
) -> None:
    first = coder.encode(latents_of(), 120, dependent=dependent)
    other = latents_of(seed=1)
    settled = SettledSteps(count, first.r)
    coded = coder.encode(other, 120, dependent=dependent, z=first.z, settled=settled)
    assert np.array_equal(coded.z, first.z)
    former, data = coder.pack(first), coder.pack(coded)
    for step in range(STEP_COUNT):
        same = np.array_equal(take_step(coded.r, step), take_step(first.r, step))
        assert same == (step < count)
        assert (data.payloads[1 + step] == former.payloads[1 + step]) == (step < count)
    z, r = decode_chunk(data, (3, 2), 120, coder.model.entropy, dependent=dependent)
    assert np.array_equal(z, coded.z)
    assert np.array_equal(r, coded.r)
    assert np.array_equal(coder.reconstruct(z, r, 120), coded.latents)


def test_steps_behind_the_settled_ones_are_quantised_for_what_these_predict(coder: ResidualCoder) -> None:
    latents = latents_of()
    first = coder.encode(latents, 120)
    again = coder.encode(latents, 120, z=first.z, settled=SettledSteps(2, first.r))
    assert coder.pack(again) == coder.pack(first)
    altered = first.r.copy()
    put_step(altered, 0, np.zeros_like(take_step(altered, 0)))
    others = coder.encode(latents, 120, dependent=False, z=first.z, settled=SettledSteps(1, altered))
    assert not take_step(others.r, 0).any()
    errors = np.abs(others.latents - latents) / coder.step_sizes(120)
    assert all(take_step(errors, step).max() < 0.501 for step in range(1, STEP_COUNT))


@DEPENDENT
def test_a_post_filter_is_added_to_the_payload_of_hyper_latents_alone(
    coder: ResidualCoder, dependent: bool
) -> None:
    coded = coder.encode(latents_of(), 90, dependent=dependent)
    plain = coder.pack(coded)
    for coefficients in (*random_coefficients(3), np.zeros(FILTER_COEFFICIENTS, np.int16)):
        data = coder.pack(coded, coefficients=coefficients)
        assert data.payloads[1:] == plain.payloads[1:]
        found = np.full(FILTER_COEFFICIENTS, 9, np.int16)
        z, r = decode_chunk(data, (3, 2), 90, coder.model.entropy, dependent=dependent, coefficients=found)
        assert np.array_equal(z, coded.z)
        assert np.array_equal(r, coded.r)
        assert np.array_equal(found, coefficients)


def test_a_post_filter_of_another_model_is_refused(coder: ResidualCoder) -> None:
    coded = coder.encode(latents_of(), 90)
    with pytest.raises(InputError, match="post-filter"):
        coder.pack(coded, coefficients=np.zeros(FILTER_COEFFICIENTS + 1, np.int16))


@DEPENDENT
def test_a_chunk_depends_on_nothing_but_its_latents(coder: ResidualCoder, dependent: bool) -> None:
    latents = [latents_of(seed=seed) for seed in range(3)]
    first = [coder.encode(chunk, 80, dependent=dependent) for chunk in latents]
    again = [coder.encode(chunk, 80, dependent=dependent) for chunk in latents[::-1]][::-1]
    for chunk, other in zip(first, again, strict=True):
        assert coder.pack(chunk) == coder.pack(other)
        found = coder.reconstruct(chunk.z, chunk.r, 80)
        assert np.array_equal(found, coder.reconstruct(other.z, other.r, 80))


def test_a_rectangle_of_a_chunk_is_reconstructed_alone_but_for_its_rim(coder: ResidualCoder) -> None:
    coded = coder.encode(latents_of(384, 320), 120)
    whole = coder.reconstruct(coded.z, coded.r, 120)
    part = coder.reconstruct(coded.z[1:5, 1:4], coded.r[4:20, 4:16], 120)
    assert np.allclose(part[4:-4, 4:-4], whole[8:16, 8:12], atol=1e-3)
    assert not np.allclose(part, whole[4:20, 4:16], atol=1e-3)


def test_a_level_between_two_nodes_has_steps_between_theirs(coder: ResidualCoder) -> None:
    z, r = np.zeros((1, 1, 8), np.int16), np.full((4, 4, LATENT_CHANNELS), 8, np.int16)
    sizes = [coder.reconstruct(z, r, level)[0, 0, 0] for level in (32, 48, 64)]
    assert sizes == pytest.approx([64, 64 / 2**0.5, 32])


@DEPENDENT
def test_a_price_of_bits_makes_fewer_of_them(coder: ResidualCoder, tmp_path: Path, dependent: bool) -> None:
    strict = ResidualCoder(model_of_strength(tmp_path / "strict", 1.0), CosineRuntime())
    assert strict.model.model_id == coder.model.model_id
    codings = [one.encode(latents_of(), 64, dependent=dependent) for one in (coder, strict)]
    data = [coder.pack(coded) for coded in codings]
    assert data[1].size < data[0].size
    _, r = decode_chunk(data[1], (3, 2), 64, coder.model.entropy, dependent=dependent)
    assert np.array_equal(r, codings[1].r)


def test_each_step_is_quantised_by_what_its_own_tables_cost(tmp_path: Path) -> None:
    costly = Tables(np.zeros(192, np.int16), np.tile(np.array([2**24 - 1, 1], np.uint32), 192))
    of_step = {name: array for name, array in costly.to_arrays("step3").items() if "step3" in name}
    models = model_of_strength(tmp_path / "one", 1.0), model_of_strength(tmp_path / "other", 1.0, of_step)
    planes = [ResidualCoder(model, CosineRuntime()).encode(latents_of(), 64).r for model in models]
    one, other = ([np.count_nonzero(take_step(r, step)) for step in range(5)] for r in planes)
    assert other[:3] == one[:3]
    assert other[3] < 0.75 * one[3]
    assert other[4] > 0.9 * one[4] > 0


def model_of_strength(
    folder: Path, strength: float, changes: Mapping[str, NDArray[Any]] | None = None
) -> Model:
    """The same model, but for how much bits count in quantisation, and some arrays."""
    write_model(folder)
    arrays = model_arrays() | dict(changes or {})
    arrays["encoder/rounding_strength/rows"][:] = strength
    np.savez(folder / "arrays.npz", **cast("dict[str, Any]", arrays))
    return load_model_folder(folder)


class Misshapen(CosineRuntime):
    """Gives hyper-latents or means of another shape."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def hyper_latents(self, latents: Any, level: int) -> Any:
        z = super().hyper_latents(latents, level)
        return z[:, :, :-1] if self.what == "hyper-latents" else z

    def predict_step(self, step: int, features: Any, known: Any, level: int) -> Any:
        features, means = super().predict_step(step, features, known, level)
        return features, means[1:] if self.what == "predicted latents" and step == 3 else means


@pytest.mark.parametrize("what", ["hyper-latents", "predicted latents"])
def test_graphs_that_do_not_fit_the_model_are_refused(cosine_model: Model, what: str) -> None:
    coder = ResidualCoder(cosine_model, Misshapen(what))
    with pytest.raises(ModelError, match=what):
        coder.encode(latents_of(), 10)
    if what == "predicted latents":
        z, r = np.zeros((1, 1, 8), np.int16), np.zeros((4, 4, LATENT_CHANNELS), np.int16)
        with pytest.raises(ModelError, match=what):
            coder.reconstruct(z, r, 10)


@DEPENDENT
def test_hostile_latents_are_coded_all_the_same(coder: ResidualCoder, dependent: bool) -> None:
    latents = latents_of(64, 64)
    latents[0, 0, :5] = [np.inf, -np.inf, np.nan, 3e38, -3e38]
    z = np.zeros((1, 1, 8), np.int16)

    class Deaf(CosineRuntime):
        def hyper_latents(self, latents: Any, level: int) -> Any:
            return z

    coded = ResidualCoder(coder.model, Deaf()).encode(latents, 224, dependent=dependent)
    found = decode_chunk(coder.pack(coded), (1, 1), 224, coder.model.entropy, dependent=dependent)
    assert np.array_equal(found[1], coded.r)
    assert np.isfinite(coder.reconstruct(coded.z, coded.r, 224)).all()


def test_a_model_of_networks_gives_the_same_latents_again(tiny_model: Model) -> None:
    runtime = open_runtime("onnx", tiny_model)
    coder = ResidualCoder(tiny_model, runtime)
    latents = runtime.analyse(photograph(128, 192).astype(np.float32), 150)
    for dependent in (False, True):
        coded = coder.encode(latents, 150, dependent=dependent)
        z, r = decode_chunk(coder.pack(coded), (2, 3), 150, tiny_model.entropy, dependent=dependent)
        assert np.array_equal(r, coded.r)
        assert np.array_equal(coder.reconstruct(z, r, 150), coder.reconstruct(coded.z, coded.r, 150))
