"""A few executions of each harness, and the harness's own promises."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from tests.fuzz import container, decoder
from tests.fuzz.harness import Bounds, run
from tests.fuzz.mutations import Mutator


def test_mutated_containers_end_in_the_packages_own_errors() -> None:
    report = run(Mutator(container.corpus()).file, container.examine, container.BOUNDS, executions=1500)
    assert not report.failures, report
    assert len(report.outcomes) >= 6, report


def test_mutated_files_decode_or_end_in_the_packages_own_errors(tmp_path: Path) -> None:
    targets = decoder.Targets(tmp_path)
    report = run(targets.file, targets.examine, decoder.BOUNDS, executions=150)
    assert not report.failures, report
    assert len(report.outcomes) >= 4, report


def test_the_harness_reports_what_raises_and_what_takes_too_long(tmp_path: Path) -> None:
    def examine(data: bytes, random: Random) -> str:
        if data == b"slow":
            end = time.process_time() + 0.05
            while time.process_time() < end:
                pass
        elif data == b"bad":
            raise ValueError("unexpected")
        return "fine"

    def make(random: Random) -> bytes:
        return random.choice((b"fine", b"slow", b"bad"))

    report = run(make, examine, Bounds(seconds=0.04, megabytes=64), executions=9, failures=tmp_path)
    raised = sum("unexpected" in text for text in report.failures)
    assert report.executions == report.outcomes["fine"] + raised
    assert any("processor time" in text for text in report.failures)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"slow", b"bad"}


def test_an_execution_can_be_run_again(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def make(random: Random) -> bytes:
        return random.randbytes(8)

    def examine(data: bytes, random: Random) -> str:
        seen.append(data)
        return "fine"

    for first, executions in ((0, 5), (3, 1)):
        run(make, examine, Bounds(1, 64), executions=executions, first=first)
    assert seen[3] == seen[5]
    assert len(set(seen)) == 5
