"""The table of all figures: ratios, whether what is asked holds, what is kept, and what is refused."""

import json
import subprocess
import sys
import time

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import gpu
from benchmarks.asked import ASKED, FAIR
from benchmarks.report import Row, save_report, table
from common.errors import UserError, exit_on_user_error
from common.ffmpeg import ffmpeg_executable


def cells(row):
    """The cells of a row in the table, by column."""
    header, _, line = table([row.record()]).splitlines()
    return dict(zip(*([cell.strip() for cell in text.strip("|").split("|")] for text in (header, line)), strict=True))


def test_ratio_says_how_many_times_better_ours_is():
    assert Row("", "a step", "s", ours=2, published=6).ratio == 3
    assert Row("", "memory", "GiB", ours=2, published=3).ratio == 1.5
    assert Row("", "a rate", "videos/s", ours=6, published=2).ratio == 3
    assert Row("", "alone", "s", ours=2).ratio is None


def test_published_flow_is_fair_if_it_is_near_its_library():
    fair = {plain: Row("", "", "s", 1.0, published=1.0, plain=plain).fair for plain in (0.8, 0.9, 1.1, 1.3)}
    assert fair == {0.8: False, 0.9: True, 1.1: True, 1.3: False} and FAIR == 0.15
    assert Row("", "", "s", 1.0, published=1.0).fair is None


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("detection", {"ours": 1, "published": 3}, {"ours": 1, "published": 2.9}),
        ("opening", {"ours": 3}, {"ours": 3.1}),
        ("cost of many", {"ours": 1.05}, {"ours": 1.06}),
        ("memory of many", {"ours": 0.96}, {"ours": 1.2}),
        ("label exactness", {"ours": 0.005}, {"ours": 0.00502}),
    ],
)
def test_what_is_asked_is_compared_with_what_was_measured(key, good, bad):
    assert cells(Row(key, "a figure", "s", **good))["holds"] == "yes"
    refused = cells(Row(key, "a figure", "s", **bad))
    assert refused["holds"] == "no" and refused["asked"] == str(ASKED[key])


def test_row_shows_both_flows_and_leaves_blank_what_there_is_not():
    shown = cells(Row("no such key", "whole videos", "videos/s", ours=0.5, published=0.04))
    assert (shown["what"], shown["published flow"], shown["ours"]) == ("whole videos, videos/s", "0.040", "0.500")
    assert shown["ratio"] == "12.50"
    assert shown["asked"] == shown["holds"] == shown["fair"] == shown["library plainly"] == ""


def test_earlier_sections_are_kept_where_the_circumstances_are_the_same(tmp_path):
    about = {"processor": "a CPU", "versions": {"torch": "2.0"}}
    sections = {"start": {"rounds": 3, "rows": [Row("opening", "opened", "s", 1.0).record()]}}
    save_report(tmp_path, "performance", command.report(about, sections), {"about": about, "sections": sections})
    path = tmp_path / "performance.json"
    assert command.earlier(path, about) == sections
    assert command.earlier(path, about | {"versions": {"torch": "2.1"}}) == {}
    assert command.earlier(tmp_path / "none.json", about) == {}
    path.write_text("half a fi")
    assert command.earlier(path, about) == {}


def test_table_follows_the_order_of_the_sections_and_names_those_not_measured():
    about = {"processor": "a CPU", "cores": 2, "versions": {"torch": "2.0"}}
    row = Row("", "something", "s", 1.0)
    sections = {
        "detection": {"rounds": 1, "rows": [row.record()]},
        "prediction": {"rounds": 3, "rows": [Row("", "first", "s", 2.0).record()]},
    }
    text = command.report(about, sections)
    assert (
        text.index("first") < text.index("something")
        and "cores: 2; rounds: prediction 3, detection 1; torch 2.0" in text
    )
    assert "Not measured: network, start, " in text


def test_figures_of_any_depth_are_found_in_the_report_on_exactness():
    from benchmarks.sections import _differences

    gaps = {"largest": 0.1, "mean": 0.01}
    figures = {"mean labels": gaps, "int8": {"mean labels": gaps}, "faces": {"lowest": 0.0}}
    assert dict(_differences(figures)) == {"mean labels": gaps, "int8, mean labels": gaps}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--only", "prediction,speed"), "'speed' is not one of gpu_tests"),
        (("--rounds", "0"), "not a whole number"),
        (("--root", "."), "no part in it"),
    ],
)
def test_bad_options_are_one_line(folder, tmp_path, monkeypatch, capsys, options, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        exit_on_user_error(lambda: command.main([str(folder), *options]))
    error = capsys.readouterr().err
    assert end.value.code == 2 and reason in error and error.count("\n") == 1


@pytest.mark.parametrize(("names", "reason"), [([], "no videos in it"), (["a.jpg"], "but images")])
def test_folder_without_videos_is_one_line(tmp_path, capsys, names, reason):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(SystemExit) as end:
        exit_on_user_error(lambda: command.main([str(tmp_path)]))
    error = capsys.readouterr().err
    assert end.value.code == 2 and reason in error and error.count("\n") == 1


def test_videos_without_a_face_are_refused_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    black = ["-f", "lavfi", "-i", "color=black:size=320x180:duration=0.4"]
    subprocess.run([ffmpeg_executable(), "-v", "error", *black, str(tmp_path / "black.mp4")], check=True)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        exit_on_user_error(lambda: command.main([str(tmp_path), "--out", str(out)]))
    assert end.value.code == 2 and "no face" in capsys.readouterr().err and not out.exists()


def test_what_only_a_gpu_has_is_not_missed_elsewhere():
    about = {"processor": "a CPU", "device": "cpu, 2 threads", "versions": {}}
    assert "gpu" not in command.report(about, {})
    assert "gpu_tests, prediction" in command.report(about | {"device": "cuda:0 (H200)"}, {})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_check_of_a_gpu_is_refused_without_one(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert command.chosen("gpu")[0] == "gpu_tests" and "exactness" in command.chosen("gpu")
    with pytest.raises(UserError, match="--only gpu_choices: needs a CUDA device; this is cpu"):
        command.main([str(folder), "--only", "gpu", "--out", str(tmp_path / "out")])


def test_sections_that_would_begin_too_late_are_left_out(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "SECTIONS", {"start": measured})
    monkeypatch.setattr(command, "is_late", lambda begun, minutes: minutes == 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert command.main([str(folder), "--minutes", "1", "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert "left out after 1 minutes: start" in captured.err and "Not measured: start" in captured.out


def test_time_is_over_after_so_many_minutes():
    now = time.monotonic()
    assert command.is_late(now - 61, 1) and not command.is_late(now - 1, 1) and not command.is_late(0, None)


def test_outcome_of_the_tests_is_counted(tmp_path):
    (tmp_path / "test_some.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip()\n"
        "@pytest.fixture\ndef broken(): raise ValueError\ndef test_d(broken): pass\n"
    )
    report = tmp_path / "tests.xml"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path), f"--junitxml={report}"], cwd=tmp_path, capture_output=True
    )
    assert gpu.counted(report) == (4, 2, 1)


def test_decoding_is_measured_one_at_a_time_and_several(folder, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "VIDEOS", 2)
    monkeypatch.setattr(gpu, "DECODERS", ("pyav", "no such decoder"))
    rows = gpu.decoding(folder, 1, "cpu")
    assert [row.what for row in rows] == [
        f"decoding by pyav alone, {workers} at a time" for workers in (1, gpu.WORKERS_ON_GPU)
    ]
    assert all(row.ours > 0 and row.unit == "videos/s" for row in rows)
    assert "not measured: --decoder no such decoder" in capsys.readouterr().err


def measured(bench):
    return [Row("opening", "opened", "s", ours=2.0, published=3.0)]


def broken(bench):
    raise UserError("too few faces")


def test_interruption_keeps_what_was_measured(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "SECTIONS", {"start": measured, "exactness": broken})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="too few faces"):
        command.main([str(folder), "--out", str(tmp_path / "out")])
    (path,) = (tmp_path / "out").glob("performance-*.json")
    written = json.loads(path.read_text())
    assert [row["ratio"] for row in written["sections"]["start"]["rows"]] == [1.5]
    assert written["about"]["cores"] >= 1 and written["about"]["versions"]["torch"]
    text = path.with_suffix(".md").read_text()
    assert "| opened, s | at most 3 | 3.00 |  |  | 2.00 | 1.50 | yes |" in text and "Not measured: exactness" in text
