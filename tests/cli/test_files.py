"""aecodec.cli.files: inputs found, outputs named, outputs written whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest

from aecodec.cli.files import AEC_SUFFIX, PICTURE_SUFFIXES, OutputFiles, Plan, open_input, plan_outputs
from aecodec.errors import InputError, OutputError
from aecodec.streams import open_target


def touch(folder: Path, *names: str) -> list[str]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name_bytes(path))
    return [str(path) for path in paths]


def name_bytes(path: Path) -> bytes:
    return path.name.encode()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def plan(*names: str, output: str | None = None, recursive: bool = False, force: bool = False) -> Plan:
    return plan_outputs(
        names,
        output=output,
        recursive=recursive,
        force=force,
        suffixes=PICTURE_SUFFIXES,
        output_suffix=AEC_SUFFIX,
    )


def targets(made: Plan, folder: Path) -> list[str]:
    return [job.target.relative_to(folder).as_posix() for job in made.jobs if job.target is not None]


def test_an_output_goes_beside_its_input(tmp_path: Path) -> None:
    made = plan(*touch(tmp_path, "holiday.jpg"))
    assert targets(made, tmp_path) == ["holiday.aec"]
    assert made.single


@pytest.mark.parametrize(
    ("name", "output"), [("a.tar.PNG", "a.tar.aec"), ("scan.2024", "scan.2024.aec"), ("plain", "plain.aec")]
)
def test_only_the_ending_of_a_picture_is_replaced(tmp_path: Path, name: str, output: str) -> None:
    assert targets(plan(*touch(tmp_path, name)), tmp_path) == [output]


def test_a_single_output_may_be_named(tmp_path: Path) -> None:
    assert targets(plan(*touch(tmp_path, "a.png"), output=str(tmp_path / "b.bin")), tmp_path) == ["b.bin"]


@pytest.mark.parametrize("ending", ["", "/"])
def test_several_outputs_go_into_a_folder(tmp_path: Path, ending: str) -> None:
    made = plan(*touch(tmp_path, "a.png", "sub/b.png"), output=str(tmp_path / "out") + ending)
    assert targets(made, tmp_path) == ["out/a.aec", "out/b.aec"]
    assert not made.single


def test_a_single_output_goes_into_a_folder_that_exists_or_ends_with_a_slash(tmp_path: Path) -> None:
    names = touch(tmp_path, "a.png")
    assert targets(plan(*names, output=str(tmp_path / "new") + "/"), tmp_path) == ["new/a.aec"]
    (tmp_path / "old").mkdir()
    assert targets(plan(*names, output=str(tmp_path / "old")), tmp_path) == ["old/a.aec"]


def test_a_folder_is_mirrored_in_sorted_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    touch(
        tmp_path / "in",
        "z.png",
        "a/y.JPG",
        "a/b/x.tif",
        ".hidden.png",
        ".cache/w.png",
        "notes.txt",
        "old.aec",
    )
    made = plan(str(tmp_path / "in"), output=str(tmp_path / "out"), recursive=True)
    assert targets(made, tmp_path) == ["out/z.aec", "out/a/y.aec", "out/a/b/x.aec"]
    assert not made.single


def test_a_folder_without_recursive_is_a_problem_that_names_the_option(tmp_path: Path) -> None:
    (job,) = plan(str(tmp_path)).jobs
    assert isinstance(job.problem, InputError)
    assert "--recursive" in str(job.problem)


def test_a_missing_input_is_a_problem_of_that_input_alone(tmp_path: Path) -> None:
    missing, present = plan(str(tmp_path / "no.png"), *touch(tmp_path, "a.png")).jobs
    assert "does not exist" in str(missing.problem)
    assert present.problem is None


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match="no files to work on"):
        plan(str(tmp_path), recursive=True)


def test_the_second_of_two_inputs_with_one_output_is_refused(tmp_path: Path) -> None:
    first, second = plan(*touch(tmp_path, "a.png", "a.jpg")).jobs
    assert first.problem is None
    assert isinstance(second.problem, InputError)
    assert "a.png" in str(second.problem)


def test_an_input_that_is_named_twice_is_taken_once(tmp_path: Path) -> None:
    (name,) = touch(tmp_path, "a.png")
    assert len(plan(name, name, str(tmp_path), recursive=True).jobs) == 1


def test_an_output_that_is_an_input_is_refused_even_with_force(tmp_path: Path) -> None:
    (name,) = touch(tmp_path, "a.png")
    (job,) = plan(name, output=name, force=True).jobs
    assert "also an input" in str(job.problem)


def test_an_existing_output_is_an_error_for_a_single_file_and_kept_among_several(tmp_path: Path) -> None:
    names = touch(tmp_path, "a.png", "b.png")
    touch(tmp_path, "a.aec")
    (single,) = plan(names[0]).jobs
    assert isinstance(single.problem, OutputError)
    assert "--force" in str(single.problem)
    assert [job.done_before for job in plan(*names).jobs] == [True, False]
    assert not any(job.done_before for job in plan(*names, force=True).jobs)


def test_standard_input_goes_to_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    (job,) = plan("-").jobs
    assert job.source is None
    assert job.target is None


@pytest.mark.parametrize("arguments", [("-",), ("-", None), ("a.png", "-")])
def test_binary_data_is_not_written_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(click.UsageError, match="terminal"):
        plan(arguments[0], output=arguments[1] if len(arguments) > 1 else None)


def test_contradicting_arguments_are_usage_errors(tmp_path: Path) -> None:
    names = touch(tmp_path, "a.png", "b.png")
    with pytest.raises(click.UsageError, match="beside other inputs"):
        plan("-", names[0])
    with pytest.raises(click.UsageError, match="single input"):
        plan(*names, output="-")
    with pytest.raises(click.UsageError, match="is a file"):
        plan(*names, output=names[0])
    with pytest.raises(click.UsageError, match="must name a file"):
        plan("-", output=str(tmp_path))


def test_an_output_appears_whole_with_the_usual_permissions(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.aec"
    with OutputFiles().create(target) as stream:
        stream.write(b"12")
        assert not target.exists()
        stream.write(b"34")
    assert target.read_bytes() == b"1234"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
    assert names_in(target.parent) == ["a.aec"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_former_output_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "a.aec"
    target.write_bytes(b"old")
    with pytest.raises(error), OutputFiles(force=True).create(target) as stream:
        stream.write(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.aec"]


def test_a_file_that_appeared_since_the_run_was_planned_is_not_replaced_without_force(tmp_path: Path) -> None:
    target = tmp_path / "a.aec"
    with pytest.raises(OutputError, match="exists already"), OutputFiles().create(target) as stream:
        stream.write(b"ours")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert names_in(tmp_path) == ["a.aec"]


def test_a_run_leaves_what_the_python_api_is_writing_in_the_same_folder(tmp_path: Path) -> None:
    with open_target(tmp_path / "slow") as slow:
        slow.write(b"half")
        time.sleep(0.3)
        with OutputFiles().create(tmp_path / "quick") as quick:
            quick.write(b"whole")
        slow.write(b" and half")
    assert (tmp_path / "slow").read_bytes() == b"half and half"


def test_a_folder_that_cannot_be_listed_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: object) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with OutputFiles().create(tmp_path / "a.aec") as stream:
        stream.write(b"whole")
    assert (tmp_path / "a.aec").read_bytes() == b"whole"


def test_links_to_files_are_inputs_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "in/sub/b.png")
    (tmp_path / "in/alias.png").symlink_to("a.png")
    made = plan(str(tmp_path / "in"), output=str(tmp_path / "out"), recursive=True)
    assert targets(made, tmp_path) == ["out/a.aec", "out/alias.aec", "out/sub/b.aec"]
    twice = plan(str(tmp_path / "in/a.png"), str(tmp_path / "in/sub/../a.png"), output=str(tmp_path / "out"))
    assert targets(twice, tmp_path) == ["out/a.aec"]


def test_pipes_in_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png")
    os.mkfifo(tmp_path / "in" / "b.png")
    made = plan(str(tmp_path / "in"), output=str(tmp_path / "out"), recursive=True)
    assert targets(made, tmp_path) == ["out/a.aec"]


@pytest.mark.parametrize("name", [".", "", "/", "x" * 300, "a\0b"])
def test_a_name_that_is_no_file_is_the_problem_of_its_job_alone(tmp_path: Path, name: str) -> None:
    bad, good = plan(name, *touch(tmp_path, "a.png"), output=str(tmp_path / "out")).jobs
    assert isinstance(bad.problem, InputError)
    assert bad.target is None
    assert good.problem is None
    assert good.target == tmp_path / "out" / "a.aec"


def test_an_abandoned_run_finishes_no_output(tmp_path: Path) -> None:
    outputs = OutputFiles()
    with pytest.raises(OutputError), outputs.create(tmp_path / "a.aec") as stream:
        stream.write(b"half")
        stream.flush()
        thread = threading.Thread(target=outputs.abandon)
        thread.start()
        thread.join()
        assert names_in(tmp_path) == []
    with pytest.raises(OutputError, match="interrupted"), outputs.create(tmp_path / "b.aec") as stream:
        stream.write(b"whole")
    assert names_in(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from aecodec.cli.files import OutputFiles\n"
        "with OutputFiles().create(Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'half'); stream.flush(); print('writing', flush=True); time.sleep(60)"
    )
    children = []
    for name in ("killed.aec", "living.aec"):
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / name)], stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
    try:
        children[0].kill()
        children[0].wait()
        time.sleep(0.25)
        assert sum(name.startswith(".killed") for name in names_in(tmp_path)) == 1
        with OutputFiles().create(tmp_path / "other.aec") as stream:
            stream.write(b"whole")
        names = names_in(tmp_path)
        assert not any("killed" in name for name in names)
        assert any("living" in name for name in names)
    finally:
        for child in children:
            child.kill()
            child.communicate()


def test_an_output_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"), OutputFiles().create(tmp_path / "file" / "a.aec"):
        pass
    with pytest.raises(OutputError, match="folder"), OutputFiles().create(tmp_path):
        pass


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device")
def test_a_device_is_written_to_and_not_replaced() -> None:
    with OutputFiles().create(Path("/dev/null")) as stream:
        stream.write(b"1")
    assert not Path("/dev/null").is_file()


def test_an_input_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.png"), open_input(tmp_path / "no.png"):
        pass
