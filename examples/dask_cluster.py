"""Compress a tree of pictures on a Dask cluster.

    python examples/dask_cluster.py photos/ packed/ --workers 2
    python examples/dask_cluster.py /shared/photos /shared/packed --scheduler tcp://head:8786

Every picture is one task. A task may run twice, die half-way or be given to another worker, and the result is
the same: an output appears whole or not at all (``aecodec.encode_file`` writes beside it and renames), one
that exists is kept, and its bytes do not depend on who made it. So Dask's own answer to a lost worker, to run
its tasks again elsewhere, is all that is needed, and a run that was stopped goes on when it is started again.

Only a few tasks per worker are in flight, however many pictures there are. On several machines both folders
must be on storage that all of them see under the same path, and aecodec must be installed on each.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
from distributed import Client, Future, LocalCluster, WorkerPlugin, as_completed

import aecodec

SUFFIXES = frozenset({".avif", ".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_TASKS_PER_THREAD = 4


@dataclass(frozen=True)
class Outcome:
    """What became of a picture.

    Attributes:
        source: its path.
        status: "done", "kept" (the output was there already) or "failed".
        bytes_before, bytes_after: of the picture file and of the .aec file.
        error: why it failed.
    """

    source: Path
    status: str
    bytes_before: int = 0
    bytes_after: int = 0
    error: str = ""


class OneCoreEach(WorkerPlugin):  # type: ignore[misc]
    """Binds workers of this machine to one core each: the runtime takes a thread for every core it sees."""

    def setup(self, worker: Any) -> None:
        """Called when a worker starts, also in place of one that was lost."""
        if hasattr(os, "sched_setaffinity") and isinstance(worker.name, int):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[worker.name % len(cores)]})


def compress_one(source: Path, target: Path, settings: Mapping[str, Any]) -> Outcome:
    """The task: one picture to one .aec file, however often it is called.

    Args:
        source: a picture file.
        target: the .aec file; its folder is made.
        settings: further arguments of :func:`aecodec.encode_file`, such as the quality.
    """
    if target.exists():
        return Outcome(source, "kept", bytes_after=target.stat().st_size)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        info = aecodec.encode_file(source, target, jobs=1, **settings)
    except aecodec.AecodecError as error:
        if target.exists():  # a worker that was taken for lost had it ready first
            return Outcome(source, "kept", bytes_after=target.stat().st_size)
        return Outcome(source, "failed", error=str(error))
    return Outcome(source, "done", source.stat().st_size, info.bytes)


def tasks_of(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """(picture, output) for all pictures below a folder; the output keeps the picture's whole name, so that
    ``a.jpg`` and ``a.png`` do not meet.
    """
    for folder, folders, names in os.walk(source):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(names)):
            if path.suffix.lower() in SUFFIXES:
                below = path.relative_to(source)
                yield path, target / below.with_name(below.name + ".aec")


def compress_tree(
    client: Client, source: Path, target: Path, settings: Mapping[str, Any] | None = None
) -> Iterator[Outcome]:
    """Compress all pictures below a folder on a cluster; outcomes come as the tasks end, in any order.

    A task that takes its worker down again and again (a picture too large for its memory) fails by itself.
    What killed workers have left unfinished in the output's folders is removed at the end.
    """
    tasks = tasks_of(source, target)
    sources: dict[str, Path] = {}

    def submit(count: int) -> list[Future]:
        futures = []
        for task in islice(tasks, count):
            futures.append(client.submit(compress_one, *task, dict(settings or {}), pure=False))
            sources[futures[-1].key] = task[0]
        return futures

    threads = sum(client.nthreads().values())
    running = as_completed(submit(max(threads, 1) * _TASKS_PER_THREAD))
    for future in running:
        source_path, error = sources.pop(future.key), future.exception()
        yield future.result() if error is None else Outcome(source_path, "failed", error=repr(error))
        running.update(submit(1))
    for remains in target.rglob(".*.part"):
        remains.unlink(missing_ok=True)


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=click.Path(path_type=Path, file_okay=False))
@click.option("-q", "--quality", type=click.FloatRange(1, 100), default=75, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--scheduler", help="Address of a cluster that runs already.")
@click.option("--model", help="Name, id or folder of the model.")
def main(
    source: Path, target: Path, quality: float, workers: int, scheduler: str | None, model: str | None
) -> None:
    """Compress the pictures below SOURCE to .aec files below TARGET."""
    counts: Counter[str] = Counter()
    before = after = 0
    settings = {"quality": quality, "model": model}
    cluster = scheduler or LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    with Client(cluster) as client:
        if scheduler is None:
            client.register_plugin(OneCoreEach())
        for outcome in compress_tree(client, source, target, settings):
            counts[outcome.status] += 1
            before, after = before + outcome.bytes_before, after + outcome.bytes_after
            if outcome.status == "done":
                click.echo(f"{outcome.source}: {outcome.bytes_before:,} -> {outcome.bytes_after:,} bytes")
            elif outcome.status == "failed":
                click.echo(f"{outcome.source}: {outcome.error}", err=True)
    click.echo(f"{counts['done']} done, {counts['kept']} kept, {counts['failed']} failed")
    raise SystemExit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
