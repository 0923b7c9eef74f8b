"""A learned image codec: ``encode`` a picture to the bytes of an .aec file, ``decode`` them back.

    >>> data = aecodec.encode(array_or_pil_image, quality=75)
    >>> pixels = aecodec.decode(data)
    >>> aecodec.probe(data).width

Names are loaded when they are first used: ``import aecodec`` loads neither NumPy nor a runtime, and
``aecodec.probe`` reads a header without either.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aecodec._version import __version__

if TYPE_CHECKING:
    from aecodec.codec import DecodedPicture, decode, decode_picture, encode
    from aecodec.container import Limits
    from aecodec.errors import (
        AecodecError,
        ChecksumError,
        CorruptedError,
        FormatError,
        ImageError,
        InputError,
        LimitError,
        MissingDependencyError,
        ModelError,
        NotAnAecFileError,
        OutputError,
        TruncatedError,
        UnknownModelError,
        UnsupportedError,
    )
    from aecodec.files import decode_file, encode_file
    from aecodec.image import Picture
    from aecodec.inspection import Info, probe
    from aecodec.targets import TargetResult, encode_file_to_target, encode_to_target
    from aecodec.verification import Report, symbols, symbols_hash, verify

__all__ = [
    "AecodecError",
    "ChecksumError",
    "CorruptedError",
    "DecodedPicture",
    "FormatError",
    "ImageError",
    "Info",
    "InputError",
    "LimitError",
    "Limits",
    "MissingDependencyError",
    "ModelError",
    "NotAnAecFileError",
    "OutputError",
    "Picture",
    "Report",
    "TargetResult",
    "TruncatedError",
    "UnknownModelError",
    "UnsupportedError",
    "__version__",
    "decode",
    "decode_file",
    "decode_picture",
    "encode",
    "encode_file",
    "encode_file_to_target",
    "encode_to_target",
    "probe",
    "symbols",
    "symbols_hash",
    "verify",
]

_MODULES = {
    "aecodec.codec": "DecodedPicture decode decode_picture encode",
    "aecodec.container": "Limits",
    "aecodec.errors": "AecodecError ChecksumError CorruptedError FormatError ImageError InputError "
    "LimitError MissingDependencyError ModelError NotAnAecFileError OutputError TruncatedError "
    "UnknownModelError UnsupportedError",
    "aecodec.files": "decode_file encode_file",
    "aecodec.image": "Picture",
    "aecodec.inspection": "Info probe",
    "aecodec.targets": "TargetResult encode_file_to_target encode_to_target",
    "aecodec.verification": "Report symbols symbols_hash verify",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
