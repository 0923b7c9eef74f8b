"""Speed runs time what they say, skip what takes too long, and go on where they were."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import speed
from bench.codecs import select_codecs
from bench.codecs.aecodec import Aecodec
from bench.images import describe
from bench.results import write_rows
from tests.bench.helpers import picture, save


@pytest.fixture
def plan(tmp_path: Path) -> speed.SpeedPlan:
    tile = describe(save(picture(128, 192), tmp_path / "tile.png"))
    return speed.SpeedPlan(
        codecs=select_codecs("jpeg"), images=(tile,), sizes=("0.4",), cores=(1,), repeats=2, budget=30
    )


def test_rows_have_times_memory_and_sizes_and_are_kept(plan: speed.SpeedPlan, tmp_path: Path) -> None:
    reported: list[str] = []
    content = speed.run(plan, lambda done, total, what: reported.append(what), cache=tmp_path / "cache")
    assert reported == ["jpeg 0.4 MP, 1 cores, in-process", "jpeg 0.4 MP, 1 cores, process"]
    inside, process = content["rows"]
    for row in (inside, process):
        assert "failure" not in row
        assert row["bytes"] == inside["bytes"] > 1000
        for operation in ("encode", "decode"):
            times = row[operation]
            assert 0 < times["least"] <= times["median"] <= times["most"]
            assert times["repeats"] == 2
    assert inside["psnr-rgb"] > 25
    assert inside["encode"]["median"] < process["encode"]["median"]
    assert 10 < process["peak_mib_decode"] < 500
    again = speed.run(plan, lambda done, total, what: None, cache=tmp_path / "cache")
    assert again["rows"] == content["rows"]
    write_rows(content, tmp_path / "speed.json")
    assert json.loads((tmp_path / "speed.json").read_text())["rows"] == content["rows"]


def test_a_codec_under_another_name_than_the_lists_is_timed_in_process(
    plan: speed.SpeedPlan, tmp_path: Path
) -> None:
    renamed = replace(plan, codecs=(replace(select_codecs("jpeg")[0], name="jpeg-of-mine"),))
    content = speed.run(renamed, lambda done, total, what: None, cache=tmp_path)
    assert content["rows"][0]["codec"] == "jpeg-of-mine"
    assert content["rows"][0]["bytes"] > 1000


def test_an_in_process_row_that_fails_says_why(plan: speed.SpeedPlan, tmp_path: Path) -> None:
    broken = replace(plan, codecs=(replace(Aecodec(), model="nowhere-to-be-found"),))
    pictures = speed._Pictures(broken, tmp_path)
    row = speed._row(broken, speed.Job(broken.codecs[0], "0.4", 1, "in-process"), pictures, [])
    assert "nowhere-to-be-found" in row["failure"]


def test_a_process_that_fails_is_a_row_and_is_tried_again(
    plan: speed.SpeedPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["python3", "-c", "import sys; sys.exit('no such codec')"]
    monkeypatch.setattr("bench.codecs.base.Codec.command", lambda *arguments: command)
    content = speed.run(plan, lambda done, total, what: None, cache=tmp_path / "cache")
    assert content["rows"][1]["failure"] == "no such codec"
    assert len((tmp_path / "cache" / "speed.jsonl").read_text().splitlines()) == 1


def test_what_took_too_long_is_not_tried_on_a_larger_picture(
    plan: speed.SpeedPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"median": 40.0, "least": 39.0, "most": 41.0, "repeats": 1}

    def measured(*arguments: Any) -> dict[str, Any]:
        return {"encode": times, "decode": times, "bytes": 1}

    monkeypatch.setattr(speed, "_in_process", measured)
    monkeypatch.setattr(speed, "_process", measured)
    larger = speed.SpeedPlan(**{**vars(plan), "sizes": ("0.4", "2", "12")})
    content = speed.run(larger, lambda done, total, what: None, cache=tmp_path / "cache")
    skipped = [row["size"] for row in content["rows"] if "skipped" in row]
    assert skipped == ["2", "2", "12", "12"]


def test_a_child_is_not_charged_for_the_memory_of_the_process_that_measures_it() -> None:
    held = np.ones(300 << 20, np.uint8)
    usage = speed._timed([sys.executable, "-c", "sum(range(10**6))"], 1)
    assert held[-1] == 1
    assert 3 < usage.peak_mib < 100
    assert 0 < usage.processor_seconds <= usage.seconds + 0.1


def test_a_codec_timed_in_process_is_not_charged_for_the_memory_of_the_process_that_measures_it(
    plan: speed.SpeedPlan, tmp_path: Path
) -> None:
    held = np.ones(500 << 20, np.uint8)
    inside, _ = speed.run(plan, lambda done, total, what: None, cache=tmp_path)["rows"]
    assert held[-1] == 1
    assert 10 < inside["peak_mib_before"] <= inside["peak_mib"] < 300


def test_finished_rows_of_other_sizes_stay_in_the_file_and_fresh_forgets_only_what_is_planned(
    plan: speed.SpeedPlan, tmp_path: Path
) -> None:
    def quiet(done: int, total: int, what: str) -> None:
        """A report to nobody."""

    larger = speed.run(replace(plan, sizes=("2",)), quiet, cache=tmp_path)
    both = speed.run(plan, quiet, cache=tmp_path)
    assert [row["size"] for row in both["rows"]] == ["0.4", "0.4", "2", "2"]
    assert both["rows"][2:] == larger["rows"]
    again = speed.run(plan, quiet, fresh=True, cache=tmp_path)
    assert again["rows"][2:] == larger["rows"]
    assert again["rows"][:2] != both["rows"][:2], "times are never the same twice"
    assert set(again["codecs"]["jpeg"]) >= {"versions"}


def test_the_summary_is_the_median_with_the_extremes() -> None:
    assert speed.summary([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0, "repeats": 3}
