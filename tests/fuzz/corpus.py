"""Small files to start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aecodec.codec import encode
from aecodec.container import Section, SectionKind, read_container, write_container
from aecodec.image import Picture, picture_from_array
from tests.helpers import photograph, with_layout


def pictures() -> list[tuple[Picture, dict[str, Any]]]:
    """Small pictures of every kind, and arguments to encode them with."""
    photo = photograph(130, 150)
    deep = photo.astype(np.uint16) * 257
    opacity = (np.indices((130, 150)).sum(axis=0) * 240).astype(np.uint16)
    metadata = {"icc_profile": b"profile", "exif": b"II*\0" + bytes(20), "xmp": b"<x:xmpmeta/>"}
    return [
        (picture_from_array(photo[:1, :1]), {"level": 0}),
        (picture_from_array(photo[:64, :64]), {"level": 110}),
        (picture_from_array(photo[:65, :63, :1]), {"level": 224}),
        (picture_from_array(photo, **metadata), {"level": 64, "chunk_side": 64}),
        (picture_from_array(np.dstack((photo[:40, :30], opacity[:40, :30].astype(np.uint8)))), {"level": 20}),
        (picture_from_array(np.dstack((deep[:9, :70], opacity[:9, :70])), **metadata), {"level": 190}),
        (picture_from_array(np.zeros((50, 64, 3), np.uint8)), {"level": 96}),
        (picture_from_array(photo), {"level": 150, "chunk_side": 64, "effort": 1}),
        (picture_from_array(deep[:70, :50, :1]), {"level": 5, "effort": 1}),
    ]


def encoded_pictures(arguments: Mapping[str, Any]) -> list[bytes]:
    """The pictures as files; ``arguments`` say which model and which runtime."""
    files = [encode(picture, **options, **arguments, jobs=1) for picture, options in pictures()]
    others = [
        with_layout(data, arguments["model"], joined=joined)
        for data, joined in ((files[1], False), (files[3], True))
    ]
    return [*files, *others, _with_extensions(files[1]), _with_alpha_in_pieces(files[4])]


def _with_extensions(data: bytes) -> bytes:
    whole = read_container(data)
    return write_container(whole.header, [Section(0xF0, b"private"), *whole.sections, Section(0x90, b"")])


def _with_alpha_in_pieces(data: bytes) -> bytes:
    whole = read_container(data)
    *others, alpha = whole.sections
    pieces = [Section(SectionKind.ALPHA, piece) for piece in (alpha.payload[:50], b"", alpha.payload[50:])]
    return write_container(whole.header, [*others, pieces[0], Section(0xFF, b"x"), *pieces[1:]])
