"""The pipeline: picture -> latents -> symbols -> bytes, and its mirror image.

Encoding runs the analysis over windows of the picture, puts the latents together to chunks, and codes each
chunk by itself. Decoding decodes chunks, puts windows together from their latents, and runs the synthesis.
Only the chunks and the window in use are held, so that memory beyond the pixels and the bytes grows with
the width of a picture and not with its area. Analysis and synthesis run in the calling thread (a runtime
uses the cores by itself) while a pool of threads codes the chunks behind or ahead of it; the bytes do not
depend on the number of threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aecodec.arguments import whole_number
from aecodec.container import (
    DEFAULT_CHUNK_SIDE,
    DEFAULT_LIMITS,
    LARGEST_JOINED_SIDE,
    Box,
    ContainerReader,
    Header,
    Limits,
    SectionKind,
    write_container,
)
from aecodec.entropy import ChunkBytes
from aecodec.errors import InputError, ModelError, UnknownModelError
from aecodec.image import (
    Frame,
    Picture,
    Samples,
    picture_from_array,
    picture_from_pillow,
    picture_to_array,
    plane_from_png,
    strip_metadata,
)
from aecodec.models import Model, default_model, find_model, load_model
from aecodec.post_filter import FilterBasis, filtered_core
from aecodec.refinement import Refinement
from aecodec.residuals import ResidualCoder
from aecodec.runtime import Runtime, open_runtime
from aecodec.sections import ChunkDecoding, SectionSource, sections_of
from aecodec.streams import ReadableFile, open_source
from aecodec.windows import (
    HYPER_STRIDE,
    LATENT_STRIDE,
    WINDOW_SIDE,
    LatentStore,
    View,
    Window,
    box_average,
    chunk_uses,
    intersection,
    plan_windows,
    window_pixels,
)

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DecodedPicture",
    "decode",
    "decode_picture",
    "encode",
]

#: A model, its name, its id in hexadecimal digits or its folder; None for the default or the one a file
#: names.
ModelChoice: TypeAlias = Model | str | Path | None
#: Called with how many windows and chunks are done, and how many there are.
Progress: TypeAlias = Callable[[int, int], None]
#: By chunk, the coefficients of its post-filter; None where it has none.
_Filters: TypeAlias = Mapping[int, "NDArray[np.int16] | None"]
#: Previews that are at least so many times smaller do without the synthesis.
_LINEAR_SCALE = 8


@dataclass(frozen=True, eq=False)
class DecodedPicture:
    """A picture, and how complete the file was that it comes from.

    Attributes:
        picture: pixels, alpha and metadata.
        missing: the fraction of the symbols' sections that was not there, or was damaged, of those that were
            needed: 0 to 1. Of a chunk's only section the part that is there counts.
        problems: what was missing or damaged, one sentence each; empty when all was there.
    """

    picture: Picture
    missing: float = 0.0
    problems: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether this is the whole picture."""
        return not self.problems


def encode(
    image: NDArray[Any] | Image | Picture,
    quality: float = 75,
    *,
    level: int | None = None,
    effort: int = 0,
    strip: bool = False,
    model: ModelChoice = None,
    runtime: str | Runtime = "onnx",
    chunk_side: int = DEFAULT_CHUNK_SIDE,
    window_side: int | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Encode a picture.

    Args:
        image: uint8 or uint16 (height, width) or (height, width, channels) with 1 (gray), 2 (gray, alpha),
            3 (RGB) or 4 (RGB, alpha) channels; or a Pillow image; or a Picture.
        quality: 1 (smallest) to 100; fractions are fine.
        level: position on the model's rate scale, 0 to 224, instead of a quality.
        effort: 0 to 4. From 1 on, what the decoder will make of the picture is corrected by a small filter,
            which takes a little more time. Above 1, its latents are searched for by gradient descent through
            the decoder: better pictures for their bytes, at the cost of minutes for each megapixel. That
            needs Keras with TensorFlow or JAX. Any decoder reads the file.
        strip: leave out EXIF, XMP and ICC profile; the pixels are turned upright and converted to sRGB
            first. The profile stays with 16 bits per sample, or where it cannot be applied.
        model: which model encodes, and must be installed (or given) where the file is decoded.
        runtime: what runs the networks: "onnx", "keras", or an object with Runtime's methods.
        chunk_side: pixels, a multiple of 64 up to 4096: the squares that are coded independently.
        window_side: pixels, a multiple of 64: how much of the picture, halo included, passes through the
            analysis at once; 1344 by default. It bounds memory, and changes nothing but the rounding of
            floats.
        jobs: threads that code chunks; by default as many as there are cores. The bytes are the same for
            any number.
        limits: what to accept.
        progress: called in this thread with (done, total), counted in windows and chunks.

    Returns:
        the bytes of an .aec file.

    Raises:
        InputError: an argument is out of its range; ImageError: a kind of picture that is not supported;
            LimitError: a picture that is too large.
        ModelError: the model is missing or damaged.
        MissingDependencyError: the runtime is not installed.
    """
    bounds = limits or DEFAULT_LIMITS
    picture = as_picture(image, bounds)
    bounds.check_picture(picture.width, picture.height)
    kept = strip_metadata(picture) if strip else picture
    chosen = choose_model(model)
    refinement = Refinement.of(effort, chosen)
    side = _checked_side("chunk_side", chunk_side, most=4096)
    header = Header(
        width=kept.width,
        height=kept.height,
        level=_choose_level(chosen, quality, level),
        model_id=chosen.model_id,
        layout=kept.layout,
        depth=kept.depth,
        has_alpha=kept.alpha is not None,
        dependent=True,
        filtered=refinement.filtered,
        joined=max(kept.width, kept.height) <= min(side, LARGEST_JOINED_SIDE),
        chunk_side=side,
    )
    windows = plan_windows(header, chosen.halo.analysis, side=_window_side(window_side))
    ticker = Ticker(progress, len(windows) + header.chunk_count + refinement.tick_count(header))
    engine = _Engine(chosen, _open(runtime, chosen), checked_jobs(jobs), ticker)
    chunks = engine.encode_chunks(kept, header, windows, refinement)
    return write_container(header, sections_of(kept, header, chunks), limits=bounds)


def decode(
    data: ReadableFile,
    *,
    region: tuple[int, int, int, int] | None = None,
    scale: int = 1,
    allow_partial: bool = False,
    model: ModelChoice = None,
    runtime: str | Runtime = "onnx",
    window_side: int | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Samples:
    """Decode a picture to an array; :func:`decode_picture` gives profile, metadata and completeness as well.

    Args: as for :func:`decode_picture`.

    Returns:
        uint8 or uint16, as the source was: (height, width) for gray, (height, width, channels) with 2
        (gray, alpha), 3 (RGB) or 4 (RGB, alpha) channels otherwise.

    Raises:
        as :func:`decode_picture`.
    """
    decoded = decode_picture(
        data,
        region=region,
        scale=scale,
        allow_partial=allow_partial,
        model=model,
        runtime=runtime,
        window_side=window_side,
        jobs=jobs,
        limits=limits,
        progress=progress,
    )
    return picture_to_array(decoded.picture)


def decode_picture(
    data: ReadableFile,
    *,
    region: tuple[int, int, int, int] | None = None,
    scale: int = 1,
    allow_partial: bool = False,
    model: ModelChoice = None,
    runtime: str | Runtime = "onnx",
    window_side: int | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> DecodedPicture:
    """Decode a picture.

    Args:
        data: the file as bytes, a path, or a binary file object, of which only the sections needed are read.
        region: (x, y, width, height) in pixels of the whole picture. Only the chunks and windows that it
            needs are decoded; the pixels are those of the whole picture's, to within one level.
        scale: 1, 2, 4, 8, 16 or 32: a preview that is so many times smaller on each side, rounded up; each
            pixel is the mean of a square of the decoded picture, from 8 on nearly: small previews come from
            the latents without the synthesis (about 40 dB from the means at 8). With a region, the squares
            that it touches.
        allow_partial: decode what there is of a file that ends early, or whose payloads are damaged (damage
            to the heads of sections is an error still). Symbols that are missing are estimated from those
            around them, or taken as 0, missing alpha as opaque; where a damaged section is the chunk's only
            one, what lies behind the damage becomes noise. ``problems`` and ``missing`` of the result tell.
        model: where a model that is not installed lies; its id must be the file's.
        runtime: what runs the networks: "onnx", "keras", or an object with Runtime's methods.
        window_side: pixels, a multiple of 64: how much of the picture, halo included, passes through the
            synthesis at once; 1344 by default. It bounds memory, and moves a sample by one level at most.
        jobs: threads that decode chunks; by default as many as there are cores.
        limits: what to accept, checked before anything of that size is allocated.
        progress: called in this thread with (done, total), counted in windows and chunks.

    Raises:
        InputError: an argument is out of its range, or the file cannot be read; LimitError: the picture is
            larger than the limits allow.
        FormatError: the bytes are not a whole, well-formed .aec file (see its subclasses).
        UnsupportedError: a newer version; UnknownModelError: the file's model is not installed.
        ModelError: the model's own files are damaged.
        MissingDependencyError: the runtime is not installed.
    """
    options = DecodeOptions(region, scale, allow_partial, model, runtime, window_side, jobs, limits, progress)
    with open_decoding(data, options) as decoding:
        return DecodedPicture(decoding.picture(), decoding.source.missing, decoding.source.problems)


@dataclass(frozen=True)
class DecodeOptions:
    """The arguments of :func:`decode_picture`, where they are described."""

    region: tuple[int, int, int, int] | None = None
    scale: int = 1
    allow_partial: bool = False
    model: ModelChoice = None
    runtime: str | Runtime = "onnx"
    window_side: int | None = None
    jobs: int | None = None
    limits: Limits | None = None
    progress: Progress | None = None


@dataclass(frozen=True, eq=False)
class Decoding:
    """A file of which all is read but the pixels.

    Attributes:
        frame: of the picture that comes out.
        alpha: its alpha plane.
        view: which pixels are wanted.
        source: what the file has, and what was found to be missing; the pixels add to that.
    """

    frame: Frame
    alpha: Samples | None
    view: View
    source: SectionSource
    _engine: _Engine
    _windows: Sequence[Window]

    def bands(self) -> Generator[Samples, None, None]:
        """Decode the pixels: (rows, width, layout) from the top to the bottom."""
        return self._engine.decode_bands(self.source, self.view, self._windows, None)

    def picture(self) -> Picture:
        """Decode the pixels into one picture."""
        pixels = self.view.empty_pixels(self.frame.height)
        for _ in self._engine.decode_bands(self.source, self.view, self._windows, pixels):
            pass  # they are parts of the pixels
        return Picture(pixels, self.alpha, self.frame.icc_profile, self.frame.exif, self.frame.xmp)


@contextmanager
def open_decoding(data: ReadableFile, options: DecodeOptions) -> Iterator[Decoding]:
    """Open a file and read all but its pixels.

    Raises:
        as :func:`decode_picture`; in the block, too.
    """
    limits = options.limits or DEFAULT_LIMITS
    with open_source(data) as stream:
        reader = ContainerReader(stream, allow_truncated=options.allow_partial, limits=limits)
        header = reader.header
        view = View.of(header, options.region, options.scale)
        chosen = model_of(header, options.model)
        side, jobs = _window_side(options.window_side), checked_jobs(options.jobs)
        source = SectionSource(reader, tolerant=options.allow_partial)
        source.check_unknown()
        runtime = _open(options.runtime, chosen)
        windows = plan_windows(header, _rounded_up(runtime.synthesis_halo), area=view.area, side=side)
        ticker = Ticker(options.progress, len(windows) + len(_chunks_of(header, windows)))
        engine = _Engine(chosen, runtime, jobs, ticker)
        # What costs little goes first, so that damage there is found before the pixels are decoded.
        frame = _read_frame(source, view)
        alpha = _read_alpha(source, view) if header.has_alpha else None
        yield Decoding(frame, alpha, view, source, engine, windows)


class Ticker:
    """Counts what is done, and tells."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def tick(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


@dataclass(frozen=True, eq=False)
class _Engine:
    """A model, what runs its networks, and how many threads code chunks: the two directions."""

    model: Model
    runtime: Runtime
    jobs: int
    ticker: Ticker

    @cached_property
    def coder(self) -> ResidualCoder:
        return ResidualCoder(self.model, self.runtime)

    @cached_property
    def _filter_basis(self) -> FilterBasis:
        return FilterBasis.of(self.model)

    def encode_chunks(
        self, picture: Picture, header: Header, windows: Sequence[Window], refinement: Refinement
    ) -> list[ChunkBytes]:
        """Windows -> latents -> chunks, in raster order."""
        if refinement.iterations:
            return self._encode_one_by_one(picture, header, windows, refinement)
        coded: dict[int, ChunkBytes] = {}
        workers = (self.jobs + 1) // 2  # a chunk keeps two cores busy, and takes memory
        with thread_pool(workers) as pool:
            waiting: deque[tuple[int, Future[ChunkBytes]]] = deque()
            for chunks in self._analyse(picture, header, windows):
                for index, latents in chunks:
                    job = pool.submit(
                        refinement.encode, latents, self.coder, picture, header, index, self.ticker.tick
                    )
                    waiting.append((index, job))
                self._collect(waiting, coded, leave=workers)
            self._collect(waiting, coded, leave=0)
        return [coded[index] for index in range(header.chunk_count)]

    def _encode_one_by_one(
        self, picture: Picture, header: Header, windows: Sequence[Window], refinement: Refinement
    ) -> list[ChunkBytes]:
        """As `encode_chunks`: a search keeps all cores busy, and ticks in this thread."""
        coded: dict[int, ChunkBytes] = {}
        for chunks in self._analyse(picture, header, windows):
            for index, latents in chunks:
                tick = self.ticker.tick
                coded[index] = refinement.encode(latents, self.coder, picture, header, index, tick)
                tick()
        return [coded[index] for index in range(header.chunk_count)]

    def decode_bands(
        self, source: SectionSource, view: View, windows: Sequence[Window], target: Samples | None
    ) -> Generator[Samples, None, None]:
        """Chunks -> latents -> windows -> the pixels of the view: the rows of windows beside one another at a
        time, as parts of the target if there is one.
        """
        rows = slice(0, 0)
        band = view.empty_pixels(0)
        with closing(self._read_windows(source, view, windows)) as read:
            for window, latents, filters in read:
                if view.rows(window.core) != rows:
                    if len(band):
                        yield band
                    rows = view.rows(window.core)
                    band = view.empty_pixels(rows.stop - rows.start) if target is None else target[rows]
                view.write(band, window.core, self._pixels(latents, window, view, filters))
                self.ticker.tick()
        yield band

    def _analyse(
        self, picture: Picture, header: Header, windows: Sequence[Window]
    ) -> Iterator[list[tuple[int, NDArray[np.float32]]]]:
        """Windows -> after each of them, the chunks whose latents are complete, with those."""
        _, last_uses = chunk_uses(header, [window.core for window in windows])
        store = LatentStore(header, self.model.latent_channels)
        for window, finished in zip(windows, last_uses, strict=True):
            latents = self.runtime.analyse(window_pixels(picture, window.reach), header.level)
            self._check("latents", latents, window.reach, LATENT_STRIDE, self.model.latent_channels)
            store.write(window.core, window.crop_latents(latents))
            self.ticker.tick()
            yield [(index, store.take(index)) for index in finished]

    def _collect(
        self,
        waiting: deque[tuple[int, Future[ChunkBytes]]],
        coded: dict[int, ChunkBytes],
        *,
        leave: int,
    ) -> None:
        """Take in the chunks that are coded; wait until at most ``leave`` are not, which bounds memory."""
        while waiting and (len(waiting) > leave or waiting[0][1].done()):
            index, job = waiting.popleft()
            coded[index] = job.result()
            self.ticker.tick()

    def _read_windows(
        self, source: SectionSource, view: View, windows: Sequence[Window]
    ) -> Generator[tuple[Window, NDArray[np.float32], _Filters], None, None]:
        """Chunks -> each window with the latents of its reach, and the post-filters of its chunks."""
        header = source.header
        first_uses, last_uses = chunk_uses(header, [window.reach for window in windows])
        store = LatentStore(header, self.model.latent_channels)
        filters: dict[int, NDArray[np.int16] | None] = {}
        needed = _hull(windows)
        with thread_pool(self.jobs) as pool:
            waiting: dict[int, ChunkDecoding] = {}
            for window, started, ahead, finished in zip(
                windows, first_uses, [*first_uses[1:], ()], last_uses, strict=True
            ):
                for index in (*started, *ahead):  # the next window's chunks while this one runs
                    if index not in waiting:
                        chunk = ChunkDecoding(source.chunk(index), header, index, self.model.entropy)
                        waiting[index] = chunk
                        pool.submit(chunk.run)
                # While the first chunks are decoded.
                self.runtime.load_decoder(synthesis=view.scale < _LINEAR_SCALE)
                for index in started:
                    part = self._needed_part(header.chunk_box(index), needed)
                    chunk = waiting.pop(index)
                    symbols = chunk.symbols.crop(header.chunk_box(index), part.reach)
                    filters[index] = symbols.coefficients
                    latents = self.coder.reconstruct(symbols.z, symbols.r, header.level, ready=chunk.wait_for)
                    if chunk.problem is not None:
                        source.note(chunk.problem)
                    store.write(part.core, part.crop_latents(latents))
                    self.ticker.tick()
                yield window, store.read(window.reach), filters
                for index in finished:
                    store.take(index)
                    del filters[index]

    def _needed_part(self, chunk: Box, needed: Box) -> Window:
        """Of a chunk the latents that are needed, and the symbols that they are predicted from."""
        core = intersection(chunk, needed)
        margin = max(self.model.halo.decoder - _rounded_up(self.runtime.synthesis_halo), HYPER_STRIDE)
        return Window(core, chunk).nearer(margin)

    def _pixels(
        self, latents: NDArray[np.float32], window: Window, view: View, filters: _Filters
    ) -> NDArray[np.float32]:
        """The float pixels of a window's core at the scale of the view, from the latents of its reach."""
        runtime = self.runtime
        if view.scale >= _LINEAR_SCALE:
            scale = min(view.scale, LATENT_STRIDE)
            preview = runtime.preview(window.crop_latents(latents), scale)
            return box_average(preview, view.scale // scale)
        near = window.nearer(runtime.synthesis_halo)
        pixels = runtime.synthesise(Window(near.reach, window.reach).crop_latents(latents), view.header.level)
        self._check("pixels", pixels, near.reach, 1, 3)
        if view.header.filtered:
            core = filtered_core(pixels, near, view.header, self._filter_basis, filters)
        else:
            core = near.crop_pixels(pixels)
        return box_average(core, view.scale)

    def _check(self, what: str, plane: NDArray[np.float32], box: Box, stride: int, channels: int) -> None:
        expected = (box.height // stride, box.width // stride, channels)
        if plane.shape != expected:
            raise ModelError(
                f"Expected the graphs of model {self.model.name} to give {what} of shape {expected}. "
                f"Found: {plane.shape}. Install the model again"
            )


def _hull(windows: Sequence[Window]) -> Box:
    """The rectangle that the reaches of windows fill."""
    x, y = min(window.reach.x for window in windows), min(window.reach.y for window in windows)
    right, bottom = (
        max(window.reach.right for window in windows),
        max(window.reach.bottom for window in windows),
    )
    return Box(x, y, right - x, bottom - y)


def _rounded_up(halo: int) -> int:
    """Pixels, as a multiple of 64."""
    return -(-halo // HYPER_STRIDE) * HYPER_STRIDE


@contextmanager
def thread_pool(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that starts nothing more once the block is left, by an error or an interrupt."""
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="aecodec")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _read_frame(source: SectionSource, view: View) -> Frame:
    """The frame of the view, with the metadata of the file."""
    header, box = source.header, view.box
    profile, exif, xmp = (
        source.concatenated(kind) for kind in (SectionKind.ICC_PROFILE, SectionKind.EXIF, SectionKind.XMP)
    )
    return Frame(box.width, box.height, header.layout, header.depth, header.has_alpha, profile, exif, xmp)


def _read_alpha(source: SectionSource, view: View) -> Samples:
    """The alpha plane of the view; opaque where a partial file has none."""
    header = source.header
    data = source.concatenated(SectionKind.ALPHA)
    if data is None:
        source.note("The alpha plane is missing; the picture is taken as opaque.")
        dtype = np.uint8 if header.depth == 8 else np.uint16
        return np.full((view.box.height, view.box.width), 2**header.depth - 1, dtype)
    return view.cut_plane(plane_from_png(data, header.width, header.height, header.depth))


def _chunks_of(header: Header, windows: Sequence[Window]) -> set[int]:
    return {index for window in windows for index in header.chunks_touching(window.reach)}


def as_picture(image: Any, limits: Limits) -> Picture:
    if isinstance(image, Picture):
        return image
    if isinstance(image, np.ndarray):
        return picture_from_array(image)
    if hasattr(image, "getbands") and hasattr(image, "tobytes"):
        return picture_from_pillow(image, max_pixels=limits.max_pixels)
    raise InputError(
        f"Expected a NumPy array, a Pillow image or a Picture. Received: {type(image).__name__}. "
        "For a file use encode_file"
    )


def choose_model(model: ModelChoice) -> Model:
    if isinstance(model, Model):
        return model
    if model is not None and not isinstance(model, str | Path):
        raise InputError(f"Expected a model, its name or its folder. Received: {model!r}")
    return default_model() if model is None else find_model(model)


def model_of(header: Header, model: ModelChoice) -> Model:
    """The model that a file names: the installed one, or the given one if it is that."""
    if model is None:
        return load_model(header.model_id)
    chosen = choose_model(model)
    if chosen.model_id != header.model_id:
        raise UnknownModelError(
            f"The file needs the model {header.model_id.hex()}. The model that was given, {chosen.name}, is "
            f"{chosen.model_id.hex()}: give the other one, or none if it is installed"
        )
    return chosen


def _choose_level(model: Model, quality: float, level: int | None) -> int:
    if level is None:
        return model.level_of_quality(quality)
    return whole_number("level", level, 0, model.level_count - 1)


def _open(runtime: str | Runtime, model: Model) -> Runtime:
    return open_runtime(runtime, model) if isinstance(runtime, str) else runtime


def _window_side(side: int | None) -> int:
    return WINDOW_SIDE if side is None else _checked_side("window_side", side)


def _checked_side(name: str, side: int, most: int | None = None) -> int:
    checked = whole_number(name, side, HYPER_STRIDE, most)
    if checked % HYPER_STRIDE:
        raise InputError(f"Expected {name} to be a multiple of {HYPER_STRIDE}. Received: {side!r}")
    return checked


def checked_jobs(jobs: int | None) -> int:
    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return whole_number("jobs", jobs, 1)
