"""A pass of a model, compiled by whichever backend Keras runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from aecodec.errors import MissingDependencyError


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a pass of a model; each call computes with the weights as they then are.

    On JAX, matrix products take their inputs as float32 on GPUs too, not rounded to TensorFloat-32.

    Args:
        model: whose variables the function reads.
        function: tensors -> a tensor or a tuple of tensors.

    Returns:
        A function of the same arguments, which may be NumPy arrays. TensorFlow compiles it for the first
        shapes and then once more for any; JAX compiles it for every set of shapes.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        graph: Callable[..., Any] = tf.function(function, autograph=False, reduce_retracing=True)
        return graph
    if backend == "jax":
        return _jitted(model, function)
    return function


def gradients(function: Callable[..., Any], *at: Any) -> tuple[Any, ...]:
    """The gradients of a scalar function of tensors by each of them, inside of a pass that is `compiled`.

    Raises:
        MissingDependencyError: Keras runs neither on TensorFlow nor on JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(at)
            value = function(*at)
        return tuple(tape.gradient(value, at))
    if backend == "jax":
        import jax

        of_all: tuple[Any, ...] = jax.grad(function, argnums=tuple(range(len(at))))(*at)
        return of_all
    raise MissingDependencyError(
        f"expected Keras on TensorFlow or JAX for gradients, found {backend}; set KERAS_BACKEND accordingly"
    )


def _jitted(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """The weights are arguments: what a function closes over would be compiled into it as constants."""
    import jax

    variables = model.variables

    def stateless(values: list[Any], arguments: tuple[Any, ...]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    jitted = jax.jit(stateless)

    def call(*arguments: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return jitted([variable.value for variable in variables], arguments)

    return call
