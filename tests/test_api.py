"""The public surface, and what an import may load."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import aecodec
from aecodec import errors

PUBLIC = {
    "AecodecError", "ChecksumError", "CorruptedError", "DecodedPicture", "FormatError", "ImageError", "Info",
    "InputError", "LimitError", "Limits", "MissingDependencyError", "ModelError", "NotAnAecFileError",
    "OutputError", "Picture", "Report", "TargetResult", "TruncatedError", "UnknownModelError",
    "UnsupportedError", "__version__", "decode", "decode_file", "decode_picture", "encode", "encode_file",
    "encode_file_to_target", "encode_to_target", "probe", "symbols", "symbols_hash", "verify",
}  # fmt: skip


def test_all_is_the_public_surface() -> None:
    assert set(aecodec.__all__) == PUBLIC
    assert dir(aecodec) == sorted(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(aecodec, name)
    assert name == "__version__" or value.__doc__
    assert name == "__version__" or value.__name__ == name


def test_every_error_is_public() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert raised <= PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'aecodec' has no attribute 'encrypt'"):
        aecodec.encrypt  # noqa: B018


def test_star_import_gives_the_public_names() -> None:
    names: dict[str, Any] = {}
    exec("from aecodec import *", names)
    assert names.keys() >= PUBLIC - {"__builtins__"}


HEAVY = {
    "numpy",
    "PIL",
    "constriction",
    "onnxruntime",
    "onnx",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "click",
}


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import aecodec", set()),
        ("import aecodec; aecodec.AecodecError", set()),
        ("import aecodec; aecodec.probe", set()),
        ("import aecodec; aecodec.Limits", set()),
        ("import aecodec; aecodec.Picture", {"numpy", "PIL"}),
        ("import aecodec; aecodec.encode, aecodec.decode", {"numpy", "PIL"}),
        ("import aecodec; aecodec.verify, aecodec.encode_file", {"numpy", "PIL"}),
        ("import aecodec.runtime, aecodec.models", set()),
        ("import aecodec.pillow", {"numpy", "PIL"}),
    ],
)
def test_an_import_loads_no_more_than_it_needs(statement: str, allowed: set[str]) -> None:
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert set(output.split()) & HEAVY <= allowed


def test_probing_a_file_loads_neither_numpy_nor_a_network() -> None:
    from aecodec.container import Header, write_header

    head = write_header(Header(width=3, height=2, level=7, model_id=bytes(8)))
    program = f"""
import sys, aecodec
info = aecodec.probe({head!r})
print(info.width, *{{name.split('.')[0] for name in sys.modules}})
"""
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert output[0] == "3"
    assert not set(output) & HEAVY
