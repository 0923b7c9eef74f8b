"""What one relies on: killed runs, very large pictures, truncated files, threads.

``python -m bench.robustness`` measures it. Each measurement says in its result what it expected and whether
it held; the command's exit code is 1 where it did not. Results go to
``bench/results/robustness-NAME.json``.
"""
