"""Parts of an ONNX graph as graphs of their own, without the package ``onnx``.

ONNX models are messages in the wire format of Protocol Buffers: fields of a number, a type and a value. Only
the fields that a cut must look at are read; everything else is copied as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["GraphParts", "find_producer", "find_user"]

_VARINT: Final = 0
_EIGHT_BYTES: Final = 1
_BYTES: Final = 2
_FOUR_BYTES: Final = 5
_FLOAT: Final = 1
#: Numbers of fields in onnx.proto: ModelProto, GraphProto, NodeProto; 1 in what else has a name first.
_MODEL_GRAPH: Final = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_NAME: Final = 8
_VALUE_NAME, _VALUE_TYPE = 1, 2


@dataclass(frozen=True)
class _Field:
    """One field of a message, and its bytes with number and type."""

    number: int
    content: bytes
    whole: bytes


@dataclass(frozen=True)
class Node:
    """An operation of a graph."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    whole: bytes


@dataclass(frozen=True)
class GraphParts:
    """A model that can be cut.

    Attributes:
        nodes: in an order in which they can run.
        initializers: fields of constants and weights, by name.
        inputs: fields of the graph's inputs, by name.
        outputs: fields of its outputs, by name.
        rest: other fields of the graph.
        around: the model's fields but for the graph.
    """

    nodes: tuple[Node, ...]
    initializers: Mapping[str, bytes]
    inputs: Mapping[str, bytes]
    outputs: Mapping[str, bytes]
    rest: bytes
    around: bytes

    @classmethod
    def of(cls, model: bytes) -> GraphParts:
        """Take a model apart.

        Raises:
            ValueError: the bytes are no ONNX model.
        """
        fields = list(_fields(model))
        graphs = [field.content for field in fields if field.number == _MODEL_GRAPH]
        if len(graphs) != 1:
            raise ValueError(f"expected one graph in the model, found {len(graphs)}")
        graph = list(_fields(graphs[0]))
        known = (_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT)
        return cls(
            tuple(_node(field) for field in graph if field.number == _GRAPH_NODE),
            _by_name(graph, _GRAPH_INITIALIZER, _TENSOR_NAME),
            _by_name(graph, _GRAPH_INPUT, _VALUE_NAME),
            _by_name(graph, _GRAPH_OUTPUT, _VALUE_NAME),
            b"".join(field.whole for field in graph if field.number not in known),
            b"".join(field.whole for field in fields if field.number != _MODEL_GRAPH),
        )

    def cut(self, outputs: Sequence[str], given: Mapping[str, Sequence[int | str]] | None = None) -> bytes:
        """The model of what computes some tensors.

        Args:
            outputs: names of float tensors anywhere in the graph.
            given: names of float tensors that become inputs, and their shapes (a text names an axis of any
                length); what computes them is left out.
        """
        shapes = given or {}
        nodes = self._needed(outputs, shapes)
        used = {name for node in nodes for name in node.inputs}
        parts = [node.whole for node in nodes]
        parts += [whole for name, whole in self.initializers.items() if name in used]
        parts += [whole for name, whole in self.inputs.items() if name in used and name not in shapes]
        parts += [_field(_GRAPH_INPUT, _value(name, shape)) for name, shape in shapes.items()]
        parts += [self.outputs.get(name) or _field(_GRAPH_OUTPUT, _value(name)) for name in outputs]
        return self.around + _field(_MODEL_GRAPH, b"".join(parts) + self.rest)

    def weights(self, names: Iterable[str], outputs: Sequence[str], given: Iterable[str] = ()) -> list[str]:
        """Which of some weights such a part uses."""
        used = {name for node in self._needed(outputs, set(given)) for name in node.inputs}
        return [name for name in names if name in used]

    def _needed(self, outputs: Sequence[str], given: Iterable[str]) -> list[Node]:
        known = set(given)
        wanted = set(outputs) - known
        needed = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.outputs):
                needed.append(node)
                wanted.update(name for name in node.inputs if name not in known)
        return needed[::-1]


def find_user(graph: GraphParts, tensor: str) -> Node:
    """The operation that takes a tensor.

    Raises:
        ValueError: there is none, or more than one.
    """
    return _only([node for node in graph.nodes if tensor in node.inputs], f"that takes {tensor}")


def find_producer(graph: GraphParts, tensor: str) -> Node:
    """The operation that gives a tensor.

    Raises:
        ValueError: there is none.
    """
    return _only([node for node in graph.nodes if tensor in node.outputs], f"that gives {tensor}")


def _only(nodes: Sequence[Node], what: str) -> Node:
    if len(nodes) != 1:
        raise ValueError(f"expected one operation {what}, found {len(nodes)}")
    return nodes[0]


# The wire format


def _fields(message: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            _, end = _read_varint(message, at)
        elif kind == _BYTES:
            length, at = _read_varint(message, at)
            end = at + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            end = at + (8 if kind == _EIGHT_BYTES else 4)
        else:
            raise ValueError(f"a field of the unknown type {kind} at byte {start}")
        if end > len(message):
            raise ValueError(f"the field at byte {start} goes beyond the end")
        yield _Field(number, message[at:end], message[start:end])
        at = end


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """An integer, and where the next byte stands."""
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError(f"an integer is cut off at byte {at}")


def _varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes((low | 0x80,)) + _varint(high) if high else bytes((low,))


def _field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3 | _VARINT) + _varint(content)
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _value(name: str, shape: Sequence[int | str] | None = None) -> bytes:
    """The ValueInfoProto of a float tensor."""
    tensor = _field(1, _FLOAT)
    if shape is not None:
        axes = [_field(1, axis) if isinstance(axis, int) else _field(2, axis.encode()) for axis in shape]
        tensor += _field(2, b"".join(_field(1, axis) for axis in axes))
    return _field(_VALUE_NAME, name.encode()) + _field(_VALUE_TYPE, _field(1, tensor))


def _by_name(graph: Iterable[_Field], number: int, name_field: int) -> dict[str, bytes]:
    named = {}
    for field in graph:
        if field.number == number:
            (name,) = _texts(field.content, name_field) or ("",)
            named[name] = field.whole
    return named


def _node(field: _Field) -> Node:
    content = field.content
    (operator,) = _texts(content, _NODE_OPERATOR) or ("",)
    return Node(operator, _texts(content, _NODE_INPUT), _texts(content, _NODE_OUTPUT), field.whole)


def _texts(message: bytes, number: int) -> tuple[str, ...]:
    return tuple(field.content.decode() for field in _fields(message) if field.number == number)
