"""The codecs that are measured, by name.

Importing this package imports none of the codecs' libraries: each class imports its own when it is used.
"""

from __future__ import annotations

from bench.codecs.aecodec import Aecodec
from bench.codecs.avif import Avif
from bench.codecs.base import Codec, CodecError
from bench.codecs.heic import Heic
from bench.codecs.jpeg import Jpeg, Jpegli
from bench.codecs.jpeg2000 import Jpeg2000
from bench.codecs.jpegxl import JpegXl
from bench.codecs.vvc import Vvc
from bench.codecs.webp import WebP

__all__ = ["Codec", "CodecError", "all_codecs", "default_codecs", "select_codecs"]


def all_codecs() -> tuple[Codec, ...]:
    """Every codec setting that the benchmark knows, the fast ones first."""
    return (
        Aecodec(),
        Jpeg(),
        Jpeg(name="jpeg-plain", label="JPEG 4:2:0, not optimised", optimize=False, extra=True),
        Jpeg(name="jpeg-444", label="JPEG 4:4:4", subsampling="4:4:4"),
        Jpeg(name="jpeg-progressive", label="JPEG 4:2:0 progressive", progressive=True),
        Jpegli(),
        Jpeg2000(),
        WebP(),
        WebP(name="webp-6", label="WebP, method 6", method=6),
        Avif(),
        Avif(name="avif-444", label="AVIF 4:4:4", subsampling="4:4:4"),
        Avif(name="avif-444-psnr", label="AVIF 4:4:4, tune PSNR", subsampling="4:4:4", tune="psnr"),
        JpegXl(),
        JpegXl(name="jpegxl-9", label="JPEG XL, effort 9", effort=9),
        Heic(),
        Heic(name="heic-444", label="HEIC 4:4:4 (x265)", chroma=444),
        Aecodec(name="aecodec-effort-1", label="aecodec, effort 1", effort=1, extra=True),
        Aecodec(name="aecodec-effort-2", label="aecodec, effort 2", effort=2, slow=True, extra=True),
        Aecodec(name="aecodec-effort-4", label="aecodec, effort 4", effort=4, slow=True, extra=True),
        Vvc(),
        Avif(name="avif-420-slow", label="AVIF 4:2:0, speed 0", speed=0, slow=True),
        Avif(name="avif-slow", label="AVIF 4:4:4, tune PSNR, speed 0", subsampling="4:4:4", tune="psnr",
             speed=0, slow=True),
    )  # fmt: skip


def default_codecs() -> tuple[Codec, ...]:
    """What ``rd`` measures when nothing else is asked for: no slow or extra ones."""
    return tuple(codec for codec in all_codecs() if not (codec.slow or codec.extra))


def select_codecs(names: str | None, *, slow: bool = False) -> tuple[Codec, ...]:
    """The codecs named in a comma-separated list; the default ones for None, with the slow ones on request.

    Raises:
        ValueError: a name is unknown.
    """
    if names is None:
        return tuple(codec for codec in all_codecs() if not codec.extra and (slow or not codec.slow))
    known = {codec.name: codec for codec in all_codecs()}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"Unknown codecs: {', '.join(unknown)}. Known are: {', '.join(known)}.")
    return tuple(known[name] for name in wanted)
