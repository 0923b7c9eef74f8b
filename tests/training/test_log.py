"""The log of a run: JSON for programs, a line for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aecodec.training.log import Log


def test_each_report_is_a_line_of_json_and_one_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(tmp_path / "log.jsonl")
    log.write("start", {"pictures": 3})
    log.write("train", {"step": 50, "loss": 1.25})
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert lines == [{"event": "start", "pictures": 3}, {"event": "train", "step": 50, "loss": 1.25}]
    assert capsys.readouterr().err == "event start  pictures 3\nevent train  step 50  loss 1.25\n"


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    log.write("train", {"loss": float("nan"), "losses": [1.0, float("inf")]})
    line = log.path.read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "event": "train",
        "loss": None,
        "losses": [1.0, None],
    }
