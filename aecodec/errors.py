"""Every exception that aecodec raises on purpose.

    AecodecError                      exit code 1
    ├── InputError                    2   the caller's arguments or the input picture
    │   ├── ImageError                    a picture that cannot be read or is of an unsupported kind
    │   └── LimitError                    larger than the limits in force allow
    ├── FormatError                   3   the bytes are not a whole, well-formed .aec file
    │   ├── NotAnAecFileError             the magic number is missing or damaged
    │   ├── TruncatedError                the bytes end too early
    │   ├── ChecksumError                 a checksum differs
    │   └── CorruptedError                the bytes contradict the format
    ├── UnsupportedError              4   a newer version, an unknown critical section or a reserved bit
    │   └── UnknownModelError             the file needs a model that is not installed
    ├── ModelError                    5   an installed model's own files are damaged or break a bound
    ├── MissingDependencyError        6   an optional package is needed that is not installed
    └── OutputError                   7   the output exists already or cannot be written

Exit code 8 is the command line's own: a picture was decoded from a truncated file (``--allow-partial``).
A message says what was expected, what was found, where, and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class AecodecError(Exception):
    """Base of every error that aecodec raises on purpose."""

    exit_code: ClassVar[int] = 1


class InputError(AecodecError, ValueError):
    """An argument or an input picture is not acceptable."""

    exit_code = 2


class ImageError(InputError):
    """A picture cannot be read, or is of a kind that aecodec does not take."""


class LimitError(InputError):
    """A picture or a file is larger than the limits in force allow."""


class FormatError(AecodecError, ValueError):
    """The bytes are not a whole, well-formed .aec file."""

    exit_code = 3


class NotAnAecFileError(FormatError):
    """The magic number is missing or damaged."""


class TruncatedError(FormatError):
    """The bytes end before the file does."""


class ChecksumError(FormatError):
    """A stored checksum differs from the computed one."""


class CorruptedError(FormatError):
    """The checksums hold, but the bytes contradict the format."""


class UnsupportedError(AecodecError):
    """The file uses something that this version does not know."""

    exit_code = 4


class UnknownModelError(UnsupportedError):
    """The file needs a model that is not installed."""


class ModelError(AecodecError):
    """An installed model's own files are damaged, or break a bound that decoding relies on."""

    exit_code = 5


class MissingDependencyError(AecodecError, ImportError):
    """An optional package is needed that is not installed."""

    exit_code = 6


class OutputError(AecodecError, OSError):
    """The output exists already, or cannot be written."""

    exit_code = 7
