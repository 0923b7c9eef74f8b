"""``python -m bench.one_file encode|decode CODEC QUALITY SOURCE TARGET``: one picture, one process.

What a short script around a codec's library would be: speed of whole processes is measured with it for the
codecs that have no command line of their own here. Pictures are PPM files, which cost nearly nothing to read
and write.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.codecs import select_codecs


def main(arguments: list[str]) -> None:
    """Do what the module says."""
    from bench.codecs.base import pillow_decode, pillow_encode

    operation, name, quality, source, target = arguments
    (codec,) = select_codecs(name)
    data = Path(source).read_bytes()
    if operation == "encode":
        Path(target).write_bytes(codec.encode(pillow_decode(data, "PPM"), float(quality)))
    else:
        Path(target).write_bytes(pillow_encode(codec.decode(data), "PPM", {}))


if __name__ == "__main__":
    main(sys.argv[1:])
