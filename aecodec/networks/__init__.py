"""The float world: Keras networks, backend-neutral, and the float twin of the integer scale network.

This package is the only one that defines Keras layers. Everything runs on TensorFlow, JAX and torch: only
``keras.ops`` and layers, ``channels_last`` and every dtype explicit.
"""
