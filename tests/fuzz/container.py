"""Fuzz the container: every reader gives the same answer, and the reference decoder agrees.

Run it with ``python -m tests.fuzz.container --executions 1000000``.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from random import Random
from typing import Any

from aecodec.container import Container, ContainerReader, Section, read_container, write_container
from aecodec.errors import AecodecError, TruncatedError
from aecodec.inspection import probe, section_sizes
from tests.fuzz.corpus import encoded_pictures
from tests.fuzz.harness import Bounds, Finding, main
from tests.fuzz.mutations import Mutator
from tests.vectors import CLASSES, reference_decoder, vectors

BOUNDS = Bounds(seconds=1.0, megabytes=64.0)


def attempt(read: Callable[[], Any]) -> Any:
    """The result, or the error if it is of the package's own."""
    try:
        return read()
    except AecodecError as error:
        return error


def examine(data: bytes, random: Random) -> str:
    """Read a file in every way."""
    whole = attempt(lambda: read_container(data))
    partial = attempt(lambda: read_container(data, allow_truncated=True))
    lazy = attempt(lambda: _lazily_read(data))
    attempt(lambda: probe(data))
    attempt(lambda: section_sizes(data))
    _check_agreement(data, whole, partial, lazy)
    expected = _reference_outcome(data)
    if isinstance(whole, AecodecError):
        if expected is None or type(whole) is not CLASSES[expected]:
            raise Finding(f"the reference decoder says {expected}, read_container {whole!r}")
        return type(whole).__name__
    if expected is not None:
        raise Finding(f"the reference decoder says {expected}, read_container takes it")
    if write_container(whole.header, whole.sections) != data:
        raise Finding("written again, the file differs")
    return "whole"


def _lazily_read(data: bytes) -> list[Section]:
    reader = ContainerReader(io.BytesIO(data))
    return [Section(entry.kind, reader.read_payload(entry)) for entry in reader.entries]


def _check_agreement(data: bytes, whole: Any, partial: Any, lazy: Any) -> None:
    """A lazy reader may find a truncation before a checksum; all else must be the same."""
    if isinstance(whole, Container):
        if whole != partial or list(whole.sections) != lazy:
            raise Finding("the readers disagree about a whole file")
    elif isinstance(whole, TruncatedError):
        if isinstance(partial, AecodecError) and len(data) >= 36:
            raise Finding(f"a truncated file cannot be read in part: {partial!r}")
        if not isinstance(lazy, TruncatedError):
            raise Finding(f"a truncated file is {lazy!r} to the lazy reader")
    elif type(partial) is not type(whole):
        raise Finding(f"{whole!r} in whole, but {partial!r} in part")
    elif type(lazy) is not type(whole) and not isinstance(lazy, TruncatedError):
        raise Finding(f"{whole!r} at once, but {lazy!r} lazily")


def _reference_outcome(data: bytes) -> str | None:
    """The class of the error of the reference decoder; None when it takes the file."""
    decoder = reference_decoder()
    try:
        decoder.read_sections(data, decoder.read_header(data))
    except decoder.RefusedError as error:
        return str(error.kind)
    return None


def corpus() -> list[bytes]:
    """Files of a model that needs no training, and the conformance vectors."""
    import tempfile
    from pathlib import Path

    from tests.helpers import CosineRuntime, fake_model

    with tempfile.TemporaryDirectory() as folder:
        arguments = {"model": fake_model(Path(folder)), "runtime": CosineRuntime()}
        files = encoded_pictures(arguments)
    return [*files, *(vector.data for vector in (*vectors("valid"), *vectors("invalid")))]


if __name__ == "__main__":
    main(__doc__ or "", Mutator(corpus()).file, examine, BOUNDS)
