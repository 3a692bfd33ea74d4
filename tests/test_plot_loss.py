"""The plot of validation losses and the choice of checkpoints: what is read, chosen, drawn and printed."""

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import plot_loss
from common.errors import UserError, exit_on_user_error
from plot_loss import plot
from training.history import Run, choose, read_losses, weighted_loss


def printed(losses, first=0, prefix=None):
    """The log of a run that prints (fake, real) per epoch; with a prefix it numbers epochs and names checkpoints."""
    lines = []
    for epoch, (fake, real) in enumerate(losses, first):
        lines += [f"Epoch {epoch}, lr 0.01", f"fake_loss {fake}", f"real_loss {real}"]
        if prefix:
            lines += [f"epoch {epoch}: bce {(fake + real) / 2}", f"checkpoint {prefix}{epoch}"]
    return "".join(f"{line}\n" for line in lines)


def falling(count):
    """Losses that fall from epoch to epoch: the best are the last."""
    return [(round(1 - epoch / 50, 2), 0.5) for epoch in range(count)]


@pytest.fixture
def log(tmp_path):
    """Writes a log file, returns its path."""

    def write(content, name="b7_111"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def command(capsys):
    """Runs the command without a window; returns (exit code, stdout, stderr)."""

    def call(*argv):
        with pytest.raises(SystemExit) as exit_info:
            exit_on_user_error(lambda: plot_loss.main([*map(str, argv), "--no-show"]))
        captured = capsys.readouterr()
        return exit_info.value.code, captured.out, captured.err

    return call


def models_of(stdout):
    """The weights folder and the models in the last line printed."""
    option, folder, models, *names = shlex.split(stdout.splitlines()[-1])
    assert (option, models) == ("--weights-dir", "--models")
    return folder, names


# The choice


def test_fakes_weigh_more():
    assert weighted_loss(0.5, 0.3) == pytest.approx((1.4 * 0.5 + 0.3) / 2)
    assert weighted_loss(0.5, 0.3, fake_weight=1) == pytest.approx(0.4)


def run_of(fake, real=None):
    return Run("run", list(range(len(fake))), fake, real or [0.0] * len(fake), {})


def test_lowest_weighted_losses_after_the_skipped_epochs_are_chosen_lowest_first():
    fake = [0.01, 0.9, 0.3, 0.5, 0.2, 0.4]
    assert [c.epoch for c in choose(run_of(fake), skip=0, count=3)] == [4, 2, 5]
    assert [c.epoch for c in choose(run_of(fake), skip=4, count=3)] == [5]


def test_epoch_16_is_passed_over_and_17_is_not():
    run = run_of([0.1] * 17 + [0.9, 0.8])
    assert [c.epoch for c in choose(run)] == [18, 17]


def test_weight_decides_between_fake_and_real():
    run = run_of([0.2, 0.4], [0.5, 0.25])
    assert choose(run, fake_weight=1.4)[0].epoch == 1 - choose(run, fake_weight=0.5)[0].epoch == 0


def test_short_run_is_chosen_from_all_its_epochs():
    assert [c.epoch for c in choose(run_of([0.5, 0.2, 0.3]), count=2)] == [1, 2]


def test_equal_losses_are_chosen_in_order_of_epochs():
    assert [c.epoch for c in choose(run_of([0.3] * 4), count=3)] == [0, 1, 2]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_losses_that_are_no_numbers_are_not_chosen(loss):
    assert [c.epoch for c in choose(run_of([0.3, loss, 0.2], [0.1, 0.1, loss]))] == [0]


# What is read


def test_published_log_counts_its_epochs(log):
    run = read_losses(log(printed([(0.5, 0.25), (0.4, 0.125)])))
    assert run == Run("b7_111", [0, 1], [0.5, 0.4], [0.25, 0.125], {})


def test_numbered_log_gives_epochs_and_checkpoints(log):
    run = read_losses(log(printed([(0.5, 0.25), (0.4, 0.125)], first=6, prefix="weights/a_")))
    assert run.epochs == [6, 7]
    assert run.checkpoints == {6: "weights/a_6", 7: "weights/a_7"}


def test_results_by_number_of_faces_are_passed_over(log):
    text = printed([(0.5, 0.25), (0.4, 0.125)], prefix="a_")
    table = "faces  videos  tn  fp  accuracy  recall\n    1      12   5   1    0.9167       -\n"
    shown = re.sub(r"(real_loss .*\n)", rf"\1{table}", text)
    assert shown.count("faces") == 2
    assert read_losses(log(shown)) == read_losses(log(text))


def test_resumed_run_replaces_the_epochs_it_repeats_and_those_after(log):
    text = printed([(0.5, 0.5), (0.4, 0.4), (0.3, 0.3)], prefix="old_") + printed([(0.2, 0.1)], 1, "new_")
    run = read_losses(log(text))
    assert (run.epochs, run.fake, run.real) == ([0, 1], [0.5, 0.2], [0.5, 0.1])
    assert run.checkpoints == {0: "old_0", 1: "new_1"}


def test_epoch_that_a_stop_cut_off_is_left_out_and_told(log, command):
    stopped = "fake_loss 0.01\nreal_loss 0.01\n"
    path = log(printed([(0.5, 0.5)], prefix="a_") + stopped + printed([(0.4, 0.4)], 1, "a_"))
    run = read_losses(path)
    assert (run.epochs, run.fake, run.unnumbered) == ([0, 1], [0.5, 0.4], 1)
    assert "left out, no line says which epoch they are: 1 " in command("--log-file", path)[1]


def test_fake_loss_without_its_real_loss_makes_no_pair(log):
    run = read_losses(log("fake_loss 0.9\n" + printed([(0.5, 0.25)]) + "real_loss 0.1\n"))
    assert (run.fake, run.real) == ([0.5], [0.25])


def test_epoch_without_validation_lends_its_checkpoint_to_no_other(log):
    text = "fake_loss 0.5\nreal_loss 0.5\nepoch 0: bce 0.5\nepoch 1: not validated\ncheckpoint a_1\n"
    run = read_losses(log(text + printed([(0.4, 0.4)], 2, "a_")))
    assert (run.epochs, run.checkpoints) == ([0, 2], {2: "a_2"})


def test_half_written_last_line_is_ignored(log):
    assert read_losses(log(printed([(0.5, 0.25)]) + "fake_loss 0.4\nreal_loss 0.1")).real == [0.25]
    assert read_losses(log("epoch,fake_loss,real_loss\n0,0.5,0.25\n1,0.4,0.1", "a.csv")).real == [0.25]


def test_line_ends_of_windows_and_of_progress_bars_are_line_ends(log):
    text = "loss: 10%|#  |\rfake_loss 0.5\r\nloss: 99%|## |\rreal_loss 0.25\r\n"
    assert read_losses(log(text)) == Run("b7_111", [0], [0.5], [0.25], {})


def test_metrics_file_is_named_after_its_folder(log):
    text = "epoch,lr,fake_loss,real_loss,checkpoint\n0,0.1,,,w/a_0\n1,0.1,0.5,0.25,w/a_1\n\n3,0.1,0.4,nan,\n"
    run = read_losses(log(text, "seed_5/metrics.csv"))
    assert (run.name, run.epochs, run.fake) == ("seed_5", [1, 3], [0.5, 0.4])
    assert run.checkpoints == {1: "w/a_1"}


def test_folder_of_a_run_stands_for_its_table(log, command):
    path = log("epoch,fake_loss,real_loss\n0,0.5,0.25\n", "seed_5/metrics.csv")
    assert command("--log-file", path.parent)[0] == 0
    assert (path.parent / "loss.png").exists()


def test_table_is_recognised_by_its_content_and_keeps_the_later_row(log):
    text = '\ufeff"real_loss","epoch","fake_loss"\r\n0.3,4,0.6\r\n0.2,3,0.5\r\n0.1,4,0.4\r\n'
    assert read_losses(log(text, "copied.txt")) == Run("copied.txt", [3, 4], [0.5, 0.4], [0.2, 0.1], {})


def test_run_that_was_begun_anew_leaves_nothing_of_the_old_one(log):
    old, new = printed([(0.1, 0.1)] * 4, 0, "old_"), printed([(0.5, 0.25), (0.4, 0.2)], 0, "new_")
    run = read_losses(log(old + new))
    assert (run.epochs, run.fake, set(run.checkpoints.values())) == ([0, 1], [0.5, 0.4], {"new_0", "new_1"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no losses"),
        (b"training\nfake_loss abc\nreal_loss 0.5\n", "no losses"),
        (b"epoch,fake_loss,real_loss\n3,,\n", "no losses"),
        (bytes(range(256)) * 8, "not a text file"),
        (b"\xff\xfe\xfd" * 100, "no losses"),
        (b"epoch,loss\n0,0.5\n", "columns"),
        (b"epoch,fake_loss,fake_loss,real_loss\n0,1,1,1\n", "columns"),
        (b"epoch,fake_loss,real_loss\n0,0.5,0.4\n1,0.5\n", "line 3 "),
        (b"epoch,fake_loss,real_loss\n0,0.5,0.4,0.3\n", "line 2 "),
        (b"epoch,fake_loss,real_loss\n0,0.5,\n", "line 2 "),
        (b"epoch,fake_loss,real_loss\n-1,0.5,0.4\n", "line 2 "),
        (b"epoch,fake_loss,real_loss\n0,low,0.4\n", "line 2 "),
        (b'epoch,fake_loss,real_loss\n"0,0.5,0.4\n', "line 2 "),
        (b"fake_loss nan\nreal_loss 0.5\n", "all its losses are nan or inf"),
    ],
)
def test_file_without_losses_is_one_line_that_names_it(log, command, content, reason):
    path = log(content)
    code, out, err = command("--log-file", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(path) in err and reason in err
    assert list(path.parent.iterdir()) == [path]


def test_missing_file_and_folder_are_one_line_that_names_it(tmp_path):
    with pytest.raises(UserError, match="none: cannot be read: No such file"):
        read_losses(tmp_path / "none")
    with pytest.raises(UserError, match=f"{tmp_path.name}: cannot be read: Is a directory"):
        read_losses(tmp_path)


# What is drawn


def test_plot_lies_beside_the_log(log, command):
    path, metrics = log(printed(falling(20))), log("epoch,fake_loss,real_loss\n0,1,1\n", "run/metrics.csv")
    assert command("--log-file", path)[0] == command("--log-file", metrics)[0] == 0
    for file in (path.with_name("b7_111.png"), metrics.with_name("loss.png")):
        with Image.open(file) as image:
            image.load()
            assert (image.format, image.size) == ("PNG", (1200, 700))
    assert len(list(path.parent.rglob("*"))) == 5  # and nothing else: the logs, their plots, a folder


def test_svg_is_written_where_asked(log, command, tmp_path):
    out = tmp_path / "new" / "plot.SVG"
    assert command("--log-file", log(printed(falling(20))), "--out", out)[0] == 0
    assert ElementTree.parse(out).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_any_file_name_can_be_drawn():
    names = ["_hidden", "$a$b$", "<&>\x01\udcff", "x" * 300]
    figure = plot([Run(name, [0], [0.5], [0.4], {}) for name in names])
    svg = io.BytesIO()
    figure.savefig(svg, format="svg")
    assert ElementTree.fromstring(svg.getvalue()) is not None
    shown = [text.get_text().strip() for text in figure.axes[0].get_legend().get_texts()]
    assert shown == ["_hidden", r"\$a\$b\$", "<&>??", "x" * 24 + "..." + "x" * 24]


@pytest.mark.parametrize("name", ["plot.pdf", "plot", "png"])
def test_other_formats_are_refused(log, command, tmp_path, name):
    code, out, err = command("--log-file", log(printed(falling(3))), "--out", tmp_path / name)
    assert (code, out) == (2, "") and ".png or .svg" in err
    assert not (tmp_path / name).exists()


def test_log_is_not_written_over(log, command):
    path = log(printed(falling(3)), "odd.png")
    assert command("--log-file", path, "--out", path)[0] == 2
    assert path.read_text() == printed(falling(3))


def curves(axes):
    """The curves by their label, as lists of epochs and losses."""
    return {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}


def marks(axes):
    """The epochs that are marked, by colour."""
    found = {}
    for line in axes.lines:
        if line.get_label().startswith("_"):
            found.setdefault(line.get_markeredgecolor(), set()).add(int(line.get_xdata()[0]))
    return found


def test_single_run_shows_all_three_losses_and_annotates_the_chosen(log):
    (axes,) = plot([read_losses(log(printed(falling(20))))], count=2).axes
    drawn = curves(axes)
    assert drawn.keys() == {"weighted", "fake videos", "real videos"}
    assert drawn["weighted"][3] == pytest.approx((3, (1.4 * 0.94 + 0.5) / 2))
    assert list(marks(axes).values()) == [{18, 19}]
    texts = {text.get_text() for text in axes.texts}
    assert {"epoch 19\n0.6840", "epoch 18\n0.6980"} <= texts and "Validation loss of b7_111" in texts


def test_several_runs_are_told_apart_by_name_and_colour():
    runs = [Run(name, list(range(3)), fake, [0.1] * 3, {}) for name, fake in (("a", [3, 2, 1]), ("b", [1, 2, 3]))]
    (axes,) = plot([*runs, runs[0]], count=1).axes
    assert curves(axes).keys() == {"a (1)", "b", "a (3)"}
    assert sorted(marks(axes).values(), key=sorted) == [{0}, {2}, {2}]


def test_losses_that_are_no_numbers_leave_a_gap_and_the_scale_alone():
    (axes,) = plot([run_of([0.5, float("inf"), 0.3, float("nan"), 0.4], [0.2] * 5)]).axes
    assert [x for x, y in curves(axes)["weighted"] if y == y] == [0, 2, 4]
    assert [x for x, y in curves(axes)["real videos"] if y == y] == [0, 2, 4]
    assert axes.get_ylim()[1] < 0.6


def test_high_losses_of_passed_over_epochs_do_not_flatten_the_rest():
    late = [0.3, 0.2] * 5
    (axes,) = plot([run_of([50.0] * 17 + late, [0.1] * 27)]).axes
    assert axes.get_ylim()[0] < 0.1 and 0.3 < axes.get_ylim()[1] < 1
    assert "losses up to 50.00" in axes.get_legend().get_texts()[-1].get_text()


# What is printed


def test_chosen_epochs_are_printed_lowest_first_with_their_losses(log, command):
    path = log(printed([*falling(17), (0.3, 0.1), (0.1, 0.2), (0.2, 0.3)], prefix="weights/b7_"))
    code, out, err = command("--log-file", path, "--choose", "2")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()[2:4]]
    assert rows == [["18", "0.1700", "0.1000", "0.2000", "b7_18"], ["17", "0.2600", "0.3000", "0.1000", "b7_17"]]
    assert "no epoch after" not in out and "derived" not in out


def test_remarks_tell_what_is_unusual(log, command):
    out = command("--log-file", log(printed([(0.5, 0.4), ("nan", 0.2), (0.3, 0.2), (0.3, "inf")])))[1]
    assert "no epoch after 16 to choose from: chosen from all epochs" in out
    assert "nan or inf: epochs 1, 3\n" in out
    assert "names are derived" in out


def test_models_of_a_published_log_are_derived_and_counted_where_missing(log, command, tmp_path):
    (tmp_path / "w").mkdir()
    name = "b7_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_{}".format
    (tmp_path / "w" / name(19)).touch()
    path = log(printed(falling(20)))
    out = command("--log-file", path, "--choose", "2", "--weights-dir", tmp_path / "w")[1]
    assert models_of(out) == (str(tmp_path / "w"), [name(19), name(18)])
    assert "1 of these files are not there" in out


def test_models_in_one_folder_make_it_the_weights_folder(log, command, tmp_path):
    folder = tmp_path / "it's mine"
    path = log(printed(falling(20), prefix=f"{folder}/a b_"))
    out = command("--log-file", path, "--choose", "2")[1]
    assert models_of(out) == (str(folder), ["a b_19", "a b_18"])


def test_models_of_several_logs_are_relative_to_the_weights_folder_or_paths(log, command, tmp_path):
    weights, other = tmp_path / "w", tmp_path / "other"
    logs = [
        log(printed([(1, 1)], prefix=f"{weights}/a_"), "a"),
        log(printed([(1, 1)], prefix=f"{weights}/sub/b_"), "b"),
        log(printed([(1, 1)], prefix=f"{other}/c_"), "c"),
        log(printed([(1, 1)], prefix="d_"), "d"),
    ]
    out = command("--log-file", *logs[:2], "--log-file", *logs[2:], "--weights-dir", weights)[1]
    assert models_of(out) == (str(weights), ["a_0", "sub/b_0", f"{other}/c_0", "d_0"])


def test_checkpoint_that_was_moved_is_found_in_the_weights_folder(log, command, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a_0").touch()
    out = command("--log-file", log(printed([(1, 1)], prefix="/gone/a_")), "--weights-dir", tmp_path / "w")[1]
    assert models_of(out) == (str(tmp_path / "w"), ["a_0"])
    assert "not there" not in out


def test_plots_among_the_logs_are_passed_over(log, command, tmp_path):
    first, second = log(printed(falling(3)), "a"), log(printed(falling(3)), "b")
    command("--log-file", first)
    code, out, _ = command("--log-file", *sorted(tmp_path.iterdir()))
    assert code == 0 and "passed over: 1 plots" in out
    assert {line.split(":")[0] for line in out.splitlines()} >= {first.name, second.name}


@pytest.mark.parametrize("options", [["--fake-weight", "nan"], ["--fake-weight", "-1"], ["--choose", "0"], []])
def test_bad_options_are_one_line(log, command, options):
    code, out, err = command(*(["--log-file", log(printed(falling(3))), *options] if options else []))
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_folder_of_several_runs_is_refused_by_naming_one(log, command, tmp_path):
    for name in ("b", "a"):
        (tmp_path / "logs" / name).mkdir(parents=True)
        (tmp_path / "logs" / name / "metrics.csv").write_text("epoch,fake_loss,real_loss\n0,0.5,0.5\n")
    code, out, err = command("--log-file", tmp_path / "logs")
    assert (code, out) == (2, "") and err.endswith(f"such as {tmp_path / 'logs' / 'a'}\n") and err.count("\n") == 1


# The screen

SCREEN = """
from pathlib import Path
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

class FigureManager(FigureManagerBase):
    @classmethod
    def pyplot_show(cls, *, block=None):
        Path("shown").touch()

class FigureCanvas(FigureCanvasAgg):
    required_interactive_framework = "headless"
    manager_class = FigureManager
"""


def run_on_a_screen(tmp_path, log, screen, display, *options):
    """Runs the command in a process of its own; returns whether a window was opened, and stderr."""
    (tmp_path / "screen.py").write_text(screen)
    environment = {key: value for key, value in os.environ.items() if "DISPLAY" not in key}
    environment |= {"PYTHONPATH": str(tmp_path), "MPLBACKEND": "module://screen"} | (
        {"DISPLAY": display} if display else {}
    )
    script = Path(plot_loss.__file__)
    argv = [sys.executable, script, "--log-file", log(printed(falling(3))), *options]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b7_111.png").exists()
    return (tmp_path / "shown").exists(), done.stderr


@pytest.mark.parametrize(
    ("display", "options", "shown"), [(":77", [], True), (":77", ["--no-show"], False), (None, [], False)]
)
@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="the screen is found by DISPLAY on other systems")
def test_window_opens_where_there_is_a_screen(tmp_path, log, display, options, shown):
    assert run_on_a_screen(tmp_path, log, SCREEN, display, *options) == (shown, "")


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="the screen is found by DISPLAY on other systems")
def test_screen_that_fails_is_no_failure(tmp_path, log):
    broken = SCREEN.replace('Path("shown").touch()', 'raise RuntimeError("went\\naway")')
    assert run_on_a_screen(tmp_path, log, broken, ":77") == (False, "not shown on screen: went away\n")
