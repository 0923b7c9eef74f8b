"""Rate-distortion runs: every codec, picture and quality, on all cores, interruptible."""

from __future__ import annotations

import functools
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cache import CACHE, PointCache
from bench.codecs import Codec, CodecError
from bench.images import ImageFile, describe_set, load
from bench.machine import describe_run
from bench.metrics import measure, psnr_rgb
from bench.results import Point, Result, averages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Task:
    """One point to measure."""

    codec: Codec
    image: ImageFile
    quality: float
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A rate-distortion run.

    Attributes:
        codecs: what to measure; codecs that are missing here must have been left out.
        image_set: name of the set.
        images: its pictures.
        metrics: names out of :data:`bench.metrics.METRICS`.
        jobs: processes.
        cache: folder of finished points.
        points: qualities per codec, spread over its own; None for all of them.
    """

    codecs: tuple[Codec, ...]
    image_set: str
    images: tuple[ImageFile, ...]
    metrics: tuple[str, ...]
    jobs: int
    cache: Path = CACHE
    points: int | None = None

    def tasks(self) -> list[Task]:
        """All points, codec by codec and picture by picture."""
        return [
            Task(codec, image, quality, self.metrics)
            for codec in self.codecs
            for image in self.images
            for quality in spread(codec.qualities, self.points)
        ]


def spread(qualities: Sequence[float], count: int | None) -> tuple[float, ...]:
    """So many of the qualities, evenly spaced, with the first and the last among them; all for None."""
    if count is None or count >= len(qualities):
        return tuple(qualities)
    last = len(qualities) - 1
    return tuple(qualities[round(number * last / (count - 1))] for number in range(count))


Report = Callable[[int, int, Task, Point], None]


def run(plan: Plan, report: Report, *, fresh: bool = False) -> list[Result]:
    """Measure what is not yet in the cache, and put the results together.

    Args:
        plan: what to measure.
        report: called after each point with (done, total, task, point).
        fresh: measure everything again.

    Raises:
        KeyboardInterrupt: after the workers were told to stop; all points that were finished are in the
        cache.
    """
    caches = {codec.name: PointCache(codec, plan.cache) for codec in plan.codecs}
    if fresh:
        for cache in caches.values():
            cache.clear()
    finished: dict[Task, Point] = {}
    open_tasks = []
    tasks = plan.tasks()
    for task in tasks:
        known = caches[task.codec.name].get(task.image.sha256, task.quality, plan.metrics)
        if known is None:
            open_tasks.append(task)
        else:
            kept = {name: known.metrics[name] for name in plan.metrics}
            finished[task] = replace(known, image=task.image.name, metrics=kept)
    for task, point in measure_all(open_tasks, plan.jobs):
        caches[task.codec.name].add(task.image.sha256, point)
        finished[task] = point
        report(len(finished), len(tasks), task, point)
    return [
        _result(plan, codec, [finished[task] for task in tasks if task.codec == codec])
        for codec in plan.codecs
    ]


def measure_all(tasks: Sequence[Task], jobs: int) -> Iterable[tuple[Task, Point]]:
    """Measure tasks and yield each as it is finished; in this process for one job.

    A codec that ends its worker process (a crash in a library) becomes a failure of its point: what was
    under way then is measured again, each task in a process of its own, and the rest goes on.
    """
    if jobs == 1 or not tasks:
        for task in tasks:
            yield task, measure_point(task)
        return
    left = dict.fromkeys(tasks)
    while left:
        begun: set[Task] = set()
        try:
            for task, point in _with_pool(list(left), jobs, begun):
                del left[task]
                yield task, point
        except BrokenProcessPool:
            for task in [task for task in left if task in begun]:
                del left[task]
                yield task, _measure_alone(task)


def _measure_alone(task: Task) -> Point:
    """A point from a process of its own; the end of that process is its failure."""
    try:
        ((_, point),) = _with_pool([task], 1, set())
    except BrokenProcessPool as error:
        return Point(image=task.image.name, quality=task.quality, failure=f"The process ended: {error}")
    return point


def _with_pool(tasks: Sequence[Task], jobs: int, begun: set[Task]) -> Iterable[tuple[Task, Point]]:
    """Measure tasks in processes, and note those that were handed out."""
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of libraries in use
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_ignore_interrupts)
    try:
        yield from _drain(pool, tasks, 4 * jobs, begun)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def measure_point(task: Task) -> Point:
    """Encode, decode twice, compare, measure. Whatever goes wrong becomes the point's failure."""
    original = _load(task.image.path)
    point = Point(image=task.image.name, quality=task.quality)
    try:
        _warm_up(task.codec)
        started = time.perf_counter()
        data = task.codec.encode(original, task.quality)
        encoded = time.perf_counter()
        point = replace(
            point, bytes=len(data), bpp=_bits_per_pixel(data, original), encode_seconds=encoded - started
        )
        started = time.perf_counter()
        decoded = task.codec.decode(data)
        point = replace(point, decode_seconds=time.perf_counter() - started)
        _check_like(decoded, original)
        point = replace(point, metrics=measure(task.metrics, original, decoded))
        return _compare_decodings(point, task.codec, data, original, decoded)
    except Exception as error:  # a codec may raise anything; the row says what
        return replace(point, failure=f"{type(error).__name__}: {error}")


def _compare_decodings(
    point: Point, codec: Codec, data: bytes, original: NDArray[np.uint8], decoded: NDArray[np.uint8]
) -> Point:
    import numpy as np

    again = codec.decode_again(data)
    _check_like(again, original)
    peak = int(np.max(np.abs(np.subtract(again, decoded, dtype=np.int16))))
    if peak:
        point = replace(point, peak_difference=peak, psnr_again=psnr_rgb(original, again))
    if peak > codec.tolerance:
        failure = f"Expected two decodings within {codec.tolerance} levels. Found a difference of {peak}."
        return replace(point, failure=failure)
    return point


def _drain(
    pool: Executor, tasks: Sequence[Task], ahead: int, begun: set[Task]
) -> Iterable[tuple[Task, Point]]:
    """Feed the pool a few tasks at a time, so that an interruption has little to cancel."""
    waiting = iter(tasks)
    running: dict[Future[Point], Task] = {}
    while True:
        for task in waiting:
            begun.add(task)
            running[pool.submit(measure_point, task)] = task
            if len(running) >= ahead:
                break
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; only the parent shall act on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@functools.lru_cache(maxsize=2)
def _load(path: Path) -> NDArray[np.uint8]:
    return load(path)


@functools.lru_cache(maxsize=64)
def _warm_up(codec: Codec) -> None:
    """Imports and first-time work of a codec shall not count as the first point's time."""
    import numpy as np

    codec.decode(codec.encode(np.full((64, 64, 3), 128, np.uint8), codec.typical))


def _bits_per_pixel(data: bytes, pixels: NDArray[np.uint8]) -> float:
    height, width = pixels.shape[:2]
    return 8 * len(data) / (int(height) * int(width))


def _check_like(decoded: NDArray[Any], original: NDArray[np.uint8]) -> None:
    if decoded.shape != original.shape or decoded.dtype != original.dtype:
        raise CodecError(
            f"Expected a decoded picture {original.dtype} {original.shape}. "
            f"Received: {decoded.dtype} {decoded.shape}."
        )


def _result(plan: Plan, codec: Codec, points: Sequence[Point]) -> Result:
    identity = dict(codec.identity())
    versions = dict(codec.versions())
    return Result(
        name=codec.name,
        label=codec.label,
        description=", ".join(f"{library} {version}" for library, version in versions.items()),
        averages=averages(points),
        points=points,
        about={
            "codec": {
                "name": codec.name,
                "class": type(codec).__name__,
                "settings": dict(codec.settings()),
                "versions": versions,
                **identity,
            },
            "images": describe_set(plan.image_set, plan.images),
            "run": {**describe_run(), "jobs": plan.jobs},
        },
    )
