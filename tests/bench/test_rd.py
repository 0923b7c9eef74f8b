"""Rate-distortion runs: nothing is lost, nothing wrong passes, and results tell where they come from."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench import cache
from bench.cache import PointCache, fingerprint
from bench.codecs import select_codecs
from bench.images import describe
from bench.rd import Plan, Task, measure_point, run, spread
from bench.results import Point, Result, averages, read_result, write_result
from tests.bench.helpers import Shelf, picture, save


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    paths = [save(picture(phase=31 * number), tmp_path / f"wave{number}.png") for number in range(2)]
    return Plan(
        codecs=(Shelf(),),
        image_set="waves",
        images=tuple(describe(path) for path in paths),
        metrics=("psnr-rgb", "ms-ssim-rgb"),
        jobs=1,
        cache=tmp_path / "cache",
    )


def silent(done: int, total: int, task: Task, point: Point) -> None:
    """A report to nobody."""


def point_of(plan: Plan, codec: Shelf, quality: float = 3) -> Point:
    return measure_point(Task(codec, plan.images[0], quality, plan.metrics))


def test_every_picture_and_quality_becomes_a_point(plan: Plan) -> None:
    (result,) = run(plan, silent)
    assert [(p.image, p.quality) for p in result.points] == [
        (f"wave{number}", float(quality)) for number in range(2) for quality in range(1, 8)
    ]
    assert not result.failures
    assert all(p.bpp == pytest.approx(8 * p.bytes / (192 * 256)) for p in result.points)
    psnr = result.averages["psnr-rgb"]
    assert list(psnr) == sorted(psnr)
    assert psnr[0] == pytest.approx(
        (result.points[0].metrics["psnr-rgb"] + result.points[7].metrics["psnr-rgb"]) / 2
    )


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("encode", "RuntimeError: the shelf broke"),
        ("size", r"Expected a decoded picture uint8 \(192, 256, 3\). Received: uint8 \(191"),
        ("again", "Expected two decodings within 0 levels. Found a difference of 4"),
    ],
)
def test_what_goes_wrong_becomes_the_points_failure(plan: Plan, fault: str, message: str) -> None:
    point = point_of(plan, Shelf(fault=fault))
    assert point.failure is not None
    assert re.search(message, point.failure)
    assert point_of(plan, Shelf()).failure is None


def test_a_failed_point_is_a_row_and_its_quality_is_not_averaged(plan: Plan) -> None:
    broken = Plan(**{**vars(plan), "codecs": (Shelf(fault="encode"),)})
    (result,) = run(broken, silent)
    assert [p.quality for p in result.failures] == [3.0, 3.0]
    assert result.averages["quality"] == [1, 2, 4, 5, 6, 7]


def test_an_interrupted_run_goes_on_where_it_was(plan: Plan) -> None:
    seen: list[tuple[str, float]] = []

    def interrupt(done: int, total: int, task: Task, point: Point) -> None:
        seen.append((point.image, point.quality))
        if done == 5:
            raise KeyboardInterrupt

    def count(done: int, total: int, task: Task, point: Point) -> None:
        seen.append((point.image, point.quality))

    with pytest.raises(KeyboardInterrupt):
        run(plan, interrupt)
    assert len(seen) == 5
    (result,) = run(plan, count)
    assert len(seen) == len(set(seen)) == len(result.points) == 14
    run(plan, count)
    assert len(seen) == 14
    run(plan, count, fresh=True)
    assert len(seen) == 28


def test_failed_points_are_measured_again(plan: Plan) -> None:
    broken = Plan(**{**vars(plan), "codecs": (Shelf(fault="encode"),)})
    again: list[float] = []
    run(broken, silent)
    run(broken, lambda done, total, task, point: again.append(point.quality))
    assert again == [3.0, 3.0]


def test_two_processes_find_the_same_as_one(plan: Plan) -> None:
    codecs = select_codecs("jpeg")
    one = Plan(**{**vars(plan), "codecs": codecs})
    two = Plan(**{**vars(one), "jobs": 2, "cache": plan.cache / "two"})
    (first,), (second,) = run(one, silent), run(two, silent)
    assert [(p.image, p.quality, p.bytes, p.metrics) for p in first.points] == [
        (p.image, p.quality, p.bytes, p.metrics) for p in second.points
    ]


def test_a_codec_that_ends_its_process_is_a_failure_and_the_others_go_on(plan: Plan) -> None:
    crashing = Plan(**{**vars(plan), "codecs": (Shelf(fault="crash"),), "metrics": ("psnr-rgb",), "jobs": 2})
    (result,) = run(crashing, silent)
    assert len(result.points) == 14
    assert [p.quality for p in result.failures] == [3.0, 3.0]
    assert all((p.failure or "").startswith("The process ended: ") for p in result.failures)


def test_a_line_that_was_cut_off_is_not_a_point(plan: Plan) -> None:
    cache = PointCache(Shelf(), plan.cache)
    cache.add("abc", Point("wave0", 3.0, 10, 1.5, {"psnr-rgb": 30.0}))
    (path,) = plan.cache.glob("*.jsonl")
    path.write_text(path.read_text() + '{"sha256": "def", "quality": 4.0, "im')
    again = PointCache(Shelf(), plan.cache)
    assert again.get("abc", 3.0, ["psnr-rgb"]) == Point("wave0", 3.0, 10, 1.5, {"psnr-rgb": 30.0})
    assert again.get("abc", 3.0, ["psnr-rgb", "ms-ssim-rgb"]) is None
    assert again.get("def", 4.0, []) is None


def test_points_of_other_settings_are_not_mistaken_for_these() -> None:
    jpeg, dense = select_codecs("jpeg,jpeg-444")
    assert fingerprint(jpeg) != fingerprint(dense)
    assert fingerprint(jpeg) == fingerprint(select_codecs("jpeg")[0])


def test_points_measured_by_other_code_are_not_mistaken_for_these(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    PointCache(Shelf(), plan.cache).add("abc", Point("wave0", 3.0, 10, 1.5, {"psnr-rgb": 30.0}))
    assert PointCache(Shelf(), plan.cache).get("abc", 3.0, ["psnr-rgb"]) is not None
    digests = {"bench.metrics": "other"}
    monkeypatch.setattr(cache, "source_digest", lambda module: digests.get(module.__name__, "same"))
    first = PointCache(Shelf(), plan.cache)
    assert first.get("abc", 3.0, ["psnr-rgb"]) is None
    first.add("abc", Point("wave0", 3.0, 10, 1.5, {"psnr-rgb": 31.0}))
    digests["tests.bench.helpers"] = "other"
    assert PointCache(Shelf(), plan.cache).get("abc", 3.0, ["psnr-rgb"]) is None


def test_a_result_file_reads_back_as_it_was_and_has_compressais_form(plan: Plan, tmp_path: Path) -> None:
    (result,) = run(plan, silent)
    path = write_result(result, tmp_path / "results")
    content = json.loads(path.read_text())
    assert content["name"] == "Shelf"
    assert {"bpp", "psnr-rgb", "ms-ssim-rgb"} <= set(content["results"])
    assert len(content["results"]["bpp"]) == len(content["results"]["psnr-rgb"]) == 7
    assert content["run"]["commit"]
    assert content["run"]["machine"]["cores"]
    assert len(content["images"]["images"]) == 2
    read = read_result(path)
    assert read.averages == result.averages
    assert [(p.image, p.bytes, p.failure) for p in read.points] == [
        (p.image, p.bytes, p.failure) for p in result.points
    ]
    assert read.image_curve("wave1", "psnr-rgb").qualities == pytest.approx(
        result.image_curve("wave1", "psnr-rgb").qualities, abs=1e-4
    )


def test_a_metric_that_some_points_lack_is_not_averaged() -> None:
    points = [
        Point("a", 1.0, 10, 1.0, {"psnr-rgb": 30.0, "ms-ssim-rgb": 0.9}),
        Point("b", 1.0, 10, 1.0, {"psnr-rgb": 32.0}),
    ]
    assert set(averages(points)) == {"quality", "bpp", "psnr-rgb", "encoding_time", "decoding_time"}
    assert Result("x", "X", "", averages(points)).metrics() == ["psnr-rgb"]


def test_fewer_points_are_spread_over_the_qualities() -> None:
    qualities = tuple(map(float, range(10)))
    assert spread(qualities, 6) == (0, 2, 4, 5, 7, 9)
    assert spread(qualities, 2) == (0, 9)
    assert spread(qualities, None) == spread(qualities, 12) == qualities


def test_a_plan_with_fewer_points_measures_no_others(plan: Plan) -> None:
    (result,) = run(replace(plan, points=3), silent)
    assert [p.quality for p in result.points if p.image == "wave0"] == [1, 4, 7]
