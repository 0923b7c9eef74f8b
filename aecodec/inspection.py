"""What a file says of itself: its header and its sections, without NumPy, without a network."""

from __future__ import annotations

from dataclasses import dataclass

from aecodec.container import HEADER_SIZE, ContainerReader, Header, Limits, read_header, section_name
from aecodec.errors import AecodecError
from aecodec.models import Model, load_model
from aecodec.streams import ReadableFile, open_source, size_of

__all__ = ["Info", "SectionSize", "info_of", "probe", "section_sizes"]

_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Info:
    """What the header of a file says, and its size.

    Attributes:
        width: pixels.
        height: pixels.
        layout: colour channels of the source: 1 (gray) or 3 (RGB).
        depth: bits per sample: 8 or 16.
        has_alpha: whether an alpha plane is stored.
        dependent: whether quantisation is dependent (section 9.5 of the format), not plain.
        filtered: whether chunks have post-filters (section 11.4).
        joined: whether each chunk has one section (section 9.8).
        level: position on the model's rate scale, 0 to 224.
        quality: the quality from 1 to 100 that comes nearest to the level; None when the model is not
            installed.
        model_id: 16 hexadecimal digits.
        model: name of the model; None when it is not installed.
        chunk_side: side of the independently coded chunks in pixels.
        bytes: size of the file.
    """

    width: int
    height: int
    layout: int
    depth: int
    has_alpha: bool
    dependent: bool
    filtered: bool
    joined: bool
    level: int
    quality: int | None
    model_id: str
    model: str | None
    chunk_side: int
    bytes: int

    @property
    def bits_per_pixel(self) -> float:
        """Rate of the whole file."""
        return 8 * self.bytes / (self.width * self.height)


@dataclass(frozen=True)
class SectionSize:
    """How often a kind of section occurs, and the bytes of its payloads together."""

    name: str
    count: int
    bytes: int


def probe(data: ReadableFile, *, limits: Limits | None = None) -> Info:
    """Read the header of a file; neither are checksums of sections verified nor is anything decoded.

    Args:
        data: the file as bytes, a path or a binary file object.
        limits: what to accept.

    Raises:
        InputError: the file cannot be read; LimitError: the picture is larger than the limits.
        FormatError: it is no .aec file, or its header is damaged.
        UnsupportedError: a newer version of the format.
    """
    with open_source(data) as stream:
        size = size_of(stream)
        header = read_header(stream.read(HEADER_SIZE), limits=limits or _DEFAULT_LIMITS)
        return info_of(header, size)


def info_of(header: Header, size: int, model: Model | None = None) -> Info:
    """The Info of a file of ``size`` bytes; ``model``, by default the installed one, gives the names."""
    known = model or _installed(header.model_id)
    return Info(
        width=header.width,
        height=header.height,
        layout=header.layout,
        depth=header.depth,
        has_alpha=header.has_alpha,
        dependent=header.dependent,
        filtered=header.filtered,
        joined=header.joined,
        level=header.level,
        quality=known.quality_of_level(header.level) if known else None,
        model_id=header.model_id.hex(),
        model=known.name if known else None,
        chunk_side=header.chunk_side,
        bytes=size,
    )


def _installed(model_id: bytes) -> Model | None:
    try:
        return load_model(model_id)
    except AecodecError:
        return None


def section_sizes(data: ReadableFile, *, limits: Limits | None = None) -> tuple[SectionSize, ...]:
    """The kinds of sections in the order in which they first occur; of a truncated file those that are whole.

    Raises:
        The errors of :func:`probe`; FormatError also when the sections contradict the format.
    """
    with open_source(data) as stream:
        reader = ContainerReader(stream, allow_truncated=True, limits=limits or _DEFAULT_LIMITS)
    lengths: dict[int, list[int]] = {}
    for entry in reader.entries:
        lengths.setdefault(entry.kind, []).append(entry.length)
    return tuple(SectionSize(section_name(kind), len(sizes), sum(sizes)) for kind, sizes in lengths.items())
