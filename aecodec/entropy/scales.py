"""The integer network that says which table codes which residual.

It has int8 weights, integer biases, uint8 activations, and rescales by powers of two; it knows the
hyper-latents and the magnitudes of the residuals of former steps, all of them integers that encoder and
decoder share. Its result is therefore the same on every machine, which a float network's is not (Balle et
al., "Integer networks for data compression with latent-variable models", ICLR 2019). The five steps,
channel groups rotating over the positions of each 2x2 cell, follow Minnen and Singh's channel-conditional
and He et al.'s checkerboard contexts ("ELIC", CVPR 2022) and Li et al.'s quadtree partition ("DCVC-DC",
CVPR 2023), whose first step is cut in two here, by the colours of a checkerboard: it knows least and costs
most. The normative text is section 10 of ``formats/aec.md``.

The integers are held as float32, because that is what fast matrix products take. A float32 holds every
integer up to ``2**24`` exactly, so sums are exact in any order as long as no partial sum can pass that
bound, which is proved from the weights when a network is loaded; a network that fails is refused. Rescaling
is exact too: a sum below ``2**24`` times a power of two has no more than 24 significant bits.

Of each step only what it needs is computed: the residuals known so far as inputs, the group in turn as
outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aecodec.entropy.tables import INDEX_COUNT
from aecodec.errors import InputError, ModelError

STEP_COUNT: Final = 5
GROUP_COUNT: Final = 4
NODE_COUNT: Final = 8
MAX_LEVEL: Final = (NODE_COUNT - 1) << 5

_EXACT: Final = 1 << 24
_MAX_BIAS_OF_LEVEL: Final = 1 << 18
_MAX_HYPER_INPUT: Final = 31
_HYPER_INPUT_SCALE: Final = 8
_ACTIVATION_TOP: Final = 255
_MAGNITUDES: Final = 2048  # that are told apart: below 256 steps, in eighths
_ROWS: Final = 8
_POSITIONS: Final = 4  # of a 2x2 cell
_BAND: Final = 1 << 16  # elements that a depthwise layer works on at a time: they fit into a core's cache
_Float = NDArray[np.float32]


def positions_of(step: int) -> tuple[int, ...]:
    """The positions ``2 * (row & 1) + (column & 1)`` of each 2x2 cell that a step codes at: those of one or
    the other colour of a checkerboard for the first two steps, all four for the others.
    """
    return ((0, 3), (1, 2))[step] if step < 2 else (0, 1, 2, 3)


def group_of(step: int, position: int) -> int:
    """The channel group that a step codes at one of its positions."""
    return (max(step - 1, 0) - position) % GROUP_COUNT


def take_step(plane: NDArray[Any], step: int) -> NDArray[Any]:
    """Take the residuals of a step out of a plane (height, width, L), both sides even.

    Returns:
        A new array (height, n, L / 4) of the same dtype: at each of the n positions of a row that the step
        codes at (half of them in steps 0 and 1, else all), its group of channels. Its elements in C order are
        in coding order.
    """
    height, width, channels = plane.shape
    group_size = channels // GROUP_COUNT
    result = np.empty(_shape_of_step(step, height, width, group_size), plane.dtype)
    for position in positions_of(step):
        taken = _cells(plane, position)[:, :, _channels(step, position, group_size)]
        _cells_of_step(result, step, position)[:] = taken
    return result


def put_step(plane: NDArray[Any], step: int, values: NDArray[Any]) -> None:
    """Put the residuals of a step into a plane (height, width, L), in place: mirrors :func:`take_step`."""
    group_size = plane.shape[2] // GROUP_COUNT
    for position in positions_of(step):
        put = _cells_of_step(values, step, position)
        _cells(plane, position)[:, :, _channels(step, position, group_size)] = put


@dataclass(frozen=True, eq=False)
class IntegerScaleNetwork:
    """The integer network of a model; all its methods are pure, and safe to call from several threads.

    Build it with :meth:`from_arrays`. Z, F and L are the numbers of hyper-latent, feature and latent
    channels.
    """

    hyper_channels: int
    feature_channels: int
    latent_channels: int
    _hyper: _HyperLayers
    _steps: tuple[_StepLayers, ...]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> IntegerScaleNetwork:
        """Read the layers ``scales/...`` of a model and prove that float32 computes them exactly.

        Raises:
            ModelError: An array is missing, of another dtype or shape, or the bound of exactness does
            not hold.
        """
        reader = _Reader(arrays)
        hyper = _HyperLayers.read(reader)
        magnitudes = reader.magnitudes()
        features = hyper.depthwise_2.channels
        steps = tuple(_StepLayers.read(reader, step, features, magnitudes) for step in range(STEP_COUNT))
        latents = {step.group_size * GROUP_COUNT for step in steps}
        if len(latents) != 1:
            raise ModelError(
                f"Expected five steps of one number of latents. Found {latents}. Reinstall the model."
            )
        return cls(hyper.pointwise_0.inputs, features, latents.pop(), hyper, steps)

    def features(self, z: NDArray[np.int16], level: int) -> NDArray[np.uint8]:
        """The hyper branch.

        Args:
            z: int16 (h, w, Z), the hyper-latents.
            level: 0..224.

        Returns:
            uint8 (4 * h, 4 * w, F).

        Raises:
            InputError: ``z`` has another number of channels, or ``level`` is outside of its range.
        """
        if z.ndim != 3 or z.shape[2] != self.hyper_channels:
            raise InputError(f"Expected hyper-latents (h, w, {self.hyper_channels}). Received {z.shape}.")
        return self._hyper.apply(z, checked_level(level))

    def step_indices(
        self, step: int, features: NDArray[np.uint8], r: NDArray[np.int16], level: int
    ) -> NDArray[np.uint8]:
        """The tables of the residuals of one step.

        Args:
            step: 0..4.
            features: uint8 (height, width, F), from :meth:`features`.
            r: int16 (height, width, L), eighths of a step, of which only the residuals of the former steps
                are read.
            level: 0..224.

        Returns:
            uint8, 0..63, of the shape and in the order of :func:`take_step`: the table of each residual.

        Raises:
            InputError: An array has another shape, or ``step`` or ``level`` is outside of its range.
        """
        if not 0 <= step < STEP_COUNT:
            raise InputError(f"Expected a step in 0..{STEP_COUNT - 1}. Received {step}.")
        expected = (*features.shape[:2], self.latent_channels)
        of_features = features.dtype == np.uint8 and features.shape[2:] == (self.feature_channels,)
        if not of_features or r.dtype != np.int16 or r.shape != expected or r.shape[0] % 2 or r.shape[1] % 2:
            raise InputError(
                f"Expected features uint8 (height, width, {self.feature_channels}) and residuals int16 "
                f"(height, width, {self.latent_channels}), both sides even. "
                f"Received {features.dtype} {features.shape} and {r.dtype} {r.shape}."
            )
        return self._steps[step].apply(features, r, checked_level(level))


@dataclass(frozen=True, eq=False)
class _HyperLayers:
    """From the hyper-latents at 1/64 to the features at 1/16."""

    pointwise_0: _Pointwise
    depthwise_0: _Depthwise
    pointwise_1: _Pointwise
    depthwise_1: _Depthwise
    pointwise_2: _Pointwise
    depthwise_2: _Depthwise

    @classmethod
    def read(cls, reader: _Reader) -> _HyperLayers:
        top_input = _HYPER_INPUT_SCALE * _MAX_HYPER_INPUT
        pointwise_0 = reader.pointwise("hyper_pointwise_0", None, top_input, with_level=True)
        depthwise_0 = reader.depthwise("hyper_depthwise_0", pointwise_0.outputs)
        pointwise_1 = reader.pointwise("hyper_pointwise_1", depthwise_0.channels, outputs_divide_by=4)
        depthwise_1 = reader.depthwise("hyper_depthwise_1", pointwise_1.outputs // 4)
        pointwise_2 = reader.pointwise("hyper_pointwise_2", depthwise_1.channels, outputs_divide_by=4)
        depthwise_2 = reader.depthwise("hyper_depthwise_2", pointwise_2.outputs // 4)
        return cls(pointwise_0, depthwise_0, pointwise_1, depthwise_1, pointwise_2, depthwise_2)

    def apply(self, z: NDArray[np.int16], level: int) -> NDArray[np.uint8]:
        x = np.clip(z, -_MAX_HYPER_INPUT, _MAX_HYPER_INPUT).astype(np.float32) * np.float32(
            _HYPER_INPUT_SCALE
        )
        x = self.depthwise_0.apply(_padded(self.pointwise_0.apply(x, level)))
        x = self.depthwise_1.apply(_padded(_depth_to_space(self.pointwise_1.apply(x, level))))
        x = self.depthwise_2.apply(_padded(_depth_to_space(self.pointwise_2.apply(x, level))))
        return x.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class _StepLayers:
    """From the features and the known residuals to the table indices of one step."""

    step: int
    group_size: int
    magnitudes: _Float  # (65536,), what a residual tells, by the bits of its int16
    pointwise_0: tuple[_Pointwise, ...]  # for each of four positions: the features and the groups known there
    depthwise: _Depthwise
    pointwise_1: _Pointwise
    index: Mapping[int, _Pointwise]  # for each position of the step: the group in turn there

    @classmethod
    def read(cls, reader: _Reader, step: int, features: int, magnitudes: _Float) -> _StepLayers:
        first = reader.pointwise(f"step{step}_pointwise_0", None, with_level=True)
        depthwise = reader.depthwise(f"step{step}_depthwise", first.outputs)
        second = reader.pointwise(f"step{step}_pointwise_1", depthwise.channels)
        index = reader.pointwise(
            f"step{step}_index", second.outputs, top=INDEX_COUNT - 1, outputs_divide_by=4
        )
        latents = index.outputs if step else 0
        if first.inputs != features + latents:
            raise ModelError(
                f"Expected {features + latents} inputs (features and known latents) in "
                f"'scales/step{step}_pointwise_0/weight'. Found {first.inputs}. Reinstall the model."
            )
        group_size = index.outputs // GROUP_COUNT
        inputs = [_known_channels(step, position, features, group_size) for position in range(_POSITIONS)]
        outputs = {position: _channels(step, position, group_size) for position in positions_of(step)}
        return cls(
            step,
            group_size,
            magnitudes,
            tuple(first.restricted_to_inputs(channels) for channels in inputs),
            depthwise,
            second,
            {position: index.restricted_to_outputs(channels) for position, channels in outputs.items()},
        )

    def apply(self, features: NDArray[np.uint8], r: NDArray[np.int16], level: int) -> NDArray[np.uint8]:
        height, width = features.shape[:2]
        padded = np.zeros((height + 2, width + 2, self.depthwise.channels), np.float32)
        for position in range(_POSITIONS):
            known = self._inputs(features, r, position)
            _cells(padded[1:-1, 1:-1], position)[:] = self.pointwise_0[position].apply(known, level)
        mixed = self.depthwise.apply(padded)
        indices = np.empty(_shape_of_step(self.step, height, width, self.group_size), np.uint8)
        for position, index in self.index.items():
            at_position = np.ascontiguousarray(_cells(mixed, position))
            hidden = self.pointwise_1.apply(at_position, level)
            _cells_of_step(indices, self.step, position)[:] = index.apply(hidden, level)
        return indices

    def _inputs(self, features: NDArray[np.uint8], r: NDArray[np.int16], position: int) -> _Float:
        """float32 (height / 2, width / 2, F + n * L / 4): what is known at one position of the cells, where n
        former steps have coded.
        """
        at_position = _cells(features, position)
        channels = features.shape[2]
        known = np.empty((*at_position.shape[:2], self.pointwise_0[position].inputs), np.float32)
        known[:, :, :channels] = at_position
        bits = _cells(r, position).view(np.uint16)
        for number, former in enumerate(_former_steps(self.step, position)):
            start = channels + number * self.group_size
            group = bits[:, :, _channels(former, position, self.group_size)]
            known[:, :, start : start + self.group_size] = self.magnitudes[group]
        return known


@dataclass(frozen=True, eq=False)
class _Pointwise:
    """``clip((W x + b + 2**(shift - 1)) >> shift, 0, top)`` at each position."""

    weight: _Float  # (inputs, outputs)
    bias: NDArray[np.int64]  # (1 or 8 nodes, outputs)
    shift: int
    top: int

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[0])

    @property
    def outputs(self) -> int:
        return int(self.weight.shape[1])

    def restricted_to_inputs(self, channels: NDArray[np.intp]) -> _Pointwise:
        return _Pointwise(np.ascontiguousarray(self.weight[channels]), self.bias, self.shift, self.top)

    def restricted_to_outputs(self, channels: slice) -> _Pointwise:
        weight = np.ascontiguousarray(self.weight[:, channels])
        return _Pointwise(weight, np.ascontiguousarray(self.bias[:, channels]), self.shift, self.top)

    def apply(self, x: _Float, level: int) -> _Float:
        """(height, width, inputs) integers -> (height, width, outputs) integers 0..top."""
        bias = (_interpolated(self.bias, level) + 16) >> 5 if len(self.bias) > 1 else self.bias[0]
        sums = _product(x.reshape(-1, self.inputs), self.weight).reshape(*x.shape[:2], self.outputs)
        return _rescaled(sums, bias, self.shift, self.top)


@dataclass(frozen=True, eq=False)
class _Depthwise:
    """A 3x3 correlation of each channel with its own weights, rescaled as in :class:`_Pointwise`."""

    weight: _Float  # (3, 3, channels)
    bias: NDArray[np.int64]  # (channels,)
    shift: int

    @property
    def channels(self) -> int:
        return int(self.weight.shape[2])

    def apply(self, padded: _Float) -> _Float:
        """(height + 2, width + 2, channels), with a border of zeros -> (height, width, channels)."""
        height, width = padded.shape[0] - 2, padded.shape[1] - 2
        result = np.empty((height, width, self.channels), np.float32)
        rows = max(1, _BAND // (width * self.channels))
        for top in range(0, height, rows):
            self._correlate(padded[top : top + rows + 2], result[top : top + rows])
        return result

    def _correlate(self, padded: _Float, sums: _Float) -> None:
        """The same of some rows, into ``sums``."""
        height, width = sums.shape[:2]
        np.multiply(padded[:height, :width], self.weight[0, 0], out=sums)
        product = np.empty_like(sums)
        for row in range(3):
            for column in range(3):
                if row or column:
                    window = padded[row : row + height, column : column + width]
                    sums += np.multiply(window, self.weight[row, column], out=product)
        _rescaled(sums, self.bias, self.shift, _ACTIVATION_TOP)


@dataclass(frozen=True)
class _Reader:
    """Takes layers out of a model's arrays, and proves that float32 computes them exactly."""

    arrays: Mapping[str, NDArray[Any]]

    def take(self, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
        """The array ``scales/<name>``; None in the shape stands for any length but 0."""
        array = self.arrays.get(f"scales/{name}")
        if array is None:
            raise ModelError(f"The model has no array 'scales/{name}'. Reinstall the model.")
        fits = array.ndim == len(shape) and all(
            found == expected or (expected is None and found)
            for found, expected in zip(array.shape, shape, strict=True)
        )
        if array.dtype != dtype or not fits:
            raise ModelError(
                f"Expected 'scales/{name}' as {np.dtype(dtype)} {shape}. Found {array.dtype} {array.shape}. "
                "Reinstall the model."
            )
        return array

    def pointwise(
        self,
        name: str,
        inputs: int | None,
        top_input: int = _ACTIVATION_TOP,
        *,
        top: int = _ACTIVATION_TOP,
        with_level: bool = False,
        outputs_divide_by: int = 1,
    ) -> _Pointwise:
        weight = self.take(f"{name}/weight", np.int8, (None, inputs))
        outputs = weight.shape[0]
        if outputs % outputs_divide_by:
            raise ModelError(
                f"Expected a multiple of {outputs_divide_by} outputs in 'scales/{name}/weight'. "
                f"Found {outputs}. Reinstall the model."
            )
        shape = (NODE_COUNT, outputs) if with_level else (outputs,)
        bias = self.take(f"{name}/bias", np.int32, shape).astype(np.int64).reshape(-1, outputs)
        if with_level and np.abs(bias).max() >= _MAX_BIAS_OF_LEVEL:
            raise ModelError(
                f"Expected 'scales/{name}/bias' below {_MAX_BIAS_OF_LEVEL} in magnitude. "
                f"Found {np.abs(bias).max()}. Reinstall the model."
            )
        shift = self._shift(name)
        self._prove(
            name, np.abs(weight.astype(np.int64)).sum(axis=1), top_input, np.abs(bias).max(axis=0), shift
        )
        return _Pointwise(np.ascontiguousarray(weight.T.astype(np.float32)), bias, shift, top)

    def depthwise(self, name: str, channels: int) -> _Depthwise:
        weight = self.take(f"{name}/weight", np.int8, (3, 3, channels))
        bias = self.take(f"{name}/bias", np.int32, (channels,)).astype(np.int64)
        shift = self._shift(name)
        self._prove(
            name, np.abs(weight.astype(np.int64)).sum(axis=(0, 1)), _ACTIVATION_TOP, np.abs(bias), shift
        )
        return _Depthwise(weight.astype(np.float32), bias, shift)

    def magnitudes(self) -> _Float:
        """``lut[min(|r|, 2047)]`` for every int16 ``r``, in the order of its bits read as uint16."""
        lookup = self.take("magnitude_lut", np.uint8, (_MAGNITUDES,))
        if lookup[0] != 0:
            raise ModelError(
                f"Expected 'scales/magnitude_lut' to begin with 0. Found {lookup[0]}. Reinstall the model."
            )
        residuals = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
        magnitudes: _Float = lookup[np.minimum(np.abs(residuals), _MAGNITUDES - 1)].astype(np.float32)
        return magnitudes

    def _shift(self, name: str) -> int:
        shift = int(self.take(f"{name}/shift", np.int32, ()))
        if not 1 <= shift <= 24:
            raise ModelError(f"Expected 'scales/{name}/shift' in 1..24. Found {shift}. Reinstall the model.")
        return shift

    def _prove(
        self, name: str, weights: NDArray[np.int64], top_input: int, bias: NDArray[np.int64], shift: int
    ) -> None:
        """No partial sum of any output, in any order, may reach 2**24."""
        worst = int((top_input * weights + bias).max()) + (1 << (shift - 1))
        if worst >= _EXACT:
            raise ModelError(
                f"Expected sums below 2**24 in the layer 'scales/{name}', which float32 computes exactly. "
                f"Found that they can reach {worst}. Do not use this model."
            )


def checked_level(level: int) -> int:
    """A level in 0..224, as Python's integer.

    Raises:
        InputError: It is not.
    """
    if not 0 <= level <= MAX_LEVEL:
        raise InputError(f"Expected a level in 0..{MAX_LEVEL}. Received {level}.")
    return int(level)


def _interpolated(nodes: NDArray[np.int64], level: int) -> NDArray[np.int64]:
    """32 times the linear interpolation of (node, ...) at a level: exact, not yet rounded."""
    node, fraction = level >> 5, level & 31
    lower, upper = nodes[node], nodes[min(node + 1, NODE_COUNT - 1)]
    mixed: NDArray[np.int64] = lower * (32 - fraction) + upper * fraction
    return mixed


def _product(x: _Float, weight: _Float) -> _Float:
    """(rows, inputs) @ (inputs, outputs), in blocks so small that the BLAS starts no threads.

    OpenBLAS is no slower with such blocks on one core, and its threads wait for one another by spinning: when
    the cores are shared (other chunks, other processes) a layer then took up to 40 times as long.
    """
    sums = np.empty((len(x), weight.shape[1]), np.float32)
    whole = len(x) - len(x) % _ROWS
    np.matmul(
        x[:whole].reshape(-1, _ROWS, x.shape[1]),
        weight,
        out=sums[:whole].reshape(-1, _ROWS, weight.shape[1]),
    )
    np.matmul(x[whole:], weight, out=sums[whole:])
    return sums


def _rescaled(sums: _Float, bias: NDArray[np.int64], shift: int, top: int) -> _Float:
    """``clip((sums + bias + 2**(shift - 1)) >> shift, 0, top)`` in place, each step exact in float32."""
    sums += (bias + (1 << (shift - 1))).astype(np.float32)
    sums *= np.float32(2.0**-shift)
    np.floor(sums, out=sums)
    return np.clip(sums, 0, top, out=sums)


def _padded(plane: _Float) -> _Float:
    height, width, channels = plane.shape
    padded = np.zeros((height + 2, width + 2, channels), np.float32)
    padded[1:-1, 1:-1] = plane
    return padded


def _depth_to_space(plane: _Float) -> _Float:
    """(h, w, 4 * C) -> (2 * h, 2 * w, C): out[2 i + a, 2 j + b, c] = plane[i, j, (2 a + b) * C + c]."""
    height, width, channels = plane.shape
    blocks = plane.reshape(height, width, 2, 2, channels // 4).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(2 * height, 2 * width, channels // 4)


def _cells(plane: NDArray[Any], position: int) -> NDArray[Any]:
    """A view of one position of all 2x2 cells: (height / 2, width / 2, channels)."""
    return plane[position >> 1 :: 2, position & 1 :: 2]


def _cells_of_step(values: NDArray[Any], step: int, position: int) -> NDArray[Any]:
    """The same of what :func:`take_step` gives, of which the first two steps have one column a cell."""
    return _cells(values, position) if step > 1 else values[position >> 1 :: 2]


def _shape_of_step(step: int, height: int, width: int, group_size: int) -> tuple[int, int, int]:
    return height, len(positions_of(step)) * width // _POSITIONS, group_size


def _former_steps(step: int, position: int) -> list[int]:
    """The steps before one that code at a position."""
    return [former for former in range(step) if position in positions_of(former)]


def _channels(step: int, position: int, group_size: int) -> slice:
    start = group_of(step, position) * group_size
    return slice(start, start + group_size)


def _known_channels(step: int, position: int, features: int, group_size: int) -> NDArray[np.intp]:
    """The inputs of a step that can differ from zero at a position: the features and the former groups."""
    steps = _former_steps(step, position)
    former = [features + np.r_[_channels(earlier, position, group_size)] for earlier in steps]
    return np.concatenate([np.arange(features), *former])
