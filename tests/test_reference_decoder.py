"""The decoder that is written from the format text alone (formats/reference_decoder.py)."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aecodec import encode
from aecodec.entropy import encode_chunk
from aecodec.image import plane_to_png
from tests.entropy.helpers import random_entropy_arrays, random_entropy_model, random_symbols
from tests.helpers import CosineRuntime, fake_model, photograph
from tests.vectors import FORMATS, reference_decoder

decoder = reference_decoder()
PROGRAM = FORMATS / "reference_decoder.py"


def test_it_imports_numpy_and_the_standard_library_alone() -> None:
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}


def test_the_payloads_in_the_text_give_the_symbols_in_the_text() -> None:
    text = (FORMATS / "aec.md").read_text(encoding="utf-8")
    half_widths = np.arange(64) // 4
    frequencies: list[int] = []
    for table, m in enumerate(half_widths.tolist()):
        sides = [max(1, 2 ** (16 + table // 16) >> value) for value in range(m, 0, -1)]
        frequencies += [*sides, 2**24 - 2 * sum(sides) - 1, *sides[::-1], 1]
    tables = decoder.entry_starts(half_widths, np.array(frequencies, np.uint32))
    rows = re.findall(r"^\| `([-\d, ]+)`\s*\| `([\d, ]+)`\s*\| `?([\da-f ]*|\(empty\))`?\s*\|$", text, re.M)
    assert len(rows) == 4
    for symbols, indices, payload in rows:
        data = bytes.fromhex("" if "empty" in payload else payload)
        order = np.array([int(index) for index in indices.split(",")])
        found = decoder.decode_symbols(data, order, decoder.Model({}, {}, tables))
        assert found.tolist() == [int(symbol) for symbol in symbols.split(",")]


@pytest.mark.parametrize("level", [0, 77, 224])
@pytest.mark.parametrize("seed", [0, 1])
def test_symbols_are_those_that_were_encoded(seed: int, level: int) -> None:
    arrays, entropy = random_entropy_arrays(seed), random_entropy_model(seed)
    z, r = random_symbols(seed, entropy, 2, 3)
    payloads = list(encode_chunk(z, r, level, entropy))
    tables = decoder.entry_starts(arrays["tables/half_width"], arrays["tables/frequencies"])
    model = decoder.Model({"hyper_channels": z.shape[2], "latent_channels": r.shape[2]}, arrays, tables)
    found_z, found_r = decoder.decode_chunk(payloads, 2, 3, model, level)
    assert np.array_equal(found_z, z)
    assert np.array_equal(found_r, r)


@pytest.mark.parametrize("layer", ["hyper_pointwise_0", "hyper_depthwise_1", "step4_index"])
def test_a_model_that_breaks_the_bound_of_exactness_is_refused(layer: str) -> None:
    arrays = random_entropy_arrays()
    bias = arrays[f"scales/{layer}/bias"]
    bias[..., 0] = 2**24 - 255 * 127
    tables = decoder.entry_starts(arrays["tables/half_width"], arrays["tables/frequencies"])
    model = decoder.Model({"hyper_channels": 6, "latent_channels": 16}, arrays, tables)
    with pytest.raises(decoder.RefusedError, match=rf"model: {layer}"):
        decoder.decode_chunk([b""] * 6, 1, 1, model, 100)


def test_the_id_of_a_model_is_the_one_in_its_files(tmp_path: Path) -> None:
    model = fake_model(tmp_path)
    assert decoder.read_model(model.folder).id == model.model_id


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_alpha_planes_are_those_that_were_encoded(data: st.DataObject) -> None:
    depth, width, height = (
        data.draw(strategy) for strategy in (st.sampled_from((8, 16)), *[st.integers(1, 20)] * 2)
    )
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    smooth = np.cumsum(random.integers(-9, 10, (height, width)), axis=1) * data.draw(
        st.sampled_from((1, 300))
    )
    plane = (smooth % 2**depth).astype(np.uint8 if depth == 8 else np.uint16)
    header = decoder.Header(1, 3, depth, 0, 64, width, height, bytes(8))
    assert np.array_equal(decoder.read_alpha(plane_to_png(plane), header), plane)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_it_writes_png_files(channels: int, dtype: type[np.generic]) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(dtype)
    data = decoder.png_file(samples)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == (7, 5)
        if dtype is np.uint8 or channels == 1:
            assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_the_command_line_names_the_class_of_a_fault(tmp_path: Path) -> None:
    model = fake_model(tmp_path)
    data = encode(photograph(8, 8), model=model, runtime=CosineRuntime())
    source, target = tmp_path / "in.aec", tmp_path / "out.png"
    source.write_bytes(data[:-1])
    command = [sys.executable, str(PROGRAM), str(model.folder), str(source), str(target)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "truncated: " in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not target.exists()
