"""Sets of pictures, and large pictures made of small ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import images
from tests.bench.helpers import picture, save


def test_a_mosaic_holds_the_tiles_as_they_are_and_mirrored_from_the_second_round_on() -> None:
    tiles = [picture(8, 12, phase) for phase in (0, 40)]
    mosaic = images.mosaic(30, 20, tiles)
    assert mosaic.shape == (20, 30, 3)
    assert np.array_equal(mosaic[:8, :12], tiles[0])
    assert np.array_equal(mosaic[:8, 12:24], tiles[1])
    assert np.array_equal(mosaic[:8, 24:], tiles[0][:, ::-1][:, :6])
    assert np.array_equal(mosaic[8:16, :12], tiles[1][:, ::-1])
    assert np.array_equal(mosaic[8:16, 12:24], tiles[0][::-1])


def test_a_speed_picture_has_the_stated_size(tmp_path: Path) -> None:
    for number in range(2):
        save(picture(128, 192, number), tmp_path / f"{number}.png")
    _, found = images.find_images(tmp_path)
    assert images.speed_picture("0.4", found).shape == (512, 768, 3)


def test_any_folder_is_a_set_with_its_own_name(tmp_path: Path) -> None:
    save(picture(20, 30), tmp_path / "b.png")
    save(picture(20, 30, 5), tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no picture")
    name, found = images.find_images(tmp_path)
    assert name == tmp_path.name
    assert [(image.name, image.width, image.height) for image in found] == [("a", 30, 20), ("b", 30, 20)]


def test_a_folder_without_pictures_and_no_folder_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(images.ImagesError, match="Expected pictures"):
        images.find_images(tmp_path)
    with pytest.raises(images.ImagesError, match="Found none"):
        images.find_images(tmp_path / "nowhere")
    monkeypatch.setattr(images, "KODAK_PLACES", (tmp_path / "nowhere",))
    with pytest.raises(images.ImagesError, match="bench fetch"):
        images.find_images(None)


def test_pictures_that_are_not_kodaks_are_not_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(picture(20, 30), tmp_path / "kodim01.png")
    monkeypatch.setattr(images, "KODAK_PLACES", (tmp_path,))
    with pytest.raises(images.ImagesError, match="not the 24"):
        images.find_images(None)


def test_what_is_fetched_is_kept_only_with_the_right_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    from PIL import Image

    Image.fromarray(picture(16, 16)).save(stream, "PNG")

    def answer(address: str, timeout: float) -> Any:
        assert address.startswith("https://")
        return io.BytesIO(stream.getvalue())

    monkeypatch.setattr(images.urllib.request, "urlopen", answer)  # type: ignore[attr-defined]
    target = tmp_path / "kodak"
    with pytest.raises(images.ImagesError, match="hash"):
        images.fetch_kodak(target)
    assert not list(tmp_path.iterdir())
    one = images.describe(save(picture(16, 16), tmp_path / "one.png"))
    monkeypatch.setattr(images, "KODAK_SHA256", images.set_digest([one] * 24))
    images.fetch_kodak(target)
    assert len(list(target.iterdir())) == 24


def test_a_data_uri_holds_the_picture() -> None:
    import base64

    from PIL import Image

    uri = images.data_uri(picture(32, 48))
    kind, data = uri.split(",")
    assert kind == "data:image/webp;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), picture(32, 48))
    assert len(images.data_uri(picture(32, 48), quality=20, width=16)) < len(uri)
