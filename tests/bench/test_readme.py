"""The plan behind ``python -m bench readme``: parts are real commands, in an order that works."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.codecs import select_codecs
from bench.readme import PARTS, ReadmeError, choose, run


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
@pytest.mark.parametrize("fresh", [False, True])
def test_every_part_is_a_command_with_options_that_it_knows(part: object, fresh: bool) -> None:
    (chosen,) = [p for p in PARTS if p is part]
    name, *arguments = chosen.command(fresh)
    command = main.commands[name]
    context = command.make_context(name, list(arguments))
    codecs = context.params.get("codecs")
    assert codecs is None or select_codecs(codecs)
    assert context.params.get("fresh", False) == (fresh and chosen.cached)


def test_the_report_comes_after_what_it_reports() -> None:
    assert PARTS[-1].name == "report"
    assert [part.name for part in choose("report, rd")] == ["rd", "report"]


def test_an_unknown_part_is_told() -> None:
    with pytest.raises(ReadmeError, match=r"Unknown parts: poem. Known are: startup, speed"):
        choose("rd,poem")


def test_the_time_of_each_part_is_written_and_a_failure_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter([0, 3])
    monkeypatch.setattr(
        "bench.readme.subprocess.run",
        lambda command, **options: subprocess.CompletedProcess(command, next(codes)),
    )
    monkeypatch.setattr("bench.readme.describe_run", lambda: {"commit": "feed"})
    said: list[str] = []
    with pytest.raises(ReadmeError, match="speed ended with exit code 3"):
        run(PARTS, tmp_path / "readme.json", fresh=True, say=said.append)
    content = json.loads((tmp_path / "readme.json").read_text())
    assert [(row["part"], row["exit_code"]) for row in content["rows"]] == [("startup", 0), ("speed", 3)]
    assert content["rows"][1]["command"].endswith("--codecs aecodec,jpeg,webp,avif --fresh")
    assert said[0] == "[1/6] python -m bench startup"


def test_the_plan_can_be_read_without_running_it() -> None:
    result = CliRunner().invoke(main, ["readme", "--plan", "--parts", "rd,report", "--fresh"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("rd         python -m bench rd --codecs aecodec,")
    assert "--fresh" in lines[0]
    assert "--fresh" not in lines[1]
