"""Models: their ids, the registry, manifests that are refused, and arrays that are read lazily."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecodec import models
from aecodec.errors import InputError, ModelError, UnknownModelError
from aecodec.models import (
    Halo,
    find_model,
    load_model,
    load_model_folder,
    model_id_of,
    read_registry,
    registry,
)
from tests.helpers import fake_model, model_arrays, model_manifest, write_model


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models, "one" (the default) and "two", in the place of the package's own."""
    found = {}
    for seed, name in enumerate(("one", "two")):
        folder = write_model(tmp_path / name, seed)
        found[json.loads((folder / "model.json").read_text())["model_id"]] = name
    (tmp_path / "registry.json").write_text(json.dumps({"default": "one", "models": found}))
    monkeypatch.setattr(models, "registry", lambda: read_registry(tmp_path))
    return tmp_path


class TestTheId:
    def test_it_is_the_hash_of_a_serialisation_written_out_here(self) -> None:
        manifest = {
            "format": 1,
            "architecture": {"b": [1, 2], "a": "ä"},
            "latent_channels": 16,
            "hyper_channels": 2,
            "level_count": 225,
            "name": "not covered",
        }
        arrays = {"b": np.array([[1.5, -2]], ">f2"), "a": np.array(7, np.int32), "analysis/x": np.zeros(3)}
        import hashlib

        expected = hashlib.sha256(
            b"aecodec model\n"
            b'{"architecture":{"a":"\\u00e4","b":[1,2]},"format":1,"hyper_channels":2,"latent_channels":16,'
            b'"level_count":225}\n'
            b"a <i4 \n\x07\x00\x00\x00"
            b"b <f2 1,2\n\x00\x3e\x00\xc0"
        ).digest()[:8]
        assert model_id_of(manifest, arrays) == expected

    def test_it_does_not_depend_on_memory_layout(self) -> None:
        arrays = model_arrays()
        manifest = model_manifest(arrays)
        fortran = {name: np.array(array, order="F") for name, array in reversed(arrays.items())}
        assert model_id_of(manifest, fortran) == model_id_of(manifest, arrays)

    @pytest.mark.parametrize(
        "name",
        [
            "tables/step2/frequencies",
            "tables/hyper_latents/choice",
            "tables/hyper_latents/of_filter",
            "post_filter/kernel",
            "synthesis/weight",
        ],
    )
    def test_it_changes_with_every_array_that_decoding_needs(self, name: str) -> None:
        arrays = model_arrays()
        manifest = model_manifest(arrays)
        changed = arrays | {name: arrays[name] + 1}
        assert model_id_of(manifest, changed) != model_id_of(manifest, arrays)
        assert model_id_of(manifest, {key: arrays[key] for key in arrays if key != name}) != model_id_of(
            manifest, arrays
        )

    def test_it_changes_with_the_architecture_but_not_with_encoder_name_or_training(self) -> None:
        arrays = model_arrays()
        manifest = model_manifest(arrays)
        same = manifest | {"name": "other", "training": {"steps": 1}, "quality_levels": [0] * 100}
        assert model_id_of(same, arrays | {"analysis/weight": np.zeros(9)}) == model_id_of(manifest, arrays)
        assert model_id_of(manifest | {"architecture": {}}, arrays) != model_id_of(manifest, arrays)


def test_every_model_of_the_package_has_the_id_that_its_content_gives() -> None:
    found = registry()
    for identifier, name in found.models.items():
        model = load_model(bytes.fromhex(identifier))
        assert model.name == name
        assert model.model_id.hex() == identifier == model_id_of(model.manifest, model.arrays).hex()
        assert model.entropy.scale_network.latent_channels == model.latent_channels
    assert not found.models or found.default in found.models.values()


class TestFinding:
    def test_by_id_name_hexadecimal_digits_and_folder(self, installed: Path) -> None:
        one, two = find_model("one"), find_model("two")
        assert models.default_model() is one
        assert load_model(two.model_id) is two
        assert find_model(two.model_id.hex().upper()) is two
        assert find_model(installed / "two") is two
        assert one.model_id != two.model_id

    def test_an_unknown_id_is_named_with_what_is_installed(self, installed: Path) -> None:
        with pytest.raises(UnknownModelError, match=r"00ff00ff00ff00ff.*one.*two"):
            load_model(bytes.fromhex("00ff00ff00ff00ff"))

    def test_an_unknown_name_is_named_with_what_is_installed(self, installed: Path) -> None:
        with pytest.raises(InputError, match=r"'three'.*one, two"):
            find_model("three")

    def test_without_any_model_the_error_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(models, "registry", lambda: read_registry(tmp_path))
        with pytest.raises(ModelError, match="No model is installed"):
            models.default_model()

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", '{"default": 1, "models": {}}', '{"default": "a", "models": []}']
    )
    def test_a_damaged_registry_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "registry.json").write_text(content)
        with pytest.raises(ModelError, match=r"registry\.json"):
            read_registry(tmp_path)

    def test_a_model_that_was_exported_again_is_read_again(self, tmp_path: Path) -> None:
        first = fake_model(tmp_path)
        assert load_model_folder(tmp_path / "fake") is first
        second = fake_model(tmp_path, seed=1)
        assert second is not first
        assert second.model_id != first.model_id


class TestManifests:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("name", None),
            ("format", 2),
            ("model_id", "12"),
            ("model_id", "X" * 16),
            ("latent_channels", 20),
            ("latent_channels", 0),
            ("latent_channels", True),
            ("hyper_channels", 1.5),
            ("level_count", 257),
            ("quality_levels", [0] * 99),
            ("quality_levels", [1] + [0] * 99),
            ("quality_levels", [225] * 100),
            ("halo", {"analysis": 64}),
            ("halo", {"encoder": 64, "decoder": 64}),
            ("halo", {"analysis": 64, "decoder": 65}),
            ("halo", {"analysis": 64, "decoder": -64}),
        ],
    )
    def test_a_wrong_value_is_named(self, tmp_path: Path, key: str, value: object) -> None:
        write_model(tmp_path / "fake", **{key: value})
        with pytest.raises(ModelError, match=key):
            load_model_folder(tmp_path / "fake")

    def test_a_manifest_that_is_missing_or_no_json(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"model\.json"):
            load_model_folder(tmp_path)
        (tmp_path / "model.json").write_bytes(b"\xff{")
        with pytest.raises(ModelError, match="JSON"):
            load_model_folder(tmp_path)

    def test_what_it_says_is_given(self, tmp_path: Path) -> None:
        model = fake_model(tmp_path)
        assert (model.latent_channels, model.hyper_channels, model.level_count) == (48, 8, 225)
        assert model.halo == Halo(64, 64)
        assert model.folder == tmp_path / "fake"


def test_lambda_rises_by_the_same_factor_from_level_to_level(tmp_path: Path) -> None:
    model = load_model_folder(write_model(tmp_path / "fake", lambdas={"min": 0.001, "max": 0.4}))
    lambdas = np.array([model.lambda_of_level(level) for level in range(225)])
    assert lambdas[[0, -1]] == pytest.approx([0.001, 0.4])
    assert lambdas[1:] / lambdas[:-1] == pytest.approx(400 ** (1 / 224))


@pytest.mark.parametrize("lambdas", [None, {"min": 0.001}, {"min": 0.001, "max": "much"}])
def test_a_manifest_without_lambdas_is_told_when_they_are_needed(lambdas: object, tmp_path: Path) -> None:
    model = load_model_folder(write_model(tmp_path / "fake", lambdas=lambdas))
    with pytest.raises(ModelError, match="lambdas"):
        model.lambda_of_level(100)


class TestQualities:
    def test_they_are_interpolated_between_the_levels_of_the_table(self, tmp_path: Path) -> None:
        model = load_model_folder(
            write_model(tmp_path / "fake", quality_levels=[2 * index for index in range(100)])
        )
        levels = [model.level_of_quality(quality) for quality in (1, 2, 50, 50.5, 99.4, 100)]
        assert levels == [0, 2, 98, 99, 197, 198]

    def test_the_quality_of_a_level_is_the_nearest_and_lowest(self, tmp_path: Path) -> None:
        table = [0] * 50 + [100] * 49 + [224]
        model = load_model_folder(write_model(tmp_path / "fake", quality_levels=table))
        assert [model.quality_of_level(level) for level in (0, 49, 50, 51, 162, 163)] == [
            1,
            1,
            1,
            51,
            51,
            100,
        ]

    def test_every_quality_comes_back(self, tmp_path: Path) -> None:
        model = fake_model(tmp_path)
        qualities = range(1, 101)
        assert [model.quality_of_level(model.level_of_quality(quality)) for quality in qualities] == list(
            qualities
        )


class TestArrays:
    def test_they_are_a_mapping_of_what_was_written(self, tmp_path: Path) -> None:
        arrays = fake_model(tmp_path).arrays
        written = model_arrays()
        assert set(arrays) == set(written)
        assert len(arrays) == len(written)
        assert all(np.array_equal(arrays[name], written[name]) for name in written)
        with pytest.raises(KeyError):
            arrays["absent"]

    def test_threads_read_them_at_the_same_time(self, tmp_path: Path) -> None:
        arrays = fake_model(tmp_path).arrays
        written = model_arrays()
        with ThreadPoolExecutor(4) as pool:
            for name, array in zip([*written] * 4, pool.map(arrays.__getitem__, [*written] * 4), strict=True):
                assert np.array_equal(array, written[name])

    def test_missing_damaged_and_pickled_files_are_model_errors(self, tmp_path: Path) -> None:
        def pickled(path: Path) -> None:
            arrays: dict[str, Any] = {"tables/step0/half_width": np.array([{}], dtype=object)}
            np.savez(path, **arrays)

        def flipped(path: Path) -> None:
            content = bytearray(path.read_bytes())
            content[len(content) // 3] ^= 1
            path.write_bytes(content)

        def one_array(path: Path) -> None:
            with path.open("wb") as stream:
                np.save(stream, np.zeros(3))

        damages = {
            "missing": Path.unlink,
            "empty": lambda path: path.write_bytes(b""),
            "no archive": lambda path: path.write_bytes(b"PK\3\4 and nothing"),
            "one array": one_array,
            "cut": lambda path: path.write_bytes(path.read_bytes()[:-30]),
            "flipped": flipped,
            "pickled": pickled,
        }
        for number, damage in enumerate(damages.values()):
            model = fake_model(tmp_path / str(number))
            damage(model.folder / "arrays.npz")
            with pytest.raises(ModelError, match=r"arrays\.npz|no array"):
                [model.arrays[name] for name in model.arrays], model.entropy
