"""The optimisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

NOT_BY_MUON = ["shortcut", "leave", "rows", "scale_network"]
"""Paths of matrices that AdamW updates: inputs and outputs of the model, tables, and the integer network."""


class Muon(keras.optimizers.Muon):
    """Keras' Muon with the orthogonalisation in bfloat16, as in its reference implementation.

    The momentum is always Nesterov's. Matrices of one shape are orthogonalised together: on a GPU, hundreds
    of small products one after the other would take longer than the gradients.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
    """

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        """Keras' hook for the update of all variables."""
        by_shape: dict[tuple[int, ...], list[tuple[Any, Any]]] = {}
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if self._should_use_adamw(variable):
                self.update_step(gradient, variable, learning_rate)
            else:
                by_shape.setdefault(tuple(variable.shape), []).append((gradient, variable))
        for pairs in by_shape.values():
            directions = ops.stack([self._direction(*pair) for pair in pairs])
            updates = self.zeropower_via_newtonschulz5(directions, self.ns_steps)
            for number, (_, variable) in enumerate(pairs):
                rate = ops.cast(learning_rate, variable.dtype)
                self.assign_sub(variable, self.lr_adjust(rate * updates[number]))

    def _direction(self, gradient: Any, variable: Any) -> Any:
        """Move the momentum of a matrix; returns Nesterov's look ahead."""
        momentum = self.momentums[self._get_variable_index(variable)]
        self.assign_add(momentum, gradient + momentum * (self.momentum - 1))
        return gradient + self.momentum * momentum

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """(..., rows, columns) float32 -> matrices of the same singular vectors, singular values near one."""
        wide = x.shape[-2] <= x.shape[-1]
        matrix = x if wide else ops.swapaxes(x, -2, -1)
        norm = ops.sqrt(ops.sum(ops.square(matrix), axis=(-2, -1), keepdims=True))
        matrix = ops.cast(matrix / (norm + 1e-12), "bfloat16")
        for _ in range(steps):
            gram = ops.matmul(matrix, ops.swapaxes(matrix, -2, -1))
            polynomial = self.muon_b * gram + self.muon_c * ops.matmul(gram, gram)
            matrix = self.muon_a * matrix + ops.matmul(polynomial, matrix)
        matrix = ops.cast(matrix, x.dtype)
        return matrix if wide else ops.swapaxes(matrix, -2, -1)


def make_optimizer(name: str, *, clip_norm: float, average: float) -> keras.optimizers.Optimizer:
    """An optimiser with clipping by global norm and an exponential moving average of the weights.

    The learning rate is set before every step (`TrainingPlan.learning_rate_at`).

    Args:
        name: ``muon`` or ``adam``.
        clip_norm: the largest global norm of a gradient.
        average: momentum of the moving average, 0..1.
    """
    if name == "adam":
        return keras.optimizers.Adam(
            1e-4, beta_2=0.99, global_clipnorm=clip_norm, use_ema=True, ema_momentum=average
        )
    return Muon(
        1e-4,
        adam_beta_2=0.99,
        weight_decay=None,
        adam_weight_decay=None,
        exclude_layers=NOT_BY_MUON,
        global_clipnorm=clip_norm,
        use_ema=True,
        ema_momentum=average,
    )
