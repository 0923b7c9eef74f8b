"""Training: data, loss, optimiser, the run on TensorFlow (CPU) or JAX (GPU), and export to a model folder."""
