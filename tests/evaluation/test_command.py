"""Several predictions, the files that evaluate.py writes, and calibration."""

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import evaluate as command
from common.errors import UserError, exit_on_user_error
from evaluation.calibration import Calibration
from evaluation.judge import evaluate, row_names
from evaluation.plots import plots
from tests.evaluation.tables import META, SCORES, cells, columns, flat, printed, scored

# Several predictions


def test_several_predictions_and_their_mean_stand_side_by_side(meta, scores, put):
    other = put("b.csv", {"r1.mp4": 0.4, "r2.mp4": 0.1, "f1.mp4": 0.7, "f2.mp4": 0.8})
    out = printed(meta, scores, other, draws=20)
    assert columns(out) == ["a", "b", "mean"]
    # means 0.3, 0.35, 0.8, 0.6: all are right
    assert cells(out, "  accuracy") == ["0.5000", "1.0000", "1.0000"]
    # a: 0.9 wins over both reals, 0.4 over 0.2 alone: 3 of 4 pairs
    assert cells(out, "AUC") == ["0.7500", "1.0000", "1.0000"]
    assert max(map(len, out.splitlines()[:25])) <= 100


def test_only_videos_that_all_predictions_have_are_compared(meta, scores, put):
    fewer = put("b.csv", dict.fromkeys(("r1.mp4", "f1.mp4", "f2.mp4"), 0.3))
    with pytest.raises(UserError, match=r"r2.mp4 \(.*b.csv\)"):
        scored(meta, scores, fewer)
    _, evaluation = scored(meta, scores, fewer, ignore_missing=True)
    assert [len(row.scores) for row in evaluation.rows] == [3, 3, 3]


def test_predictions_of_one_name_are_told_apart():
    assert row_names(["x/a.csv", "y/a.csv", "b.csv"]) == ["x/a", "y/a", "b"]
    assert row_names(["x/a.csv", "x/a.csv"]) == ["x/a (1)", "x/a (2)"]


def test_order_of_rows_does_not_matter(meta, put):
    assert scored(meta, put("a.csv", dict(reversed(SCORES.items()))))[0] == [0.2, 0.6, 0.9, 0.4]


# Files


def strict(path):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(path.read_text(), parse_constant=refuse)


def test_metrics_file_is_strict_json_with_everything(meta, scores, run):
    run("--predictions", scores, "--labels", meta, "--by", "split", "original")
    data = strict(scores.parent / "a.evaluation/metrics.json")
    (row,) = data["predictions"]
    assert data["videos"] == {"evaluated": 4, "real": 2, "fake": 2}
    assert (data["settings"]["log_loss_clip"], data["settings"]["bootstrap_draws"]) == (1e-15, 20)
    assert row["metrics"]["auc"]["value"] == 0.75 and len(row["metrics"]["auc"]["interval"]) == 2
    assert row["confusion"] == {"real_as_real": 1, "real_as_fake": 1, "fake_as_real": 1, "fake_as_fake": 1}
    assert row["groups"]["original"]["r1.mp4"]["auc"] is None and set(row["groups"]["split"]) == {"train", "test"}


def test_without_draws_there_are_no_intervals(meta, scores, run):
    for draws, brackets in ((0, False), (5, True)):
        with pytest.raises(SystemExit):
            argv = ["--predictions", str(scores), "--labels", str(meta), "--overwrite", "--bootstrap", str(draws)]
            exit_on_user_error(lambda argv=argv: command.main(argv))
        row = strict(scores.parent / "a.evaluation/metrics.json")["predictions"][0]
        assert (row["metrics"]["accuracy"]["interval"] is not None) == brackets


def test_clip_is_used_and_told(meta, put, run):
    scores = put("a.csv", {**SCORES, "f1.mp4": 0})
    out = run("--predictions", scores, "--labels", meta, "--clip", "0.01")[1]
    # -ln 0.01 = 4.6052 and -ln 0.4 = 0.9163
    assert cells(out, "  of the fake videos") == ["2.7607"]
    assert "clipped to [0.01, 1 - 0.01]" in out


PLOTS = {"roc", "precision_recall", "reliability", "histogram"}


@pytest.mark.parametrize("count", [1, 9])
def test_plots_are_written_and_show_something(meta, put, run, tmp_path, count):
    random = np.random.default_rng(0)
    files = [put(f"${i}_<&>.csv", {name: round(random.random(), 2) for name in META}) for i in range(count)]
    assert run("--predictions", *files, "--labels", meta, "--out", tmp_path / "out")[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{name}.png" for name in PLOTS} | {"metrics.json"}
    for name in PLOTS:
        image = np.asarray(Image.open(tmp_path / "out" / f"{name}.png").convert("RGB")).astype(int)
        coloured = (image.max(2) - image.min(2) > 60).sum()
        assert image.shape[0] > 400 and coloured > 500, name
        # Nothing is cut off at the edges.
        assert all((edge == 255).all() for edge in (image[0], image[-1], image[:, 0], image[:, -1])), name


@pytest.mark.parametrize(
    ("stem", "count"),
    [
        ("a", 1),
        ("long_name_of_a_model_", 8),
        ("final_888_DeepFakeClassifier_tf_efficientnet_b7_ns_0", 7),
        ("W" * 32, 2),
    ],
)
def test_legends_and_titles_cover_nothing_and_are_not_cut_off(meta, put, stem, count):
    files = [put(f"{stem}{i}.csv", SCORES) for i in range(count)]
    evaluation = evaluate(files, meta, bootstrap=20)
    for name, draw in plots(evaluation).items():
        figure = draw(evaluation)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        texts = [legend.get_window_extent(), figure._suptitle.get_window_extent()]
        others = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
        assert not any(text.overlaps(other) for text in texts for other in others), name
        titles = [axes.title.get_window_extent() for axes in figure.axes]
        inside = [(t.x0 > 0, t.x1 < figure.bbox.x1, t.y0 > 0, t.y1 < figure.bbox.y1) for t in texts + titles]
        assert all(map(all, inside)), name
        assert "4 videos: 2 real, 2 fake" in figure.get_suptitle()


def test_histograms_have_each_their_own_scale(meta, put):
    narrow = put("narrow.csv", dict(zip(META, (0.1, 0.1, 0.9, 0.9), strict=True)))
    wide = put("wide.csv", dict(zip(META, (0.1, 0.3, 0.7, 0.9), strict=True)))
    evaluation = scored(meta, narrow, wide)[1]
    heights = [axes.get_ylim()[1] for axes in plots(evaluation)["histogram"](evaluation).axes[:2]]
    assert heights[0] == 2 * heights[1]


def test_plots_are_svg_if_asked_for_and_replace_those_of_before(meta, scores, run):
    out = scores.parent / "a.evaluation"
    assert run("--predictions", scores, "--labels", meta)[0] == 0
    (out / "mine.txt").touch()
    assert run("--predictions", scores, "--labels", meta, "--format", "svg", "--overwrite")[0] == 0
    assert {path.name for path in out.iterdir()} == {f"{name}.svg" for name in PLOTS} | {"metrics.json", "mine.txt"}
    assert all(ElementTree.parse(out / f"{name}.svg").getroot().tag.endswith("svg") for name in PLOTS)


def test_earlier_results_are_replaced_only_if_asked_for(meta, scores, run):
    argv = ("--predictions", scores, "--labels", meta, "--calibrate", scores.parent / "c.json")
    assert run(*argv)[0] == 0
    before = (scores.parent / "a.evaluation/metrics.json").stat().st_mtime_ns
    code, out, err = run(*argv)
    assert (code, out) == (2, "") and "--overwrite replaces it" in err
    assert (scores.parent / "a.evaluation/metrics.json").stat().st_mtime_ns == before
    code, _, err = run("--predictions", scores, "--labels", meta, "--out", scores.parent / "new", *argv[4:])
    assert code == 2 and "c.json: exists already" in err and not (scores.parent / "new").exists()
    assert run(*argv, "--overwrite")[0] == 0


def test_inputs_are_never_written_over(meta, scores, run):
    code, _, err = run("--predictions", scores, "--labels", meta, "--calibrate", meta, "--overwrite")
    assert code == 2 and "is one of the inputs" in err and json.loads(meta.read_text()) == META
    code, _, err = run("--predictions", scores, "--labels", meta, "--out", scores)
    assert code == 2 and "--out names a folder" in err


# Calibration


@pytest.fixture
def too_sure(put):
    """Scores of 0.99 and 0.01 of which one in ten is wrong: 0.9 and 0.1 would be right."""
    labels = {f"{i}": int(i % 2 ^ (i % 20 < 2)) for i in range(200)}
    return put("a.csv", {f"{i}": 0.99 if i % 2 else 0.01 for i in range(200)}), put("l.csv", labels)


def test_calibrate_fits_and_tells_what_it_gained_and_where_it_was_fitted(too_sure, run, tmp_path):
    code, out, _ = run("--predictions", too_sure[0], "--labels", too_sure[1], "--calibrate", tmp_path / "c.json")
    calibration = Calibration.load(tmp_path / "c.json")
    # ln 99 / ln 9
    assert code == 0 and calibration.temperature == pytest.approx(math.log(99) / math.log(9), rel=1e-4)
    assert (calibration.real, calibration.fake) == (100, 100)
    # before: -(0.9 ln 0.99 + 0.1 ln 0.01); after: -(0.9 ln 0.9 + 0.1 ln 0.1); scores were 0.09 off
    told = "log loss 0.4696 before, 0.3251 after; calibration error 0.0900 before, 0.0000 after"
    assert told in flat(out) and "fitted on these very videos" in flat(out)


def test_gain_of_a_calibration_is_not_that_of_its_clip(put, run, tmp_path):
    # Certain and wrong once in four: at the clip of 1e-15 that would cost 34.5 / 4 before, at 1e-6 it is 13.8 / 4.
    scores = {str(i): int(i % 2) for i in range(80)}
    files = put("a.csv", scores), put("l.csv", {name: p ^ (int(name) % 8 < 2) for name, p in scores.items()})
    argv = ("--predictions", files[0], "--labels", files[1])
    out = flat(run(*argv, "--calibrate", tmp_path / "c.json")[1])
    # After: -(0.75 ln 0.75 + 0.25 ln 0.25)
    assert "log loss 3.4539 before, 0.5623 after" in out
    assert "For both log losses the scores are clipped to [1e-06, 1 - 1e-06]." in out
    out = flat(run(*argv, "--calibration", tmp_path / "c.json", "--overwrite")[1])
    assert "Calibrated: scores clipped to [1e-06, 1 - 1e-06] first" in out
    assert "Calibrated:" not in run(*argv, "--calibration", tmp_path / "c.json", "--overwrite", "--clip", "1e-6")[1]


def test_calibration_can_be_judged_on_other_videos(too_sure, run, tmp_path):
    Calibration(math.log(99) / math.log(9)).save(tmp_path / "c.json")
    argv = ("--predictions", too_sure[0], too_sure[0], "--labels", too_sure[1], "--calibration", tmp_path / "c.json")
    assert run(*argv)[0] == 0
    rows = strict(tmp_path / "a.evaluation/metrics.json")["predictions"]
    folder = tmp_path.name
    names = [f"{folder}/a (1)", f"{folder}/a (2)", "mean"]
    assert [row["name"] for row in rows] == names + [f"{name} calibrated" for name in names]
    assert rows[-1]["metrics"]["log_loss"]["value"] == pytest.approx(0.325083, abs=1e-6)


def test_single_networks_are_not_calibrated_by_what_was_fitted_on_the_whole(crowd, tmp_path):
    Calibration(2.0).save(tmp_path / "c.json")
    rows = scored(crowd[1], details=crowd[0], per_model=True, calibration=tmp_path / "c.json")[1].rows
    assert [row.name for row in rows] == ["details", "m", "n", "details calibrated"]


def test_calibrate_takes_one_prediction(too_sure, run, tmp_path):
    argv = ("--predictions", too_sure[0], too_sure[0], "--labels", too_sure[1], "--calibrate", tmp_path / "c.json")
    code, _, err = run(*argv)
    assert code == 2 and "--calibrate" in err


def test_something_to_evaluate_is_needed(meta, run):
    code, _, err = run("--labels", meta)
    assert (code, err.count("\n")) == (2, 1) and "--predictions" in err


@pytest.mark.parametrize("name", [".", "/"])
def test_folder_is_no_file_of_predictions(put, run, name):
    code, _, err = run("--predictions", name, "--labels", put("labels.csv", "filename,label\na.mp4,1\n"))
    assert (code, err) == (2, f"error: {name}: is a directory, not a file of predictions\n")
