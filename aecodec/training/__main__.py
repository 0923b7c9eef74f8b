"""``python -m aecodec.training``: the same as ``aecodec train``."""

from aecodec.training.console import run
from aecodec.training.train import command

if __name__ == "__main__":
    run(command)
