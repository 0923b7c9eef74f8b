"""Training: data, loss, optimiser, the loop on TensorFlow (CPU) or JAX (GPU), and export to a model folder."""
