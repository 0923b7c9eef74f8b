"""Fuzz whole decodes, with a model that needs no training and, one time in ten, with the default model.

Whatever the bytes, decoding ends in a picture of the size that the header says or in an error of the
package's own; ``verify`` agrees; where the reference decoder computes symbols, they are the same; and the
picture can be written. Run it with ``python -m tests.fuzz.decoder --executions 20000``.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from aecodec.codec import decode_picture
from aecodec.container import Header, Limits, read_header
from aecodec.errors import AecodecError, ImageError, InputError, LimitError, OutputError
from aecodec.image import Picture, save_picture
from aecodec.models import Model, default_model
from aecodec.runtime import Runtime, open_runtime
from aecodec.verification import symbols_hash, verify
from tests.fuzz.container import attempt
from tests.fuzz.corpus import encoded_pictures
from tests.fuzz.harness import Bounds, Finding, main
from tests.fuzz.mutations import Mutator
from tests.helpers import CosineRuntime, fake_model
from tests.vectors import reference_decoder, vectors

LIMITS = Limits(max_side=1024, max_pixels=2**16)
BOUNDS = Bounds(seconds=20.0, megabytes=256.0)
#: Not errors of a file.
FOREIGN = (OutputError,)


@dataclass(frozen=True)
class Target:
    """What decodes, and what it is fed with."""

    model: Model
    runtime: Runtime
    mutator: Mutator
    reference_model: Any

    @classmethod
    def of(cls, model: Model, runtime: Runtime, files: list[bytes]) -> Target:
        corpus = [*encoded_pictures({"model": model, "runtime": runtime}), *files]
        return cls(model, runtime, Mutator(corpus), reference_decoder().read_model(model.folder))


class Targets:
    """The fake model and, when it is installed, the default model."""

    def __init__(self, folder: Path) -> None:
        self._fake = Target.of(fake_model(folder), CosineRuntime(), [])
        self._default: Target | None = None
        try:
            model = default_model()
        except AecodecError:
            return
        cases = [case.data for case in (*vectors("valid"), *vectors("invalid"))]
        own = [data for data in cases if data[24:32] == model.model_id]
        self._default = Target.of(model, open_runtime("onnx", model), own)

    def file(self, random: Random) -> bytes:
        """A mutated file of one of the targets."""
        return self._choose(random).mutator.file(random)

    def _choose(self, random: Random) -> Target:
        # The first number of an execution's random source decides, so that ``examine`` finds it again.
        return self._default if self._default and random.random() < 0.1 else self._fake

    def examine(self, data: bytes, random: Random) -> str:
        """Decode a file in one of the ways in which it can be done, and verify it."""
        target = self._fake
        if self._default is not None and data[24:32] == self._default.model.model_id:
            target = self._default
        return _examine(data, target, random)


def _examine(data: bytes, target: Target, random: Random) -> str:
    options = _options(data, random)
    decoded = attempt(
        lambda: decode_picture(
            data, model=target.model, runtime=target.runtime, limits=LIMITS, jobs=1, **options
        )
    )
    report = attempt(lambda: verify(data, model=target.model, limits=LIMITS, jobs=1))
    if isinstance(decoded, FOREIGN) or isinstance(report, FOREIGN):
        raise Finding(f"{decoded!r}, {report!r}")
    if not options:
        _check_verdicts(decoded, report)
        _check_symbols(data, target, decoded)
    if isinstance(decoded, AecodecError):
        if isinstance(decoded, InputError) and not isinstance(decoded, LimitError):
            raise Finding(f"no fault of the caller: {decoded!r}")
        return type(decoded).__name__
    _check_picture(read_header(data), decoded, options)
    if random.random() < 0.1:
        _write(decoded.picture, random)
    return "partial" if decoded.problems else "whole"


def _options(data: bytes, random: Random) -> dict[str, Any]:
    """How to decode: mostly all of it; sometimes what is there, a region, or a preview."""
    options: dict[str, Any] = {}
    header = attempt(lambda: read_header(data))
    if random.random() < 0.5 or not isinstance(header, Header):
        return options
    if random.random() < 0.6:
        options["allow_partial"] = True
    if random.random() < 0.4:
        x, y = random.randrange(header.width), random.randrange(header.height)
        options["region"] = (x, y, random.randint(1, header.width - x), random.randint(1, header.height - y))
    if random.random() < 0.3:
        options["scale"] = random.choice((2, 4, 8))
    return options


def _check_verdicts(decoded: Any, report: Any) -> None:
    if isinstance(report, AecodecError):
        if type(decoded) is not type(report):
            raise Finding(f"verify raises {report!r}, decoding gives {decoded!r}")
    elif isinstance(decoded, AecodecError):
        if type(decoded) not in {type(problem) for problem in report.problems}:
            raise Finding(f"decoding raises {decoded!r}, verify finds {report.problems}")
    elif not report.ok:
        raise Finding(f"decoding succeeds, verify finds {report.problems}")


def _check_symbols(data: bytes, target: Target, decoded: Any) -> None:
    """The reference decoder takes the same files, and gets the same symbols."""
    if isinstance(decoded, LimitError):
        return
    decoder = reference_decoder()
    try:
        expected, alpha = _reference_result(data, target.reference_model)
    except decoder.RefusedError as error:
        if not isinstance(decoded, AecodecError):
            raise Finding(f"the reference decoder refuses a file that decodes: {error}") from error
        return
    if isinstance(decoded, AecodecError):
        raise Finding(f"the reference decoder takes a file that does not decode: {decoded!r}") from decoded
    if symbols_hash(data, model=target.model, limits=LIMITS, jobs=1) != expected:
        raise Finding("the reference decoder gets other symbols")
    if not np.array_equal(decoded.picture.alpha, alpha):
        raise Finding("the reference decoder gets another alpha plane")


def _reference_result(data: bytes, model: Any) -> tuple[str, Any]:
    """The hash of the symbols, and alpha or None: ``decode`` of the reference decoder without the graph."""
    decoder = reference_decoder()
    header = decoder.read_header(data)
    sections = decoder.read_sections(data, header)
    decoder.demand(header.model_id == model.id, "unknown model", "")
    pieces = b"".join(sections[decoder.ALPHA])
    alpha = decoder.read_alpha(pieces, header) if header.has_alpha else None
    digest = hashlib.sha256()
    for number, (i, j) in enumerate(header.boxes):
        h, w = i.stop - i.start, j.stop - j.start
        payloads = [sections[kind][number] for kind in header.chunk_kinds]
        stacks = decoder.stacks_of(payloads, header.is_joined)
        filters = [decoder.decode_coefficients(stacks[0], model)] if header.is_filtered else []
        symbols = decoder.decode_chunk(stacks, h, w, model, header.level, header.is_dependent)
        for integers in (*symbols, *filters):
            digest.update(integers.astype("<i2").tobytes())
    return digest.hexdigest(), alpha


def _check_picture(header: Header, decoded: Any, options: dict[str, Any]) -> None:
    scale = options.get("scale", 1)
    x, y, width, height = options.get("region", (0, 0, header.width, header.height))
    shape = (-(-(y + height) // scale) - y // scale, -(-(x + width) // scale) - x // scale)
    picture = decoded.picture
    dtype = np.uint8 if header.depth == 8 else np.uint16
    if picture.pixels.shape != (*shape, header.layout) or picture.pixels.dtype != dtype:
        raise Finding(f"pixels {picture.pixels.shape} {picture.pixels.dtype} for {header}, {options}")
    if (picture.alpha is not None) != header.has_alpha:
        raise Finding("the alpha plane is not what the header says")
    if picture.alpha is not None and (picture.alpha.shape != shape or picture.alpha.dtype != dtype):
        raise Finding(f"alpha {picture.alpha.shape} {picture.alpha.dtype} for {header}, {options}")
    if not 0 <= decoded.missing <= 1 or (decoded.problems and not options.get("allow_partial")):
        raise Finding(f"{decoded.missing} missing: {decoded.problems}")


def _write(picture: Picture, random: Random) -> None:
    """Hostile metadata do not keep a picture from being written, where the format can hold it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name in random.sample(("png", "tiff", "jpeg", "webp"), 2):
            written = attempt(partial(save_picture, picture, io.BytesIO(), name))
            if isinstance(written, AecodecError) and (name == "png" or not isinstance(written, ImageError)):
                raise Finding(f"{name}: {written!r}")


def with_targets(use: Callable[[Targets], None]) -> None:
    """Make the models, use them, and remove the fake one."""
    with tempfile.TemporaryDirectory() as folder:
        use(Targets(Path(folder)))


if __name__ == "__main__":
    with_targets(lambda targets: main(__doc__ or "", targets.file, targets.examine, BOUNDS))
