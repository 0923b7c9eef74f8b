"""Benchmarks: rate-distortion, speed, reports and pictures to look at.

Uses only the public interface of aecodec (``encode``, ``decode``, ``probe`` and the command line as a
process), so that what is measured is what a user gets. ``python -m bench --help`` says what there is;
``bench/README.md`` says how each number comes about.
"""
