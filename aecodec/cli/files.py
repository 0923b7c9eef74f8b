"""Which files a command works on and what it writes: inputs found, outputs named, written whole or not at
all.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import click

from aecodec.cli.exits import os_message
from aecodec.errors import AecodecError, InputError, OutputError
from aecodec.streams import open_source, open_target

STDIO = "-"
AEC_SUFFIX = ".aec"
PICTURE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""What ``compress --recursive`` takes from a folder; a file that is named itself may be called anything."""

_MARKED_AFTER = 0.2


@dataclass(frozen=True)
class Job:
    """One input and where its output goes.

    Attributes:
        source: the input, or None for the standard input.
        target: the output, or None for the standard output (or for a command without outputs).
        problem: what was wrong before any work started, if anything was.
        done_before: whether the output exists already and stays as it is.
    """

    source: Path | None
    target: Path | None = None
    problem: AecodecError | None = None
    done_before: bool = False

    @property
    def source_name(self) -> str:
        """The input as messages name it."""
        return "standard input" if self.source is None else click.format_filename(self.source)


@dataclass(frozen=True)
class Plan:
    """The jobs of one run; ``single`` if the user named exactly one file (and no folder)."""

    jobs: tuple[Job, ...]
    single: bool


@dataclass(frozen=True)
class Found:
    """An input that was found: its path, and its path below the folder that was named (or its name)."""

    path: Path | None
    below: Path
    problem: AecodecError | None = None


def find_inputs(
    names: Sequence[str], *, recursive: bool, suffixes: frozenset[str]
) -> tuple[tuple[Found, ...], bool]:
    """Find the named files, and with ``recursive`` the files in named folders that end in one of
    ``suffixes``.

    Folders are walked in sorted order; names that start with a dot are left out, links to folders are not
    followed. A file that was named twice is taken once. What cannot be read is returned with its problem.

    Returns:
        The inputs, and whether the user named exactly one file (and no folder).

    Raises:
        click.UsageError: "-" stands beside other names.
        InputError: the folders hold no file with one of the suffixes.
    """
    if STDIO in names and len(names) > 1:
        raise click.UsageError("'-' (standard input) cannot stand beside other inputs.")
    if list(names) == [STDIO]:
        return (Found(None, Path("stdin")),), True
    found: dict[str, Found] = {}
    for name in names:
        path = Path(name)
        items = (
            _walk(path, suffixes) if recursive and path.is_dir() else [_named_file(path, recursive=recursive)]
        )
        for item in items:
            found.setdefault(_identity(item.path), item)
    if not found:
        kinds = ", ".join(sorted(suffixes))
        raise InputError(f"no files to work on in {', '.join(names)}: expected names that end in {kinds}")
    return tuple(found.values()), len(names) == 1 and not Path(names[0]).is_dir()


def plan_outputs(
    names: Sequence[str],
    *,
    output: str | None,
    recursive: bool,
    force: bool,
    suffixes: frozenset[str],
    output_suffix: str,
) -> Plan:
    """Decide for every input where its output goes, before any work starts.

    Args:
        names: the inputs as the user named them; "-" is the standard input.
        output: ``--output``: None (beside each input), "-" (standard output), a file (one input only) or a
            folder.
        recursive: whether named folders are searched.
        force: whether existing outputs are written again.
        suffixes: which files are taken from folders, and which endings an output's name does not keep.
        output_suffix: the ending of the outputs, such as ".aec".

    Returns:
        The jobs. Those that cannot be done carry their problem: an input that does not exist, the second of
        two inputs with the same output, an output that is itself an input.

    Raises:
        click.UsageError: the arguments contradict one another.
        InputError: there is nothing to work on.
    """
    inputs, single = find_inputs(names, recursive=recursive, suffixes=suffixes)
    name_target = _target_rule(inputs, single, output, suffixes, output_suffix)
    jobs = [Job(item.path, name_target(item), item.problem) for item in inputs]
    jobs = _refuse_clashes(jobs)
    if not force:
        jobs = [_keep_existing(job, single=single) for job in jobs]
    return Plan(tuple(jobs), single)


def _walk(folder: Path, suffixes: frozenset[str]) -> list[Found]:
    found: list[Found] = []

    def note(error: OSError) -> None:
        found.append(Found(Path(error.filename), Path(), InputError(os_message(error))))

    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in suffixes:
                found.append(Found(path, path.relative_to(folder)))
    return found


def _named_file(path: Path, *, recursive: bool) -> Found:
    problem = None
    if path.is_dir():
        problem = InputError(f"{path}: is a folder; add --recursive to work on the files in it")
    elif not path.exists():
        problem = InputError(f"{path}: does not exist")
    return Found(path, Path(path.name), problem)


def _target_rule(
    inputs: Sequence[Found], single: bool, output: str | None, suffixes: frozenset[str], output_suffix: str
) -> Callable[[Found], Path | None]:
    """The function that names the output of an input (None: standard output)."""

    def renamed(path: Path) -> Path:
        stem = path.with_suffix("") if path.suffix.lower() in suffixes else path
        return stem.with_name(stem.name + output_suffix)

    from_stdin = inputs[0].path is None
    if output == STDIO or (output is None and from_stdin):
        if not single:
            raise click.UsageError("only a single input can go to the standard output ('-').")
        if sys.stdout.isatty():
            raise click.UsageError(
                "binary data is not written to a terminal: redirect it, or name a file with --output."
            )
        return lambda item: None
    if output is None:
        return lambda item: None if item.path is None else renamed(item.path)
    folder = Path(output)
    if single and not folder.is_dir() and not output.endswith(("/", os.sep)):
        return lambda item: folder
    if from_stdin:
        raise click.UsageError(
            f"the standard input has no name; --output must name a file, not the folder {output!r}."
        )
    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"several inputs need a folder as --output, but {output!r} is a file.")
    return lambda item: folder / renamed(item.below)


def _refuse_clashes(jobs: Sequence[Job]) -> list[Job]:
    """Give a problem to the second of two jobs with the same output, and to a job that would overwrite an
    input.
    """
    inputs = {_identity(job.source): job for job in jobs if job.source is not None}
    claimed: dict[str, Job] = {}
    checked = []
    for job in jobs:
        if job.problem is None and job.target is not None:
            key = _identity(job.target)
            if key in inputs:
                message = f"the output {job.target} is also an input of this run; name another with --output"
                job = replace(job, problem=InputError(message))
            elif key in claimed:
                other = claimed[key].source_name
                message = f"its output {job.target} is also that of {other}; rename one of the two"
                job = replace(job, problem=InputError(message))
            else:
                claimed[key] = job
        checked.append(job)
    return checked


def _keep_existing(job: Job, *, single: bool) -> Job:
    if job.problem is not None or job.target is None or not job.target.is_file():
        return job
    if not single:
        return replace(job, done_before=True)
    return replace(
        job, problem=OutputError(f"the output {job.target} exists already; --force writes it again")
    )


def _identity(path: Path | None) -> str:
    return "" if path is None else os.path.normcase(os.path.realpath(path))


@contextlib.contextmanager
def open_input(source: Path | None) -> Iterator[BinaryIO]:
    """Open an input for reading and seeking; the standard input (None) is read whole first.

    Raises:
        InputError: it cannot be read.
    """
    with open_source(sys.stdin.buffer.read() if source is None else source) as stream:
        yield stream


class OutputFiles:
    """Writes the outputs of one run. Each appears whole or not at all, also when the process is killed.

    Adds to :func:`aecodec.streams.open_target`: folders are made, an interrupted run takes all its unfinished
    files away at once, and what killed runs left in a folder is removed by the next run that writes there.
    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unfinished: set[Path] = set()
        self._swept: set[Path] = set()
        self._abandoned = False

    @contextlib.contextmanager
    def create(self, target: Path | None) -> Iterator[BinaryIO]:
        """A binary stream; what was written to it is at ``target`` (None: standard output) once the block has
        ended well.

        Raises:
            OutputError: the file cannot be written.
        """
        if target is None:
            buffer = io.BytesIO()
            yield buffer
            sys.stdout.buffer.write(buffer.getbuffer())
            sys.stdout.buffer.flush()
            return
        self._prepare(target.parent)
        with open_target(target, force=True) as stream:
            temporary = Path(stream.name)
            _lock_file(stream)
            self._begin(temporary)
            try:
                yield stream
                stream.flush()
            finally:
                self._forget(temporary)

    def abandon(self) -> None:
        """Remove every unfinished file and let no other be begun: the run was interrupted."""
        with self._lock:
            self._abandoned = True
            for temporary in self._unfinished:
                if _is_temporary(temporary.name):  # and no device
                    with contextlib.suppress(OSError):
                        temporary.unlink()

    def _prepare(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the output's folder: {os_message(error)}") from error
        with self._lock:
            if folder in self._swept:
                return
            self._swept.add(folder)
        _remove_remains(folder)

    def _begin(self, temporary: Path) -> None:
        with self._lock:
            if self._abandoned:
                raise OutputError("not written: the run was interrupted")
            self._unfinished.add(temporary)

    def _forget(self, temporary: Path) -> None:
        with self._lock:
            self._unfinished.discard(temporary)
            if self._abandoned:
                raise OutputError("not written: the run was interrupted")


def _is_temporary(name: str) -> bool:
    """Whether :func:`aecodec.streams.open_target` gives such names to files that it has not finished."""
    return re.fullmatch(r"\..+\.[0-9a-f]{12}\.part", name, re.DOTALL) is not None


def _lock_file(stream: BinaryIO) -> bool:
    """Mark a file as in use for as long as this process has it open; False if it could not be marked."""
    try:
        import fcntl
    except ImportError:  # Windows: no marks, so what killed runs left behind stays
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_remains(folder: Path) -> None:
    """Remove temporary files that no living process writes; the youngest stay, their mark may be about to
    come.
    """
    with os.scandir(folder) as entries:
        names = [entry.path for entry in entries if _is_temporary(entry.name)]
    for name in names:
        path = Path(name)
        with contextlib.suppress(OSError), path.open("rb") as stream:
            if time.time() - path.stat().st_mtime > _MARKED_AFTER and _lock_file(stream):
                path.unlink()
