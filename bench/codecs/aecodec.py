"""aecodec through its public interface; the second decoding is its command line, in a process of its own."""

from __future__ import annotations

import functools
import hashlib
import io
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.codecs.base import Codec, CodecError, package_version, pillow_decode, whole_numbers
from bench.device import DeviceError, backend_name, device_name

if TYPE_CHECKING:
    from bench.codecs.base import Pixels


@dataclass(frozen=True)
class Aecodec(Codec):
    """aecodec with one model, one runtime ("onnx" or "keras") and one effort of the encoder."""

    name: str = "aecodec"
    label: str = "aecodec"
    model: str | None = None
    runtime: str = "onnx"
    device: str = "cpu"
    effort: int = 0

    @property
    def qualities(self) -> tuple[float, ...]:
        return (3.0, 12.0, 22.0, 33.0, 44.0, 55.0, 66.0, 77.0, 88.0, 97.0)

    @property
    def scale(self) -> tuple[float, ...]:
        return whole_numbers(1, 100)

    @property
    def typical(self) -> float:
        return 84.0

    @property
    def tolerance(self) -> int:
        # Runtimes and devices may differ by one level.
        return 1

    def missing(self) -> str | None:
        from aecodec import AecodecError

        try:
            self.identity()
        except (AecodecError, DeviceError, ImportError) as error:
            return f"aecodec cannot encode here: {error}"
        return None

    def versions(self) -> Mapping[str, str]:
        import aecodec

        libraries = ("onnxruntime",) if self.runtime == "onnx" else ("keras", backend_name())
        return {"aecodec": aecodec.__version__, **{name: package_version(name) for name in libraries}}

    def identity(self) -> Mapping[str, str]:
        computed_by = {} if self.runtime == "onnx" else {"processor": device_name(self.device)}
        return {"model_id": _model_id(self.model), "source": _source_digest(), **computed_by}

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        import aecodec

        return aecodec.encode(pixels, quality, effort=self.effort, model=self.model, runtime=self.runtime)

    def decode(self, data: bytes) -> Pixels:
        import numpy as np

        import aecodec

        return np.asarray(aecodec.decode(data, model=self.model, runtime=self.runtime))

    def command(self, operation: str, quality: float, source: Path, target: Path) -> list[str]:
        program = [sys.executable, "-m", "aecodec"]
        if operation == "encode":
            model = ["--model", self.model] if self.model else []
            effort = ["--effort", str(self.effort)] if self.effort else []
            verb = ["compress", str(source), "--quality", f"{quality:g}", *effort, *model]
        else:
            verb = ["decompress", str(source), "--format", "ppm", *self._folder()]
        return [*program, *verb, "-o", str(target), "--quiet", "--force"]

    def _folder(self) -> list[str]:
        """Where the decoder finds a model that is not installed."""
        return ["--model", self.model] if self.model and Path(self.model).is_dir() else []

    def decode_again(self, data: bytes) -> Pixels:
        options = ["-o", "-", "--format", "ppm", *self._folder()]
        command = [sys.executable, "-m", "aecodec", "decompress", "-", *options]
        result = subprocess.run(command, input=data, capture_output=True, check=False)
        if result.returncode != 0:
            message = result.stderr.decode(errors="replace").strip()
            raise CodecError(f"aecodec decompress ended with exit code {result.returncode}: {message[-400:]}")
        return pillow_decode(result.stdout, "PPM")


@functools.lru_cache(maxsize=8)
def _model_id(model: str | None) -> str:
    """The id of the model that encodes, read from the header of a small file."""
    import numpy as np

    import aecodec

    return aecodec.probe(io.BytesIO(aecodec.encode(np.zeros((8, 8, 3), np.uint8), model=model))).model_id


@functools.lru_cache(maxsize=1)
def _source_digest() -> str:
    """SHA-256 over aecodec's sources, so that finished points of another state of the code are not used."""
    import aecodec

    folder = Path(aecodec.__file__).parent
    digest = hashlib.sha256()
    parts = ("*.py", "image/*.py", "entropy/*.py", "runtime/*.py", "models/*.py", "networks/*.py")
    for path in sorted(path for part in parts for path in folder.glob(part)):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]
