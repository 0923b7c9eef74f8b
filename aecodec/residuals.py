"""Latents <-> hyper-latents and residuals of a chunk, step by step.

A step predicts a part of the latents from what the former steps reconstructed; what the prediction misses is
quantised, and coded. Encoder and decoder walk the same way, and see nothing beyond the chunk: so what the
encoder quantises depends on what it has coded before, exactly as the decoder will know it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy import (
    RESIDUAL_UNIT,
    Choose,
    ChunkBytes,
    ChunkIndices,
    CodedStep,
    Tables,
    encode_steps,
    fixed_residuals,
    put_step,
    take_step,
)
from aecodec.entropy.scales import STEP_COUNT
from aecodec.errors import ModelError
from aecodec.levels import at_level, gain_of
from aecodec.models import Model
from aecodec.quantisation import Quantiser
from aecodec.runtime import Runtime

__all__ = ["CodedChunk", "ResidualCoder", "SettledSteps"]

_HYPER_CELL = 4  # positions of latents along each side of one of hyper-latents
_Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CodedChunk:
    """What a chunk is coded as.

    Attributes:
        z: hyper-latents, int16 (h, w, hyper channels).
        r: residuals, int16 (4 * h, 4 * w, latent channels), in eighths of a quantisation step.
        steps: the same residuals, with the table indices that they are coded with.
        latents: float32, shaped as r, as a decoder will reconstruct them.
        level: 0..224.
        dependent: whether residuals are dependent where the tables provide for it.
    """

    z: NDArray[np.int16]
    r: NDArray[np.int16]
    steps: tuple[CodedStep, ...]
    latents: NDArray[np.float32]
    level: int
    dependent: bool


@dataclass(frozen=True, eq=False)
class SettledSteps:
    """Residuals of the first steps that stay as they are.

    Attributes:
        count: of the steps.
        r: int16 (4 * h, 4 * w, latent channels), as of `CodedChunk`, by the same hyper-latents.
    """

    count: int
    r: NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class ResidualCoder:
    """Codes the latents of chunks. Threads may share it.

    Attributes:
        model: whose latents they are.
        runtime: computes the prediction.
    """

    model: Model
    runtime: Runtime

    def encode(
        self,
        latents: _Float,
        level: int,
        *,
        dependent: bool = True,
        z: NDArray[np.int16] | None = None,
        settled: SettledSteps | None = None,
    ) -> CodedChunk:
        """Code the latents of a chunk.

        Args:
            latents: float32 (4 * h, 4 * w, latent channels).
            level: 0..224.
            dependent: whether to quantise with dependent quantisers where the tables provide for it.
            z: hyper-latents to take instead of those of these latents.
            settled: residuals to take instead of those of these latents.

        Raises:
            ModelError: a graph gives arrays of other shapes than the model says.
        """
        z = self.hyper_latents(latents, level) if z is None else z
        quantiser_of = _dependent_quantiser if dependent else _plain_quantiser
        gain = gain_of(self._at_level("encoder/log_gain", level))
        strength = self._at_level("encoder/rounding_strength", level)
        r, reconstructed = np.zeros(latents.shape, np.int16), np.zeros(latents.shape, np.float32)
        entropy, coded = self.model.entropy, list[CodedStep]()
        with ThreadPoolExecutor(1, thread_name_prefix="aecodec-chunk") as pool:
            # Float networks run beside the integer network.
            first = pool.submit(self.runtime.hyper_features, z, level)
            indices = ChunkIndices(z, level, entropy.scale_network, entropy.adaptation)
            features = first.result()
            for step in range(STEP_COUNT):
                prediction = pool.submit(self._predict, step, features, reconstructed, level)
                of_network = indices.of_network(step, r)
                features, means = prediction.result()
                if settled is not None and step < settled.count:
                    choose = fixed_residuals(take_step(settled.r, step).ravel())
                else:
                    scaled = _times(take_step(latents, step) - means, gain, step)
                    strengths = _times(np.ones_like(scaled), strength, step)
                    quantiser = entropy.steps[step].prepared(quantiser_of)
                    choose = _quantised(quantiser, scaled.ravel(), strengths.ravel())
                coded.append(indices.code(step, of_network, choose))
                put_step(r, step, coded[-1].residuals.reshape(means.shape))
                self._reconstruct(step, means, r, level, reconstructed)
        return CodedChunk(z, r, tuple(coded), reconstructed, level, dependent)

    def pack(
        self,
        chunk: CodedChunk,
        *,
        joined: bool = False,
        coefficients: NDArray[np.int16] | None = None,
    ) -> ChunkBytes:
        """The payloads of a chunk.

        Args:
            chunk: of this model.
            joined: whether into one payload.
            coefficients: int16 (coefficient,), of the chunk's post-filter, in a file that has them.

        Raises:
            InputError: there is another number of coefficients than the model has.
        """
        return encode_steps(
            chunk.z,
            chunk.steps,
            chunk.level,
            self.model.entropy,
            dependent=chunk.dependent,
            coefficients=coefficients,
            joined=joined,
        )

    def hyper_latents(self, latents: _Float, level: int) -> NDArray[np.int16]:
        """The hyper-latents (h, w, hyper channels) of the latents of a chunk.

        Raises:
            ModelError: the graph gives an array of another shape than the model says.
        """
        rows, columns, _ = latents.shape
        z = self.runtime.hyper_latents(latents, level)
        expected = (rows // _HYPER_CELL, columns // _HYPER_CELL, self.model.hyper_channels)
        self._check("hyper-latents", z, expected)
        return z

    def step_sizes(self, level: int) -> _Float:
        """(latent channels,): how much of a latent a quantisation step is."""
        return gain_of(self._at_level("log_inverse_gain", level))

    def quantise(
        self, latents: _Float, level: int, *, dependent: bool = True
    ) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """The symbols alone: ``(z, r)`` of :meth:`encode`."""
        coded = self.encode(latents, level, dependent=dependent)
        return coded.z, coded.r

    def reconstruct(
        self,
        z: NDArray[np.int16],
        r: NDArray[np.int16],
        level: int,
        *,
        ready: Callable[[int], None] | None = None,
    ) -> _Float:
        """The latents of a chunk, or of a rectangle of it: the decoder's way.

        Args:
            z: as of :class:`CodedChunk`.
            r: as of :class:`CodedChunk`.
            level: 0..224.
            ready: called before the residuals of a step are read, which need not be there earlier.

        Returns:
            float32 (4 * h, 4 * w, latent channels).

        Raises:
            ModelError: a graph gives arrays of other shapes than the model says.
        """
        latents = np.zeros(r.shape, np.float32)
        features = self.runtime.hyper_features(z, level)
        for step in range(STEP_COUNT):
            features, means = self._predict(step, features, latents, level)
            if ready is not None:
                ready(step)
            self._reconstruct(step, means, r, level, latents)
        return latents

    def _predict(self, step: int, features: _Float, known: _Float, level: int) -> tuple[_Float, _Float]:
        """Features and, of the latents that the step codes, the means."""
        features, means = self.runtime.predict_step(step, features, known if step else None, level)
        self._check("predicted latents", means, known.shape)
        return features, take_step(means, step)

    def _reconstruct(
        self, step: int, means: _Float, r: NDArray[np.int16], level: int, latents: _Float
    ) -> None:
        """Put the latents that a step codes into their plane."""
        size = self.step_sizes(level) / np.float32(RESIDUAL_UNIT)
        put_step(latents, step, means + _times(take_step(r, step).astype(np.float32), size, step))

    def _check(self, what: str, found: NDArray[np.generic], expected: tuple[int, ...]) -> None:
        if found.shape != expected:
            raise ModelError(
                f"Expected the graphs of model {self.model.name} to give {what} of shape {expected}. "
                f"Found: {found.shape}. Install the model again"
            )

    @cached_property
    def _tables(self) -> dict[str, _Float]:
        names = ("log_inverse_gain", "encoder/log_gain", "encoder/rounding_strength")
        return {name: np.asarray(self.model.arrays[f"{name}/rows"], np.float32) for name in names}

    def _at_level(self, name: str, level: int) -> _Float:
        """(latent channels,): a table of the level, interpolated linearly between its nodes."""
        rows = self._tables[name]
        return at_level(rows, level, (self.model.level_count - 1) // (len(rows) - 1))


def _quantised(quantiser: Quantiser, scaled: _Float, strength: _Float) -> Choose:
    """Quantises the waves of a step, whose residuals before quantisation and strengths of the rate, in coding
    order, are these.
    """
    return lambda places, indices: quantiser.quantise(scaled[places], indices, strength[places])


def _dependent_quantiser(tables: Tables) -> Quantiser:
    return Quantiser(tables, dependent=True)


def _plain_quantiser(tables: Tables) -> Quantiser:
    return Quantiser(tables, dependent=False)


def _times(plane: _Float, vector: _Float, step: int) -> _Float:
    """What `take_step` gives times a vector (latent channels,), in place."""
    pattern = take_step(np.broadcast_to(vector, (2, 2, len(vector))), step)  # of a 2x2 cell
    rows, columns, channels = plane.shape
    cells = plane.reshape(rows // 2, 2, columns // pattern.shape[1], pattern.shape[1], channels)
    cells *= pattern[:, np.newaxis]
    return plane
