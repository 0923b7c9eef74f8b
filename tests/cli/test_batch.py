"""Runs over several files: what is done, kept and failed, what is printed, and which exit code comes of
it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aecodec.cli import backend, run
from aecodec.cli.report import Result

pytestmark = pytest.mark.usefixtures("fake_codec")
Write = Callable[..., list[str]]
ReportOf = Callable[..., dict[str, Any]]


def statuses(report: dict[str, Any]) -> list[str]:
    return [entry["status"] for entry in report["files"]]


def test_one_file_is_compressed_beside_its_input_and_told_in_a_line(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compress", *write(a_png=b"picture")]) == 0
    assert (tmp_path / "a.aec").read_bytes() == b"packed:picture"
    line = capsys.readouterr().out
    assert "7 -> 14 bytes (200.0 %)" in line
    assert line.count("\n") == 1


def test_there_and_back_again(write: Write, tmp_path: Path) -> None:
    assert run(["compress", *write(a_png=b"picture"), "-o", str(tmp_path / "b.aec")]) == 0
    assert run(["decompress", str(tmp_path / "b.aec")]) == 0
    assert (tmp_path / "b.png").read_bytes() == b"PNG picture"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-o", "x.tif"], b"TIFF picture"),
        (["-o", "x.jpeg"], b"JPEG picture"),
        (["--format", "webp", "-o", "x.bin"], b"WEBP picture"),
    ],
)
def test_the_ending_of_the_output_or_the_format_option_says_the_format(
    arguments: list[str], expected: bytes, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["decompress", *write(a_aec=b"packed:picture"), *arguments]) == 0
    assert Path(arguments[-1]).read_bytes() == expected


def test_an_unknown_format_is_refused_before_any_work(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["decompress", *write(a_aec=b"packed:picture"), "-o", str(tmp_path / "a.xyz")]) == 2
    assert "xyz" in capsys.readouterr().err
    assert not (tmp_path / "a.xyz").exists()


def test_a_failed_file_does_not_stop_the_rest_and_leaves_nothing(
    write: Write, report_of: ReportOf, tmp_path: Path
) -> None:
    report = report_of("compress", *write(a_png=b"good", b_png=b"bad", c_png=b"crash", d_png=b"good"))
    assert statuses(report) == ["done", "failed", "failed", "done"]
    assert report["exit_code"] == 2
    assert report["summary"]["failed"] == 2
    assert {path.name for path in tmp_path.glob("*.aec")} == {"a.aec", "d.aec"}
    assert not list(tmp_path.glob(".*"))


def test_failures_of_different_kinds_give_exit_code_1(write: Write, report_of: ReportOf) -> None:
    report = report_of("compress", *write(a_png=b"bad", b_png=b"defect", c_png=b"good"))
    assert [entry.get("error", {}).get("exit_code") for entry in report["files"]] == [2, 70, None]
    assert report["exit_code"] == 1


def test_the_summary_counts_bytes_and_names_failures(
    write: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(in__a_png=b"good", in__b_png=b"bad", in__c_png=b"good")
    assert run(["compress", "-r", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert "2 of 3 files compressed, 1 failed" in captured.out
    assert "8 -> 22 bytes" in captured.out
    assert f"failed: {tmp_path / 'in' / 'b.png'}" in captured.out
    assert "b.png: expected a picture" in captured.err


def test_quiet_prints_errors_alone(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compress", "--quiet", *write(a_png=b"good", b_png=b"bad")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_a_second_run_keeps_outputs_and_makes_the_missing_ones(
    write: Write, report_of: ReportOf, tmp_path: Path
) -> None:
    names = write(a_png=b"one", b_png=b"two")
    (tmp_path / "a.aec").write_bytes(b"from before")
    report = report_of("compress", *names)
    assert statuses(report) == ["skipped", "done"]
    assert (tmp_path / "a.aec").read_bytes() == b"from before"
    assert statuses(report_of("compress", "--force", *names)) == ["done", "done"]
    assert (tmp_path / "a.aec").read_bytes() == b"packed:one"


def test_an_existing_output_of_a_single_file_is_exit_code_7(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    (name, _) = write(a_png=b"one", a_aec=b"from before")
    assert run(["compress", name]) == 7
    assert "--force" in capsys.readouterr().err
    assert run(["compress", "--force", name]) == 0


def test_two_inputs_with_one_output_are_an_error_for_the_second(write: Write, report_of: ReportOf) -> None:
    report = report_of("compress", *write(a_png=b"one", a_jpg=b"two"))
    assert statuses(report) == ["done", "failed"]
    assert report["exit_code"] == 2
    assert "a.png" in report["files"][1]["error"]["message"]


@pytest.mark.parametrize("jobs", ["1", "2", "7"])
def test_any_number_of_jobs_gives_the_same_files_and_the_same_order(
    jobs: str, write: Write, report_of: ReportOf, tmp_path: Path
) -> None:
    contents = {f"f{index}_png": b"bad" if index == 4 else b"%d" % index for index in range(12)}
    names = write(**contents)
    report = report_of("compress", "-j", jobs, *names)
    assert [entry["source"] for entry in report["files"]] == names
    assert statuses(report) == ["failed" if index == 4 else "done" for index in range(12)]
    for index in set(range(12)) - {4}:
        assert (tmp_path / f"f{index}.aec").read_bytes() == b"packed:%d" % index


def test_a_partial_picture_is_written_noted_and_exit_code_8(
    write: Write, report_of: ReportOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = write(a_aec=b"packed:half", b_aec=b"packed:whole")
    report = report_of("decompress", "--allow-partial", *names)
    assert statuses(report) == ["partial", "done"]
    assert report["exit_code"] == 8
    assert (tmp_path / "a.png").read_bytes() == b"PNG half"
    assert run(["decompress", "--allow-partial", "--force", names[0]]) == 8
    assert "a.aec: the file ends early" in capsys.readouterr().err


def test_a_failure_outweighs_a_partial_picture(write: Write, report_of: ReportOf) -> None:
    report = report_of("decompress", "--allow-partial", *write(a_aec=b"packed:half", b_aec=b"no magic"))
    assert statuses(report) == ["partial", "failed"]
    assert report["exit_code"] == 3


def test_a_defect_says_so_and_debug_shows_where(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    (name,) = write(a_png=b"defect")
    assert run(["compress", name]) == 70
    captured = capsys.readouterr()
    assert "defect" in captured.err
    assert "Traceback" not in captured.err
    for arguments in (["--debug", "compress", name], ["compress", name, "--debug"]):
        assert run(arguments) == 70
        assert "Traceback" in capsys.readouterr().err


def test_the_thumbnailer_form_names_its_output_and_overwrites_it(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write(a_aec=b"packed:picture", thumbnail_tmp=b"made by the desktop")
    assert run(["decompress", "--thumbnail", "256", source, target]) == 0
    assert Path(target).read_bytes() == b"PNG picture"
    assert run(["decompress", "--thumbnail", "256", source, source]) == 2
    assert "no output" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", "-q", "40", "--target-bpp", "0.5", "a.png"],
        ["compress", "--target-size", "9k", "--target-psnr", "35", "a.png"],
        ["compress", "-q", "101", "a.png"],
        ["compress", "-q", "0", "a.png"],
        ["compress", "--target-size", "0", "a.png"],
        ["compress", "--target-size", "many", "a.png"],
        ["compress", "-j", "0", "a.png"],
        ["decompress", "--region", "1,2,3", "a.aec"],
        ["decompress", "--region", "0,0,0,5", "a.aec"],
        ["decompress", "--region", "-1,0,5,5", "a.aec"],
        ["decompress", "--scale", "1/3", "a.aec"],
        ["decompress", "--thumbnail", "64", "--scale", "1/2", "a.aec"],
        ["decompress", "--format", "gif", "a.aec"],
        ["decompress", "-", "a.aec"],
    ],
)
def test_values_out_of_range_and_contradictions_are_usage_errors(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert "Error:" in capsys.readouterr().err


def test_a_missing_input_is_exit_code_2_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compress", str(tmp_path / "no.png")]) == 2
    assert "no.png: does not exist" in capsys.readouterr().err


def test_an_interrupt_leaves_no_half_file_and_says_how_to_go_on(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = backend.encode

    def interrupted(*arguments: Any) -> Result:
        if arguments[0].read(1) == b"!":
            arguments[1].write(b"half")
            raise KeyboardInterrupt
        arguments[0].seek(0)
        return done(*arguments)

    monkeypatch.setattr(backend, "encode", interrupted)
    assert run(["compress", *write(a_png=b"one", b_png=b"!", c_png=b"three")]) == 130
    assert "interrupted after 1 of 3 files" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.aec", "a.png", "b.png", "c.png"]


SLOW_PROGRAM = """
import os, sys, time
from aecodec.cli import backend, main
from aecodec.cli.report import Result

def encode(source, target, settings, progress=None):
    target.write(b"half")
    target.flush()
    os.write(2, b"writing\\n")  # at once, for there are two threads
    time.sleep(20)
    return Result(1, 1)

backend.encode = encode
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_control_c_ends_the_process_at_once_with_130_and_leaves_no_half_file(
    jobs: str, write: Write, tmp_path: Path
) -> None:
    names = write(a_png=b"one", b_png=b"two", c_png=b"three")
    command = [sys.executable, "-c", SLOW_PROGRAM, "compress", "-j", jobs, *names]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for _ in range(int(jobs)):
                assert process.stderr.readline() == "writing\n"
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 130
    assert time.monotonic() - start < 5
    assert "interrupted after 0 of 3 files" in errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]
