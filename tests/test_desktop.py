"""The MIME type in a shared MIME database of its own, by the desktop's tools where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from aecodec.container import MAGIC

FORMATS = Path(__file__).parent.parent / "formats"


@pytest.fixture
def database(tmp_path: Path) -> dict[str, str]:
    """The environment in which desktop tools see a database with the type in it."""
    if shutil.which("update-mime-database") is None:
        pytest.skip("update-mime-database (shared-mime-info) is not installed")
    packages = tmp_path / "share" / "mime" / "packages"
    packages.mkdir(parents=True)
    shutil.copy(FORMATS / "aec.xml", packages)
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "share")}
    result = subprocess.run(
        ["update-mime-database", str(packages.parent)], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    return environment


def test_the_database_takes_the_type(database: dict[str, str]) -> None:
    folder = Path(database["XDG_DATA_HOME"], "mime")
    assert "image/x-aecodec:*.aec" in (folder / "globs").read_text().splitlines()
    assert MAGIC in (folder / "magic").read_bytes()
    assert "image/x-aecodec" in (folder / "types").read_text()


@pytest.mark.skipif(shutil.which("gio") is None, reason="gio is not installed")
@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("without-suffix", MAGIC + bytes(28), "image/x-aecodec"),
        ("picture.aec", MAGIC + bytes(28), "image/x-aecodec"),
        ("damaged", MAGIC.replace(b"\r\n", b"\n") + bytes(28), "application/octet-stream"),
    ],
)
def test_files_are_known_by_their_content(
    name: str, content: bytes, kind: str, database: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    command = ["gio", "info", "-a", "standard::content-type", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, env=database, check=True)
    assert f"standard::content-type: {kind}" in result.stdout
