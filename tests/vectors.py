"""The conformance vectors of ``formats``, and the programs that lie beside the format text."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from aecodec.errors import (
    AecodecError,
    ChecksumError,
    CorruptedError,
    LimitError,
    NotAnAecFileError,
    TruncatedError,
    UnknownModelError,
    UnsupportedError,
)

FORMATS = Path(__file__).parents[1] / "formats"
VECTORS = FORMATS / "vectors"
#: The classes of section 7 of the format text.
CLASSES: dict[str, type[AecodecError]] = {
    "not an aecodec file": NotAnAecFileError,
    "truncated": TruncatedError,
    "checksum": ChecksumError,
    "corrupted": CorruptedError,
    "unsupported": UnsupportedError,
    "unknown model": UnknownModelError,
    "too large": LimitError,
}


@dataclass(frozen=True)
class Vector:
    """A case: the path of its file, and what its description says."""

    path: Path
    content: dict[str, Any]

    @property
    def data(self) -> bytes:
        """The file."""
        return self.path.read_bytes()

    def __str__(self) -> str:
        return self.path.stem


def vectors(folder: str) -> list[Vector]:
    """The cases of ``formats/vectors/<folder>``."""
    descriptions = sorted((VECTORS / folder).glob("*.json"))
    return [
        Vector(path.with_suffix(".aec"), json.loads(path.read_text(encoding="utf-8")))
        for path in descriptions
    ]


def program(name: str) -> ModuleType:
    """A program of ``formats`` as a module; they are no part of a package."""
    if name not in sys.modules:
        specification = importlib.util.spec_from_file_location(name, FORMATS / f"{name}.py")
        if specification is None or specification.loader is None:
            raise ImportError(name)
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        specification.loader.exec_module(module)
    return sys.modules[name]


def reference_decoder() -> ModuleType:
    """``formats/reference_decoder.py``."""
    return program("reference_decoder")


def vector_program() -> ModuleType:
    """``formats/make_vectors.py``."""
    reference_decoder()
    return program("make_vectors")
