"""The optimisers."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

NOT_BY_MUON = ["shortcut", "leave", "rows", "scale_network"]
"""Paths of matrices that AdamW updates: inputs and outputs of the model, tables, and the integer network."""


class Muon(keras.optimizers.Muon):
    """Keras' Muon with the orthogonalisation in bfloat16, as in its reference implementation.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
    """

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """(rows, columns) float32 -> a matrix of the same singular vectors, singular values near one."""
        wide = x.shape[0] <= x.shape[1]
        matrix = x if wide else ops.transpose(x)
        matrix = matrix / (ops.sqrt(ops.sum(ops.square(matrix))) + 1e-12)
        matrix = ops.cast(matrix, "bfloat16")
        for _ in range(steps):
            gram = ops.matmul(matrix, ops.transpose(matrix))
            polynomial = self.muon_b * gram + self.muon_c * ops.matmul(gram, gram)
            matrix = self.muon_a * matrix + ops.matmul(polynomial, matrix)
        matrix = ops.cast(matrix, x.dtype)
        return matrix if wide else ops.transpose(matrix)


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
