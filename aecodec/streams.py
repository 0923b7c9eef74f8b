"""Where bytes come from and go to: memory, paths and binary file objects."""

from __future__ import annotations

import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

from aecodec.errors import InputError, OutputError

__all__ = [
    "ReadableFile",
    "Source",
    "Target",
    "check_target",
    "is_unfinished",
    "lock",
    "open_source",
    "open_target",
    "size_of",
]

ReadableFile: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
Source: TypeAlias = str | os.PathLike[str] | BinaryIO
Target: TypeAlias = str | os.PathLike[str] | BinaryIO


@contextmanager
def open_source(source: ReadableFile) -> Iterator[BinaryIO]:
    """A seekable stream over bytes, a path or a binary file object.

    A file object is read from where it stands and stays open; one that cannot seek (a pipe) is read into
    memory.

    Raises:
        InputError: the path cannot be read, or the object gives no bytes.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source.tobytes() if isinstance(source, memoryview) else source)
    elif isinstance(source, str | os.PathLike):
        with _open_path(source) as stream:
            yield stream
    elif not hasattr(source, "read"):
        raise InputError(f"Expected bytes, a path or a binary file object. Received: {type(source).__name__}")
    elif _is_seekable(source):
        yield source
    else:
        content = source.read()
        if not isinstance(content, bytes):
            raise InputError("Expected a file object that gives bytes: open it in binary mode")
        yield io.BytesIO(content)


def _open_path(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 (the caller closes it)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"Cannot read {os.fspath(path)!r}: {reason}") from error
    if stream.seekable():
        return stream
    with stream:
        return io.BytesIO(stream.read())


def _is_seekable(stream: BinaryIO) -> bool:
    if isinstance(stream, io.TextIOBase):
        raise InputError("Expected a file object that gives bytes: open it in binary mode")
    return hasattr(stream, "seekable") and stream.seekable()


def size_of(stream: BinaryIO) -> int:
    """Bytes from where a seekable stream stands to its end; it stands there again afterwards."""
    here = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return end - here


def check_target(target: Target, *, force: bool) -> None:
    """Refuse at once, before any work, a path that holds a file already or whose folder does not exist.

    Raises:
        OutputError: in these cases.
        InputError: it is neither a path nor an object that can be written to.
    """
    if not isinstance(target, str | os.PathLike):
        if not hasattr(target, "write"):
            raise InputError(
                f"Expected a path or a binary file object to write to. Received: {type(target).__name__}"
            )
        return
    path = Path(target)
    if path.is_dir():
        raise OutputError(f"Expected the path of a file to write, but {path} is a folder")
    if not path.parent.is_dir():
        raise OutputError(f"Cannot write {path}: the folder {path.parent} does not exist")
    if path.is_file() and not force:
        raise OutputError(f"{path} exists already: pass force=True (--force) to replace it, or another name")


@contextmanager
def open_target(target: Target, *, force: bool = False) -> Iterator[BinaryIO]:
    """A stream to write to. A file appears under its path whole, when the block ends without an error, or
    not at all.

    Devices and pipes are written to directly, and so are file objects, which stay open.

    Args:
        target: a path or a binary file object.
        force: replace a file that exists.

    Raises:
        OutputError: the file exists (and not ``force``), or cannot be written.
    """
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    check_target(target, force=force)
    path = Path(os.path.realpath(target))  # a link stays, what it points to is replaced
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                yield stream
        else:
            with _whole_file(path, force) as stream:
                yield stream
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _whole_file(path: Path, force: bool) -> Iterator[BinaryIO]:
    """Write beside the path, then rename; ``open`` and not ``tempfile``, so that the umask gives the
    permissions, or the file that is replaced.
    """
    part = _unfinished(path)
    try:
        with part.open("xb") as stream:
            lock(stream)
            yield stream
            _settle(stream)
            if not force:
                check_target(path, force=False)  # it may have appeared meanwhile
            if path.exists():
                part.chmod(stat.S_IMODE(path.stat().st_mode))
            if os.name == "posix":
                part.replace(path)  # as long as it is open it is locked
        if os.name != "posix":
            part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _settle(stream: BinaryIO) -> None:
    """Bring what was written to the disk, so that a name never stands for a file that a power cut emptied."""
    if not stream.closed:
        stream.flush()
        os.fsync(stream.fileno())


def _unfinished(path: Path) -> Path:
    """The name beside a path under which it is written; at most 120 bytes, whatever the characters."""
    beginning = os.fsdecode(os.fsencode(path.name)[:100])
    return path.with_name(f".{beginning}.{secrets.token_hex(6)}.part")


def is_unfinished(name: str) -> bool:
    """Whether :func:`open_target` gives such names to files that it has not finished."""
    return re.fullmatch(r"\..+\.[0-9a-f]{12}\.part", name, re.DOTALL) is not None


def lock(stream: BinaryIO) -> bool:
    """Mark a file as in use for as long as it is open; False if it is marked already, or cannot be."""
    try:
        import fcntl
    except ImportError:  # Windows: no marks, so what killed runs left behind stays
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
