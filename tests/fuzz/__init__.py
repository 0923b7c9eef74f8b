"""Fuzz harnesses: hostile files must end in an error of ``aecodec.errors``, in bounded time and memory.

    python -m tests.fuzz.container --executions 1000000
    python -m tests.fuzz.decoder --executions 20000

Nothing is random beyond the seed: ``--seed S --only N`` runs execution N again. A failure is written to the
folder ``--failures`` and printed. ``test_smoke.py`` runs a few executions of each with the other tests.
"""
