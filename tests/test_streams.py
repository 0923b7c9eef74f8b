"""Bytes, paths, pipes and devices as sources and targets; outputs appear whole or not at all."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import cast

import pytest

from aecodec.errors import InputError, OutputError
from aecodec.streams import check_target, is_unfinished, lock, open_source, open_target, size_of


class Pipe(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        return self._content.readinto(cast("bytearray", buffer))


def test_bytes_paths_files_and_pipes_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    for source in (b"content", bytearray(b"content"), memoryview(b"content"), path, str(path)):
        with open_source(source) as stream:
            assert size_of(stream) == 7
            assert stream.read() == b"content"
    with path.open("rb") as file, open_source(file) as stream:
        assert stream.read() == b"content"
    with open_source(io.BufferedReader(Pipe(b"content"))) as stream:
        assert stream.seekable()
        assert stream.read() == b"content"


def test_a_file_object_is_read_from_where_it_stands_and_stays_open() -> None:
    file = io.BytesIO(b"xxcontent")
    file.seek(2)
    with open_source(file) as stream:
        assert size_of(stream) == 7
        assert stream.read() == b"content"
    assert not file.closed


def test_what_gives_no_bytes_is_refused(tmp_path: Path) -> None:
    for source in (io.StringIO("text"), 5, tmp_path / "absent", tmp_path):
        with pytest.raises(InputError), open_source(source):  # type: ignore[arg-type]
            pass


def test_a_target_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with open_target(path) as stream:
        stream.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_when_the_block_fails(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(error), open_target(path, force=True) as stream:
        stream.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"), open_target(path) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"old"
    with open_target(path, force=True) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_file_that_appears_while_writing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(OutputError, match="exists already"), open_target(path) as stream:
        stream.write(b"new")
        path.write_bytes(b"someone else's")
    assert path.read_bytes() == b"someone else's"
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_a_missing_folder_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"), open_target(tmp_path / "absent" / "out"):
        pass
    with pytest.raises(OutputError, match="folder"), open_target(tmp_path):
        pass


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions, links and devices")
def test_permissions_follow_the_umask_and_links_and_devices_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "out", tmp_path / "link"
    link.symlink_to(path)
    before = os.umask(0o027)
    try:
        with open_target(link) as stream:
            stream.write(b"x")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    with open_target("/dev/null") as stream:
        stream.write(b"x")
    assert not Path("/dev/null").is_file()


def test_a_view_with_gaps_reads_as_its_bytes() -> None:
    with open_source(memoryview(b"a.b.c.")[::2]) as stream:
        assert stream.read() == b"abc"


def test_a_path_with_a_zero_byte_cannot_be_read() -> None:
    with pytest.raises(InputError, match="Cannot read"), open_source("a\0b"):
        pass


@pytest.mark.parametrize("target", [None, 5, b"name"])
def test_a_target_is_a_path_or_can_be_written_to(target: object) -> None:
    with pytest.raises(InputError, match="Expected a path or a binary file object to write to"):
        check_target(target, force=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x" * 255, "漢" * 85])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    with open_target(tmp_path / name) as stream:
        stream.write(b"whole")
    assert (tmp_path / name).read_bytes() == b"whole"


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with open_target(path, force=True) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda number: seen.append([p.name for p in tmp_path.iterdir()]))
    with open_target(tmp_path / "out") as stream:
        stream.write(b"whole")
    ((name,),) = seen
    assert is_unfinished(name)


def test_an_unfinished_file_is_locked_and_known_by_its_name(tmp_path: Path) -> None:
    with open_target(tmp_path / "out"):
        (path,) = tmp_path.iterdir()
        assert is_unfinished(path.name)
        with path.open("rb") as other:
            assert not lock(other)
    assert not is_unfinished("out")
