"""Which files a command works on and what it writes: inputs found, outputs named, written whole or not at
all.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
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
from aecodec.streams import is_unfinished, lock, open_source, open_target

STDIO = "-"
AEC_SUFFIX = ".aec"
PICTURE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""What ``compress --recursive`` takes from a folder; a file that is named itself may be called anything."""

_MARKED_AFTER = 0.2
_HEAD = 64


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

    Folders are walked in sorted order; names that start with a dot, pipes and devices are left out, links to
    folders are not followed. A file that was named twice is taken once. What cannot be read is returned with
    its problem.

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
        walked = recursive and _kind(path) == stat.S_IFDIR
        for item in _walk(path, suffixes) if walked else [_named_file(path)]:
            found.setdefault(_place(item.path or path), item)
    if not found:
        kinds = ", ".join(sorted(suffixes))
        raise InputError(f"no files to work on in {', '.join(names)}: expected names that end in {kinds}")
    return tuple(found.values()), len(names) == 1 and _kind(Path(names[0])) != stat.S_IFDIR


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
    jobs = [Job(item.path, None if item.problem else name_target(item), item.problem) for item in inputs]
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
            wanted = path.suffix.lower() in suffixes and not name.startswith(".")
            if wanted and _kind(path) in (0, stat.S_IFREG):  # what is not there fails by name, later
                found.append(Found(path, path.relative_to(folder)))
    return found


def _named_file(path: Path) -> Found:
    problem = None
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            problem = InputError(f"{path}: is a folder; add --recursive to work on the files in it")
    except FileNotFoundError:
        problem = InputError(f"{path}: does not exist")
    except (OSError, ValueError) as error:
        reason = os_message(error) if isinstance(error, OSError) else str(error)
        problem = InputError(f"{path}: {reason}")
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
    if single and _kind(folder) != stat.S_IFDIR and not output.endswith(("/", os.sep)):
        return lambda item: folder
    if from_stdin:
        raise click.UsageError(
            f"the standard input has no name; --output must name a file, not the folder {output!r}."
        )
    if _kind(folder) not in (0, stat.S_IFDIR):
        raise click.UsageError(f"several inputs need a folder as --output, but {output!r} is a file.")
    return lambda item: folder / renamed(item.below)


def _refuse_clashes(jobs: Sequence[Job]) -> list[Job]:
    """Give a problem to the second of two jobs with the same output, and to a job that would overwrite an
    input.
    """
    inputs = {_identity(job.source) for job in jobs if job.source is not None and job.problem is None}
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
    if job.problem is not None or job.target is None or _kind(job.target) != stat.S_IFREG:
        return job
    if not single:
        return replace(job, done_before=True)
    return replace(
        job, problem=OutputError(f"the output {job.target} exists already; --force writes it again")
    )


def _identity(path: Path | None) -> str:
    """The file that a path leads to, links followed."""
    return "" if path is None else os.path.normcase(os.path.realpath(path))


def _place(path: Path) -> str:
    """The path itself, spelled in one way; links are files of their own."""
    return os.path.normcase(os.path.normpath(path.absolute()))


def _kind(path: Path) -> int:
    """What a path leads to, as `stat.S_IFMT` has it; 0 where nothing is there or it cannot be told."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return 0


@contextlib.contextmanager
def open_input(source: Path | None, magic: bytes = b"") -> Iterator[BinaryIO]:
    """Open an input for reading and seeking; the standard input (None) is read whole first, or no further
    than its first bytes where it does not begin with ``magic``.

    Raises:
        InputError: it cannot be read.
    """
    with open_source(_standard_input(magic) if source is None else source) as stream:
        yield stream


def _standard_input(magic: bytes) -> bytes:
    head = sys.stdin.buffer.read(_HEAD)
    return head + sys.stdin.buffer.read() if head.startswith(magic) else head


class OutputFiles:
    """Writes the outputs of one run. Each appears whole or not at all, also when the process is killed.

    Adds to :func:`aecodec.streams.open_target`: folders are made, an interrupted run takes all its unfinished
    files away at once, and what killed runs left in a folder is removed by the next run that writes there.
    Safe to use from several threads.

    Args:
        force: replace files that exist, also those that have appeared since the run was planned.
    """

    def __init__(self, *, force: bool = False) -> None:
        self._force = force
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
        with open_target(target, force=self._force) as stream:
            temporary = Path(stream.name)
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
                if is_unfinished(temporary.name):  # and no device
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


def _remove_remains(folder: Path) -> None:
    """Remove temporary files that no living process writes; the youngest stay, their mark may be about to
    come.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.path for entry in entries if is_unfinished(entry.name)]
    except OSError:  # one may write to a folder that one may not read
        return
    for name in names:
        path = Path(name)
        with contextlib.suppress(OSError), path.open("rb") as stream:
            if time.time() - path.stat().st_mtime > _MARKED_AFTER and lock(stream):
                path.unlink()
