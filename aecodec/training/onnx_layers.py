"""Layers as nodes of an ONNX graph, in the forms that ONNX Runtime computes fastest on a CPU.

Two layouts are used. *Planar* tensors, (1, channels, height, width), hold what convolutions work on: ONNX
Runtime keeps them in blocks of channels ("NCHWc") from one convolution to the next, adds biases and residuals
and applies sigmoids within the convolutions, and reorders nothing in between. It does so only where it can
tell that the operands of a sum or product are of one shape, so the shape of every planar tensor is declared,
with a name for each size that depends on the picture. *Channels-last* tensors, (1, height, width, channels),
are the inputs and outputs of the graphs and what pixel shuffles work on: those move whole runs of channels.

What is computed from weights alone (halves, products with units) stands in the graph as nodes, too; ONNX
Runtime computes it once, when a session is made. So arrays are stored as the networks have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aecodec.networks.architecture import Architecture

_NO_ATTRIBUTES: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass
class LayerBuilder:
    """Collects nodes; a value is the name of a float32 tensor.

    A *grid* is the number of pixels between two positions of a tensor: 8 for features at 1/8 resolution.

    Attributes:
        architecture: of the networks.
        source: the input of the graph that tells the size of the picture.
        source_grid: of the source.
        planar_source: whether the source is planar, not channels last.
        multiplications: of the layers for each pixel of the picture. The maps of `level_map`, which stand in
            for products with a vector, are not counted.
    """

    architecture: Architecture
    source: str
    source_grid: int
    planar_source: bool = False
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    weights: dict[str, onnx.TensorProto] = field(default_factory=dict)
    shapes: list[onnx.ValueInfoProto] = field(default_factory=list)
    multiplications: float = 0.0
    _made: dict[tuple[object, ...], str] = field(default_factory=dict)

    def node(self, operator: str, *inputs: str, **attributes: object) -> str:
        """Append a node; returns the name of its output."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def shared(self, operator: str, *inputs: str, attributes: Mapping[str, object] = _NO_ATTRIBUTES) -> str:
        """A node that is appended once however often it is asked for: of weights, constants and sizes."""
        key = (operator, inputs, repr(sorted(attributes.items())))
        if key not in self._made:
            self._made[key] = self.node(operator, *inputs, **attributes)
        return self._made[key]

    def constant(self, values: np.ndarray | np.floating[Any] | Sequence[int]) -> str:
        """Known values, int64 or float32, of the shape given; equal ones are one initialiser."""
        array = np.asarray(values)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        if array.size < 3:
            name = f"constant_{array.dtype.kind}_{'_'.join(str(x) for x in array.ravel())}_{array.ndim}d"
        else:
            content = f"{array.dtype.str} {array.shape}".encode() + array.tobytes()
            name = f"constant_{sha256(content).hexdigest()[:16]}"
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, shape: Sequence[int]) -> str:
        """A weight that is given at load time; its bytes are not in the graph."""
        if name not in self.weights:
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=list(shape))
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="arrays.npz")
            self.weights[name] = tensor
        return name

    # -- weights: what is made of them is computed when a session is made ----------------------------------

    def filters(self, path: str, inputs: int, outputs: int) -> str:
        """The kernel (inputs, outputs) of a pointwise layer as filters (outputs, inputs, 1, 1): the runtime,
        which has to widen the stored numbers anyway, gives it so.
        """
        return self.weight(f"{path}/kernel", (outputs, inputs, 1, 1))

    def bias(self, path: str, outputs: int) -> str:
        """The bias (outputs,) of a layer."""
        return self.weight(f"{path}/bias", (outputs,))

    def part(self, weight: str, axis: int, first: int, last: int) -> str:
        """Elements first..last - 1 of an axis of a weight."""
        return self.shared(
            "Slice", weight, self.constant([first]), self.constant([last]), self.constant([axis])
        )

    def times(self, weight: str, unit: float) -> str:
        """A weight in other units."""
        return self.shared("Mul", weight, self.constant(np.float32(unit))) if unit != 1 else weight

    def of_scaled(self, filters: str, vector: str) -> str:
        """Filters (outputs, inputs, 1, 1) that expect the product of their inputs and a vector (inputs,)."""
        return self.shared("Mul", filters, self.shared("Unsqueeze", vector, self.constant([0, 2, 3])))

    # -- sizes and layouts ---------------------------------------------------------------------------------

    def size(self, grid: int) -> tuple[str, str]:
        """Height and width on a grid, as int64 tensors of one element."""
        rows, columns = (self._length(axis, grid) for axis in ((2, 3) if self.planar_source else (1, 2)))
        return rows, columns

    def _length(self, axis: int, grid: int) -> str:
        shape = self.shared("Shape", self.source)
        length = self.shared("Gather", shape, self.constant([axis]), attributes={"axis": 0})
        if grid > self.source_grid:
            return self.shared("Div", length, self.constant([grid // self.source_grid]))
        if grid < self.source_grid:
            return self.shared("Mul", length, self.constant([self.source_grid // grid]))
        return length

    def sizes(self, *axes: str | int) -> str:
        """An int64 tensor of lengths, each an int64 tensor of one element or known."""
        parts = [axis if isinstance(axis, str) else self.constant([axis]) for axis in axes]
        return self.shared("Concat", *parts, attributes={"axis": 0})

    def reshape(self, tensor: str, *axes: str | int) -> str:
        """The same elements in a shape of such lengths (see `sizes`); -1 stands for what is left."""
        return self.node("Reshape", tensor, self.sizes(*axes))

    def space_to_depth(self, tensor: str, block: int, channels: int, grid: int) -> str:
        """Channels last; ``channels``: of the tensor, ``grid``: of the result."""
        rows, columns = self.size(grid)
        split = self.reshape(tensor, 1, rows, block, columns, block, channels)
        moved = self.node("Transpose", split, perm=[0, 1, 3, 2, 4, 5])
        return self.reshape(moved, 1, rows, columns, block * block * channels)

    def depth_to_space(self, tensor: str, block: int, channels: int, grid: int) -> str:
        """Channels last; ``channels`` and ``grid``: of the result."""
        split = self.reshape(tensor, 1, *self.size(grid * block), block, block, channels)
        moved = self.node("Transpose", split, perm=[0, 1, 3, 2, 4, 5])
        return self.reshape(moved, 1, *self.size(grid), channels)

    def declared(self, tensor: str, channels: int, grid: int) -> str:
        """The planar tensor itself, once ONNX Runtime has been told its shape."""
        shape: list[str | int] = [1, channels, f"height_{grid}", f"width_{grid}"]
        self.shapes.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape))
        return tensor

    def planar(self, tensor: str, channels: int, grid: int) -> str:
        """Channels last -> planar."""
        return self.declared(self.node("Transpose", tensor, perm=[0, 3, 1, 2]), channels, grid)

    def channels_last(self, tensor: str) -> str:
        """Planar -> channels last."""
        return self.node("Transpose", tensor, perm=[0, 2, 3, 1])

    def blocked(self, tensor: str, channels: int, grid: int) -> str:
        """The same planar tensor in ONNX Runtime's blocks of channels.

        A tensor that no convolution has made cannot be added to one that a convolution has made, unless both
        are reordered; a pooling of single positions, which changes nothing, makes blocks of it.
        """
        return self.declared(self.node("MaxPool", tensor, kernel_shape=[1, 1]), channels, grid)

    # -- planar layers -------------------------------------------------------------------------------------

    def add(self, first: str, second: str, channels: int, grid: int) -> str:
        """The sum of two planar tensors of one shape."""
        return self.declared(self.node("Add", first, second), channels, grid)

    def multiply(self, first: str, second: str, channels: int, grid: int) -> str:
        """The product, element by element, of two planar tensors of one shape."""
        return self.declared(self.node("Mul", first, second), channels, grid)

    def convolution_1x1(self, tensor: str, filters: str, bias: str | None, outputs: int, grid: int) -> str:
        """``filters``: (outputs, inputs, 1, 1)."""
        inputs = [tensor, filters, *([bias] if bias else [])]
        return self.declared(self.node("Conv", *inputs, kernel_shape=[1, 1]), outputs, grid)

    def convolution_3x3(self, tensor: str, kernel: str, bias: str, channels: int, grid: int) -> str:
        """Depthwise; ``kernel``: (channels, 1, 3, 3)."""
        mixed = self.node(
            "Conv", tensor, kernel, bias, group=channels, kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        )
        return self.declared(mixed, channels, grid)

    def count(self, inputs: int, outputs: int, grid: int) -> None:
        """Add a layer of inputs * outputs multiplications at each position to `multiplications`."""
        self.multiplications += inputs * outputs / grid**2

    def pointwise(
        self, path: str, tensor: str, inputs: int, outputs: int, grid: int, input_unit: float = 1.0
    ) -> str:
        """``input_unit``: what the layer expects its input to be multiplied by."""
        self.count(inputs, outputs, grid)
        filters = self.times(self.filters(path, inputs, outputs), input_unit)
        return self.convolution_1x1(tensor, filters, self.bias(path, outputs), outputs, grid)

    def level_table(self, path: str, level_weights: str, channels: int) -> str:
        """(1, channels)."""
        rows = self.weight(f"{path}/rows", (self.architecture.level_nodes, channels))
        return self.node("MatMul", level_weights, rows)

    def level_map(self, path: str, level_weights: str, channels: int, grid: int) -> str:
        """A table of the level repeated at every position: a vector would be multiplied in another layout."""
        nodes = self.architecture.level_nodes
        vector = self.shared("Reshape", level_weights, self.constant(np.array([1, nodes, 1, 1])))
        repeated = self.shared("Expand", vector, self.sizes(1, nodes, *self.size(grid)))
        rows = self.weight(f"{path}/rows", (nodes, channels))
        turned = self.shared("Transpose", rows, attributes={"perm": [1, 0]})
        filters = self.shared("Unsqueeze", turned, self.constant([2, 3]))
        return self.convolution_1x1(repeated, filters, None, channels, grid)

    def gated_block(self, path: str, tensor: str, level_weights: str, channels: int, grid: int) -> str:
        """`aecodec.networks.layers.GatedBlock`: planar -> planar of the same shape."""
        linear, gate = (self._mixed_half(path, tensor, half, channels, grid) for half in (0, 1))
        gate = self.declared(self.node("Sigmoid", gate), channels, grid)
        gated = self.multiply(linear, gate, channels, grid)
        scale = self.level_map(f"{path}/feature_scale", level_weights, channels, grid)
        scaled = self.multiply(scale, gated, channels, grid)
        projected = self.pointwise(f"{path}/project", scaled, channels, channels, grid)
        return self.add(tensor, projected, channels, grid)

    def _mixed_half(self, path: str, tensor: str, half: int, channels: int, grid: int) -> str:
        """The first or second half of the channels behind the depthwise layer, from layers of their own:
        blocks of channels cannot be split.
        """
        self.count(channels, channels, grid)
        self.count(9, channels, grid)
        first, last = half * channels, (half + 1) * channels
        filters = self.part(self.filters(f"{path}/expand", channels, 2 * channels), 0, first, last)
        bias = self.part(self.bias(f"{path}/expand", 2 * channels), 0, first, last)
        expanded = self.convolution_1x1(tensor, filters, bias, channels, grid)
        kernel = self.weight(f"{path}/mix/kernel", (2 * channels, 1, 3, 3))
        return self.convolution_3x3(
            expanded,
            self.part(kernel, 0, first, last),
            self.part(self.bias(f"{path}/mix", 2 * channels), 0, first, last),
            channels,
            grid,
        )

    def block_stack(
        self, path: str, count: int, tensor: str, level_weights: str, channels: int, grid: int
    ) -> str:
        """``tensor``: of a convolution, or `blocked`."""
        for number in range(count):
            tensor = self.gated_block(f"{path}/block_{number}", tensor, level_weights, channels, grid)
        return tensor

    # -- the rest ------------------------------------------------------------------------------------------

    def round(self, tensor: str) -> str:
        """To the nearest whole numbers, halves upwards."""
        return self.node("Floor", self.node("Add", tensor, self.constant(np.float32(0.5))))

    def output(self, tensor: str, name: str) -> None:
        """Give a tensor the name of an output of the graph."""
        self.nodes.append(helper.make_node("Identity", [tensor], [name]))
