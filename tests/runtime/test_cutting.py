"""Parts of a graph compute what the whole one computes there."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from aecodec.runtime.cutting import GraphParts, find_producer, find_user

onnx = pytest.importorskip("onnx", reason="graphs to cut are made with it")

WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)
X = np.array([[1, 2], [3, -4]], np.float32)


@pytest.fixture(scope="module")
def whole() -> bytes:
    """y = relu(x @ weights) + 1, and z = x @ weights twice."""
    helper, float_ = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["product"]),
        helper.make_node("Relu", ["product"], ["positive"]),
        helper.make_node("Add", ["positive", "one"], ["y"]),
        helper.make_node("Add", ["product", "product"], ["z"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(WEIGHTS, "weights"),
        onnx.numpy_helper.from_array(np.float32(1), "one"),
    ]
    outputs = [helper.make_tensor_value_info(name, float_, ("rows", 3)) for name in "yz"]
    inputs = [helper.make_tensor_value_info("x", float_, ("rows", 2))]
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def run(graph: bytes, outputs: list[str], **given: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert {node.name for node in session.get_inputs()} == set(given)
    assert [node.name for node in session.get_outputs()] == outputs
    return session.run(outputs, given)


def test_a_tensor_inside_becomes_an_output(whole: bytes) -> None:
    (positive,) = run(GraphParts.of(whole).cut(["positive"]), ["positive"], x=X)
    assert np.array_equal(positive, np.maximum(X @ WEIGHTS, 0))


def test_a_tensor_inside_becomes_an_input(whole: bytes) -> None:
    parts = GraphParts.of(whole)
    graph = parts.cut(["y", "z"], {"product": ("rows", 3)})
    y, z = run(graph, ["y", "z"], product=X @ WEIGHTS)
    assert np.array_equal(y, np.maximum(X @ WEIGHTS, 0) + 1)
    assert np.array_equal(z, 2 * X @ WEIGHTS)


def test_what_is_not_needed_is_left_out(whole: bytes) -> None:
    parts = GraphParts.of(whole)
    before, behind = parts.cut(["product"]), parts.cut(["y"], {"product": ("rows", 3)})
    assert [node.operator for node in GraphParts.of(before).nodes] == ["MatMul"]
    assert [node.operator for node in GraphParts.of(behind).nodes] == ["Relu", "Add"]
    assert list(GraphParts.of(behind).initializers) == ["one"]
    assert parts.weights(["weights", "one"], ["product"]) == ["weights"]
    assert parts.weights(["weights", "one"], ["y"], ["product"]) == ["one"]


def test_uncut_it_is_the_same_model(whole: bytes) -> None:
    for output, expected in zip(
        run(GraphParts.of(whole).cut(["y", "z"]), ["y", "z"], x=X), run(whole, ["y", "z"], x=X), strict=True
    ):
        assert np.array_equal(output, expected)


def test_operations_are_found_by_their_tensors(whole: bytes) -> None:
    parts = GraphParts.of(whole)
    assert find_user(parts, "weights").outputs == ("product",)
    assert find_producer(parts, "y").inputs == ("positive", "one")
    for tensor, found in (("product", 2), ("nothing", 0)):
        with pytest.raises(ValueError, match=f"takes {tensor}, found {found}"):
            find_user(parts, tensor)


def test_damaged_bytes_are_a_value_error(whole: bytes) -> None:
    for damaged in (b"", b"\xff", whole[:-3], b"\x0f", bytes(11)):
        with pytest.raises(ValueError):
            GraphParts.of(damaged)
