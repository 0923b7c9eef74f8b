"""The conformance vectors (formats/aec.md, section 8), decoded by the package and the reference decoder."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aecodec import decode, probe, symbols_hash, verify
from aecodec.errors import AecodecError, FormatError, UnknownModelError, UnsupportedError
from aecodec.image import load_picture, picture_to_array
from aecodec.models import Model, load_model
from aecodec.runtime import Runtime
from tests.helpers import CosineRuntime
from tests.vectors import CLASSES, VECTORS, Vector, reference_decoder, vector_program, vectors

VALID = vectors("valid")
INVALID = vectors("invalid")
#: Refused before anything depends on the model.
WITHOUT_MODEL = [vector for vector in INVALID if not vector.content["needs_model"]]


def model_for(data: bytes) -> Model:
    """The installed model of a file: vectors must not outlive it unnoticed."""
    return load_model(reference_decoder().read_header(data).model_id)


@cache
def reference_model(folder: Path) -> Any:
    """The model as the reference decoder reads it."""
    return reference_decoder().read_model(folder)


def check_pixels(vector: Vector, samples: Any) -> None:
    tolerance = vector.content["pixels"]
    if tolerance is None:
        return
    expected = picture_to_array(load_picture(vector.path.with_name(tolerance["file"])))
    found = np.asarray(samples)
    assert found.dtype == expected.dtype
    expected = expected.reshape(*expected.shape[:2], -1)
    difference = vector_program().difference(found, expected, vector.content["layout"])
    assert difference["peak"] <= tolerance["peak"]
    assert difference["rms"] <= tolerance["rms"]


@pytest.mark.parametrize("vector", VALID, ids=str)
def test_a_valid_file_decodes_to_its_symbols_and_pixels(vector: Vector) -> None:
    data = vector.data
    model_for(data)
    assert symbols_hash(data) == vector.content["symbols_sha256"]
    assert verify(data).ok
    check_pixels(vector, decode(data))


@pytest.mark.parametrize("vector", VALID, ids=str)
def test_the_reference_decoder_decodes_a_valid_file(vector: Vector) -> None:
    data = vector.data
    folder = model_for(data).folder
    decoded = reference_decoder().decode(data, reference_model(folder))
    assert decoded.symbols_hash == vector.content["symbols_sha256"]
    check_pixels(vector, decoded.samples)


@pytest.mark.parametrize("vector", VALID, ids=str)
def test_the_header_of_a_valid_file_says_what_its_description_says(vector: Vector) -> None:
    info, content = probe(vector.data), vector.content
    names = ("width", "height", "layout", "depth", "level", "chunk_side", "model_id")
    assert {name: getattr(info, name) for name in names} == {name: content[name] for name in names}
    flags = (info.has_alpha, info.dependent, info.filtered, info.joined)
    assert flags == tuple(content[name] for name in ("alpha", "dependent", "filtered", "joined"))
    if content["pixels"] is not None:
        with Image.open(vector.path.with_name(content["pixels"]["file"])) as image:
            assert image.size == (info.width, info.height)


@pytest.mark.parametrize("vector", INVALID, ids=str)
def test_an_invalid_file_gives_the_class_of_its_fault(vector: Vector, cosine_model: Model) -> None:
    data, expected = vector.data, CLASSES[vector.content["class"]]
    model: Model | None = None
    runtime: str | Runtime = "onnx"
    if vector.content["needs_model"]:
        model_for(data)
    elif expected is not UnknownModelError:  # nothing but the fault keeps the file from being decoded
        model, runtime = replace(cosine_model, model_id=vector_program().ANY_MODEL), CosineRuntime()
    with pytest.raises(AecodecError) as raised:
        decode(data, model=model, runtime=runtime)
    assert type(raised.value) is expected
    if issubclass(expected, FormatError | UnsupportedError):
        assert expected in {type(problem) for problem in verify(data, model=model).problems}


@pytest.mark.parametrize("vector", INVALID, ids=str)
def test_the_reference_decoder_refuses_an_invalid_file(vector: Vector, cosine_model: Model) -> None:
    data, decoder = vector.data, reference_decoder()
    folder = model_for(data).folder if vector.content["needs_model"] else cosine_model.folder
    with pytest.raises(decoder.RefusedError) as raised:
        decoder.decode(data, reference_model(folder))
    assert raised.value.kind == vector.content["class"]


def test_the_vectors_are_what_their_generator_writes(tmp_path: Path) -> None:
    vector_program().write_vectors(tmp_path, None)
    written = {path.name: path.read_bytes() for path in (tmp_path / "invalid").iterdir()}
    stored = {
        path.name: path.read_bytes()
        for vector in WITHOUT_MODEL
        for path in (vector.path, vector.path.with_suffix(".json"))
    }
    assert written == stored


@pytest.mark.parametrize("flag", ["alpha", "dependent", "filtered", "joined"])
def test_valid_files_have_the_flag_and_do_without(flag: str) -> None:
    assert {vector.content[flag] for vector in VALID if vector.content["pixels"]} == {False, True}


@pytest.mark.parametrize("flag", ["dependent", "filtered"])
def test_valid_files_have_the_flag_and_do_without_in_both_layouts(flag: str) -> None:
    found = {(vector.content["joined"], vector.content[flag]) for vector in VALID}
    assert found == set(product((False, True), repeat=2))


def test_valid_files_of_both_layouts_have_one_chunk_and_several() -> None:
    headers = [reference_decoder().read_header(vector.data) for vector in VALID]
    found = {(header.is_joined, header.chunks > 1) for header in headers}
    assert found == set(product((False, True), repeat=2))


def test_every_class_of_errors_has_a_vector() -> None:
    assert {vector.content["class"] for vector in INVALID} == set(CLASSES)


def test_every_file_of_the_vectors_belongs_to_a_case() -> None:
    named = {
        path for vector in (*VALID, *INVALID) for path in (vector.path, vector.path.with_suffix(".json"))
    }
    pixels = [vector for vector in VALID if vector.content["pixels"]]
    named |= {vector.path.with_name(vector.content["pixels"]["file"]) for vector in pixels}
    assert {path for path in VECTORS.rglob("*") if path.is_file()} == named
