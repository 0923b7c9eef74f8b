"""The installed models: which there are, where their files lie, and what they are called in a file.

A released model is a folder ``models/<name>/``:

    model.json      the manifest
    arrays.npz      the weights (float16), and the integer arrays of the entropy model
    analysis.onnx   pixels to latents, without weights, as all graphs
    hyper_analysis.onnx, hyper_synthesis.onnx
                    latents to hyper-latents, and those to what the prediction starts from
    step_0.onnx ... step_4.onnx
                    the five steps of the prediction of latents
    synthesis.onnx  latents to pixels

``models/registry.json`` maps model ids to names. A released model is never changed or removed.

The model id is the first 8 bytes of the SHA-256 of a canonical serialisation of what decoding needs
(:func:`model_id_of`), so that it names the decoder's behaviour and not a position in some list.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aecodec.errors import InputError, ModelError, UnknownModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aecodec.entropy import EntropyModel

__all__ = [
    "ENCODER_ONLY_PREFIXES",
    "MODEL_ID_BYTES",
    "Halo",
    "Model",
    "Registry",
    "default_model",
    "find_model",
    "load_model",
    "load_model_folder",
    "model_id_of",
    "registry",
]

MODEL_ID_BYTES = 8
MANIFEST_FORMAT = 1
MANIFEST_FILE = "model.json"
ARRAYS_FILE = "arrays.npz"
REGISTRY_FILE = "registry.json"
#: Arrays whose names begin so are used by the encoder alone: a better analysis may come without a new model
#: id.
ENCODER_ONLY_PREFIXES = ("analysis/", "hyper_analysis/", "encoder/")
#: What the model id covers of the manifest: all that the meaning of the arrays depends on.
IDENTIFYING_KEYS = ("format", "architecture", "latent_channels", "hyper_channels", "level_count")
_HALO_MULTIPLE = 64
_QUALITY_COUNT = 100


@dataclass(frozen=True)
class Halo:
    """Pixels, multiples of 64, that a window needs around its core for the same result as without windows.

    Attributes:
        analysis: of the encoder's pixels: no layer of the analysis looks further.
        decoder: as measured: pixels of photographs are the same but for rounding.
    """

    analysis: int
    decoder: int


@dataclass(frozen=True)
class Registry:
    """What ``registry.json`` says.

    Attributes:
        default: name of the model that encoders use unless told otherwise; empty when there is none.
        models: name of the model's folder by model id (16 lower-case hexadecimal digits).
        folder: where the models' folders lie.
    """

    default: str
    models: Mapping[str, str]
    folder: Path


@dataclass(frozen=True, eq=False)
class Model:
    """One installed model; cheap to make, its arrays are read when first used.

    Models compare and hash by identity: the loaders are cached and give the same object again.

    Attributes:
        model_id: the 8 bytes that a file names the model by.
        name: the name of its folder.
        manifest: the parsed ``model.json``.
        folder: where its files lie.
    """

    model_id: bytes
    name: str
    manifest: Mapping[str, Any] = field(repr=False)
    folder: Path

    @cached_property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays of ``arrays.npz`` by name, each read when it is asked for: decoding reads no encoder.

        Raises:
            ModelError: the file is missing or damaged (also when one of its arrays is asked for).
        """
        return _Arrays(self.folder / ARRAYS_FILE)

    @cached_property
    def entropy(self) -> EntropyModel:
        """The integer scale network and the tables.

        Raises:
            ModelError: the arrays are missing, damaged, or break a bound that exact arithmetic relies on.
        """
        from aecodec.entropy import EntropyModel

        return EntropyModel.from_arrays(self.arrays)

    @property
    def latent_channels(self) -> int:
        return int(self.manifest["latent_channels"])

    @property
    def hyper_channels(self) -> int:
        return int(self.manifest["hyper_channels"])

    @property
    def level_count(self) -> int:
        return int(self.manifest["level_count"])

    @property
    def halo(self) -> Halo:
        return Halo(int(self.manifest["halo"]["analysis"]), int(self.manifest["halo"]["decoder"]))

    def lambda_of_level(self, level: int) -> float:
        """Bits that a squared error of one grey level of all colours of a pixel counts at a level 0..224, by
        which the model was trained.

        Raises:
            ModelError: the manifest does not tell.
        """
        try:
            least, most = (float(self.manifest["lambdas"][name]) for name in ("min", "max"))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"Expected the lambdas of the model {self.name} in {self.folder / MANIFEST_FILE}, found none "
                f"({error}): reinstall the model"
            ) from error
        return float(least * (most / least) ** (level / (self.level_count - 1)))

    def level_of_quality(self, quality: float) -> int:
        """The level that a quality of 1 (smallest file) to 100 stands for, interpolated between whole
        qualities.

        Raises:
            InputError: the quality is no number from 1 to 100.
        """
        if isinstance(quality, bool) or not isinstance(quality, Real) or not 1 <= quality <= _QUALITY_COUNT:
            raise InputError(f"Expected a quality from 1 to {_QUALITY_COUNT}. Received: {quality!r}")
        levels = self.manifest["quality_levels"]
        below = min(int(quality), _QUALITY_COUNT - 1)
        fraction = float(quality) - below
        return int(levels[below - 1] * (1 - fraction) + levels[below] * fraction + 0.5)

    def quality_of_level(self, level: int) -> int:
        """The whole quality whose level is nearest; the lower one of two that are equally near."""
        levels = self.manifest["quality_levels"]
        return 1 + min(range(_QUALITY_COUNT), key=lambda index: abs(levels[index] - level))


def model_id_of(manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The 8 bytes that name a model in a file.

    They are the first 8 of the SHA-256 over: the line ``aecodec model``; one line of JSON (keys sorted, no
    spaces, ASCII) with the manifest's IDENTIFYING_KEYS; then every array that is not for the encoder alone
    (ENCODER_ONLY_PREFIXES), in the order of their names as UTF-8: one line ``name dtype shape`` (NumPy's
    little-endian dtype string, axes separated by commas) and the elements, little-endian in C order.
    """
    import numpy as np

    digest = hashlib.sha256(b"aecodec model\n")
    identifying = {key: manifest[key] for key in IDENTIFYING_KEYS}
    digest.update(json.dumps(identifying, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n")
    for name in sorted(arrays, key=lambda text: text.encode()):
        if name.startswith(ENCODER_ONLY_PREFIXES):
            continue
        array = np.asarray(arrays[name])
        little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        shape = ",".join(str(axis) for axis in array.shape)
        digest.update(f"{name} {little_endian.dtype.str} {shape}\n".encode())
        digest.update(little_endian.tobytes())
    return digest.digest()[:MODEL_ID_BYTES]


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The models that are installed with the package.

    Raises:
        ModelError: ``registry.json`` is damaged.
    """
    return read_registry(Path(__file__).parent)


def read_registry(folder: Path) -> Registry:
    """The registry of a folder of models; an absent file is an empty registry."""
    path = folder / REGISTRY_FILE
    if not path.exists():
        return Registry("", MappingProxyType({}), folder)
    content = _read_json(path)
    models = content.get("models")
    default = content.get("default")
    if not isinstance(models, dict) or not isinstance(default, str):
        raise ModelError(
            f'Expected {path} to hold "default" (a name) and "models" (names by id): reinstall aecodec'
        )
    return Registry(
        default, MappingProxyType({str(key).lower(): str(name) for key, name in models.items()}), folder
    )


def default_model() -> Model:
    """The model that encoders use unless told otherwise.

    Raises:
        ModelError: no model is installed, or its files are damaged.
    """
    installed = registry()
    if not installed.default:
        raise ModelError(
            f"No model is installed in {installed.folder}: reinstall aecodec, or pass a model's folder"
        )
    return load_model_folder(installed.folder / installed.default)


def load_model(model_id: bytes) -> Model:
    """The installed model of an id.

    Raises:
        UnknownModelError: no installed model has this id.
        ModelError: its files are damaged.
    """
    installed = registry()
    name = installed.models.get(model_id.hex())
    if name is None:
        known = ", ".join(f"{key} ({value})" for key, value in installed.models.items()) or "none"
        raise UnknownModelError(
            f"The file needs the model {model_id.hex()}, which is not installed. Installed: {known}. "
            "Upgrade aecodec, or pass the folder of that model as `model`"
        )
    return load_model_folder(installed.folder / name)


def find_model(name: str | Path) -> Model:
    """A model by its name, by its id in hexadecimal digits, or by the folder that holds it.

    Raises:
        InputError: nothing of that name is installed, nor is it a model's folder.
        ModelError: its files are damaged.
    """
    installed = registry()
    text = str(name)
    if text in installed.models.values():
        return load_model_folder(installed.folder / text)
    if text.lower() in installed.models:
        return load_model_folder(installed.folder / installed.models[text.lower()])
    if (Path(name) / MANIFEST_FILE).is_file():
        return load_model_folder(name)
    known = ", ".join(sorted(installed.models.values())) or "none"
    raise InputError(
        f"Expected a model's name, its id or a folder with a {MANIFEST_FILE}. Received: {text!r}. "
        f"Installed: {known}"
    )


def load_model_folder(folder: str | Path) -> Model:
    """The model of a folder; the same object again as long as its manifest stays the same.

    Raises:
        ModelError: the manifest is missing or damaged.
    """
    path = Path(folder).resolve()
    try:
        changed = (path / MANIFEST_FILE).stat().st_mtime_ns
    except OSError as error:
        raise ModelError(
            f"Expected a model in {path}: its {MANIFEST_FILE} cannot be read ({error})"
        ) from error
    return _load_model_folder(path, changed)


@lru_cache(maxsize=16)
def _load_model_folder(folder: Path, changed: int) -> Model:
    del changed  # only tells a newer manifest from an older one
    manifest = _read_json(folder / MANIFEST_FILE)
    _check_manifest(manifest, folder / MANIFEST_FILE)
    return Model(bytes.fromhex(manifest["model_id"]), manifest["name"], MappingProxyType(manifest), folder)


def _check_manifest(manifest: dict[str, Any], path: Path) -> None:
    """Refuse a manifest that the rest of the package would stumble over."""
    if manifest.get("format") != MANIFEST_FORMAT:
        raise ModelError(
            f"Expected model format {MANIFEST_FORMAT} in {path}, found {manifest.get('format')!r}: "
            "upgrade aecodec"
        )
    identifier = manifest.get("model_id")
    levels = manifest.get("quality_levels")
    level_count = manifest.get("level_count")
    halo = manifest.get("halo")
    problems = {
        "name (text)": isinstance(manifest.get("name"), str),
        "model_id (16 hexadecimal digits)": isinstance(identifier, str) and _is_model_id(identifier),
        "latent_channels (a positive multiple of 16)": _is_count(
            manifest.get("latent_channels"), multiple=16
        ),
        "hyper_channels (a positive integer)": _is_count(manifest.get("hyper_channels")),
        "level_count (1 to 256)": _is_count(level_count) and int(level_count or 0) <= 256,
        "quality_levels (100 levels that do not fall)": _are_levels(levels, level_count),
        f"halo (analysis and decoder, multiples of {_HALO_MULTIPLE})": isinstance(halo, dict)
        and all(
            _is_count(halo.get(side), multiple=_HALO_MULTIPLE, least=0) for side in ("analysis", "decoder")
        ),
    }
    wrong = [what for what, holds in problems.items() if not holds]
    if wrong:
        raise ModelError(f"Expected in {path}: {'; '.join(wrong)}. Install the model again")


def _is_model_id(text: str) -> bool:
    return len(text) == 2 * MODEL_ID_BYTES and all(digit in "0123456789abcdef" for digit in text)


def _is_count(value: object, *, multiple: int = 1, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least and value % multiple == 0


def _are_levels(levels: object, level_count: object) -> bool:
    if not isinstance(levels, list) or len(levels) != _QUALITY_COUNT or not isinstance(level_count, int):
        return False
    whole = all(isinstance(level, int) and 0 <= level < level_count for level in levels)
    return whole and levels == sorted(levels)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"Expected JSON in {path}, which cannot be read ({error}): reinstall the model"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(
            f"Expected a JSON object in {path}, found {type(content).__name__}: reinstall the model"
        )
    return content


class _Arrays(Mapping[str, "NDArray[Any]"]):
    """An npz archive as a mapping that reads an array at each access; several threads may.

    The file is read once as a whole, so that no handle stays open and what is read is of one version.
    """

    def __init__(self, path: Path) -> None:
        import numpy as np

        self._path = path
        with self._reading():
            archive = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is no npz archive")
            self._archive = archive

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._archive.files:
            raise KeyError(name)
        with self._reading():
            return self._archive[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.files)

    def __len__(self) -> int:
        return len(self._archive.files)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Tell whatever shows the file to be damaged as a ModelError."""
        try:
            yield
        except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise ModelError(
                f"Expected a model's arrays in {self._path}, which cannot be read ({error}): "
                "install the model again"
            ) from error
