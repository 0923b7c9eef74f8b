"""Small versions of the measured pictures, kept with the results so that a report can show them without the
set.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench.images import ImageFile, data_uri, load
from bench.results import write_text


def write_thumbnails(images: Sequence[ImageFile], folder: Path, *, width: int = 176) -> None:
    """Write ``thumbnails.json``: data URIs (WebP) by the pictures' names. Nothing is done where it is up to
    date.
    """
    path = folder / "thumbnails.json"
    names = [image.name for image in images]
    if path.exists() and list(json.loads(path.read_text())) == names:
        return
    folder.mkdir(parents=True, exist_ok=True)
    small = {image.name: data_uri(load(image.path), quality=60, width=width) for image in images}
    write_text(path, json.dumps(small, indent=0) + "\n")
