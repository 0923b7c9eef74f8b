"""Whether a file is sound is told without a network; what is wrong is listed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecodec.codec import encode
from aecodec.container import Limits, Section, SectionKind, read_container, write_container
from aecodec.errors import (
    ChecksumError,
    CorruptedError,
    InputError,
    LimitError,
    NotAnAecFileError,
    TruncatedError,
    UnknownModelError,
)
from aecodec.models import Model
from aecodec.residuals import ResidualCoder
from aecodec.verification import symbols, symbols_hash, verify
from tests.helpers import all_symbols, photograph, random_coefficients, with_coefficients


@pytest.fixture(scope="module")
def data(cosine: dict[str, Any]) -> bytes:
    alpha = np.full((200, 150, 1), 9, np.uint8)
    return encode(np.dstack((photograph(200, 150), alpha)), 50, chunk_side=64, **cosine)


def test_a_sound_file_has_no_problems(data: bytes, cosine_model: Model, tmp_path: Path) -> None:
    path = tmp_path / "a.aec"
    path.write_bytes(data)
    for source in (data, path):
        report = verify(source, model=cosine_model)
        assert report.ok
        assert report.problems == ()
        assert report.info is not None
        assert (report.info.width, report.info.height, report.info.bytes) == (150, 200, len(data))
        assert report.symbols_hash == symbols_hash(data, model=cosine_model)


def test_the_hash_is_that_of_all_symbols_in_order(data: bytes, cosine_model: Model) -> None:
    digest = hashlib.sha256()
    for z, r in symbols(data, model=cosine_model):
        assert z.dtype == r.dtype == np.int16
        digest.update(z.astype("<i2").tobytes() + r.astype("<i2").tobytes())
    for jobs in (1, 3):
        assert symbols_hash(data, model=cosine_model, jobs=jobs) == digest.hexdigest()


def test_the_hash_covers_the_coefficients_of_post_filters(cosine: dict[str, Any]) -> None:
    model = cosine["model"]
    data = encode(photograph(100, 200), 30, effort=1, chunk_side=64, **cosine)
    digest = hashlib.sha256()
    for z, r, coefficients in all_symbols(data, model):
        assert coefficients is not None
        assert coefficients.dtype == np.int16
        assert coefficients.shape == (model.entropy.hyper.coefficient_count,)
        for integers in (z, r, coefficients):
            digest.update(integers.astype("<i2").tobytes())
    assert symbols_hash(data, model=model) == digest.hexdigest()
    other = with_coefficients(data, model, random_coefficients(8))
    assert symbols_hash(other, model=model) != digest.hexdigest()
    assert verify(data, model=model).symbols_hash == digest.hexdigest()


def test_the_symbols_are_those_of_the_encoder(cosine: dict[str, Any]) -> None:
    picture = photograph(64, 128)
    [(z, r)] = symbols(encode(picture, level=100, **cosine), model=cosine["model"])
    coder = ResidualCoder(cosine["model"], cosine["runtime"])
    expected_z, expected_r = coder.quantise(coder.runtime.analyse(picture.astype(np.float32), 100), 100)
    assert np.array_equal(z, expected_z)
    assert np.array_equal(r, expected_r)


def test_an_unknown_model_is_a_problem_and_checksums_are_verified_all_the_same(data: bytes) -> None:
    report = verify(data)
    assert [type(problem) for problem in report.problems] == [UnknownModelError]
    assert report.info is not None
    assert report.info.model is None
    assert report.symbols_hash is None
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    assert [type(problem) for problem in verify(damaged).problems] == [UnknownModelError, ChecksumError]


def test_a_truncated_file_is_told(data: bytes, cosine_model: Model) -> None:
    report = verify(data[: len(data) // 2], model=cosine_model)
    assert [type(problem) for problem in report.problems] == [TruncatedError]
    assert report.symbols_hash is None


def test_each_damaged_chunk_is_told(data: bytes, cosine_model: Model) -> None:
    container = read_container(data)
    payload = container.chunk_payload(SectionKind.RESIDUALS_1, 5)
    assert payload
    damaged = bytearray(data)
    damaged[data.index(payload)] ^= 1
    damaged[-20] ^= 1
    report = verify(bytes(damaged), model=cosine_model)
    assert [type(problem) for problem in report.problems] == [ChecksumError, ChecksumError]
    assert report.symbols_hash is None


def test_payloads_that_decode_to_nothing_are_told(data: bytes, cosine_model: Model) -> None:
    container = read_container(data)
    sections = [
        Section(section.kind, b"\1\2\3\4") if section.kind == SectionKind.HYPER_LATENTS else section
        for section in container.sections
    ]
    report = verify(write_container(container.header, sections), model=cosine_model)
    assert {type(problem) for problem in report.problems} == {CorruptedError}


def test_a_contradicting_alpha_plane_is_told_beside_other_damage(data: bytes, cosine_model: Model) -> None:
    container = read_container(data)
    sections = [
        Section(section.kind, b"no PNG file") if section.kind == SectionKind.ALPHA else section
        for section in container.sections
    ]
    damaged = bytearray(write_container(container.header, [*sections, Section(SectionKind.EXIF, b"II*\0")]))
    damaged[-1] ^= 1
    report = verify(bytes(damaged), model=cosine_model)
    assert [type(problem) for problem in report.problems] == [ChecksumError, CorruptedError]


def test_what_is_no_aec_file_is_told(cosine_model: Model) -> None:
    report = verify(b"GIF89a" + bytes(100), model=cosine_model)
    assert not report.ok
    assert isinstance(report.problems[0], NotAnAecFileError)
    assert report.info is None


def test_what_cannot_be_read_or_is_too_large_is_raised(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        verify(tmp_path / "absent.aec")
    with pytest.raises(LimitError):
        verify(data, limits=Limits(max_pixels=10))


def test_progress_counts_chunks(data: bytes, cosine_model: Model) -> None:
    seen: list[tuple[int, int]] = []
    verify(data, model=cosine_model, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(1, 13)]
