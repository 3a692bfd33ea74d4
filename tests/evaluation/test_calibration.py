"""Temperatures: what they do to probabilities, how they are fitted, and the file they are kept in."""

import json
import subprocess
import sys

import numpy as np
import pytest

from common.errors import UserError
from evaluation.calibration import CLIP, HIGHEST, LOWEST, Calibration, fit_temperature


def test_temperature_divides_the_logit():
    # logit 0.9 = ln 9; half of it is ln 3, the logit of 3 / (3 + 1)
    assert Calibration(2.0).apply(0.9) == pytest.approx(0.75)
    assert Calibration(2.0).apply(0.1) == pytest.approx(0.25)
    assert Calibration(0.5).apply(0.75) == pytest.approx(0.9)
    assert Calibration(1.0).apply(0.3) == pytest.approx(0.3)


@pytest.mark.parametrize("temperature", [LOWEST, 0.7, 3.0, HIGHEST])
def test_one_half_stays_and_order_and_range_are_kept(temperature):
    calibration = Calibration(temperature)
    assert calibration.apply(0.5) == 0.5
    values = calibration.apply(np.linspace(0, 1, 101))
    assert values.shape == (101,) and (np.diff(values) >= 0).all() and values[0] >= 0 and values[-1] <= 1


def test_certainty_is_clipped_before_it_is_divided():
    # sqrt((1 - CLIP) / CLIP) = 1000, nearly: odds of a thousand to one
    assert Calibration(2.0).apply(1.0) == pytest.approx(1000 / 1001, abs=1e-8) == 1 - Calibration(2.0).apply(0.0)
    assert CLIP == 1e-6


def test_number_gives_a_float_and_array_its_shape():
    assert type(Calibration(2.0).apply(np.float32(0.3))) is float
    assert Calibration(2.0).apply([[0.9, 0.1]]) == pytest.approx(np.array([[0.75, 0.25]]))


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_an_error(value):
    with pytest.raises(ValueError):
        Calibration(2.0).apply(value)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_known_temperature_is_recovered(temperature):
    """Of the videos with calibrated probability q, the share q is fake; scores are q at another temperature."""
    q = np.array([0.1, 0.25, 0.4, 0.8, 0.95])
    counts = (q * 100).round().astype(int)
    fake = np.concatenate([np.arange(100) < count for count in counts])
    odds = (q / (1 - q)) ** temperature
    scores = np.repeat(odds / (1 + odds), 100)
    calibration = fit_temperature(fake, scores)
    assert calibration.temperature == pytest.approx(temperature, rel=1e-4)
    assert (calibration.real, calibration.fake, calibration.at_limit) == (250, 250, False)
    assert calibration.apply(scores) == pytest.approx(np.repeat(q, 100), abs=1e-4)


@pytest.mark.parametrize("scores", [[0.9, 0.1], [0.1, 0.9]])
def test_fit_without_an_answer_says_that_it_is_at_its_limit(scores):
    assert fit_temperature(np.array([True, False]), np.array(scores)).at_limit


@pytest.mark.parametrize("fake", [True, False])
def test_one_class_is_refused(fake):
    with pytest.raises(UserError, match=f"all {'fake' if fake else 'real'}"):
        fit_temperature(np.array([fake, fake]), np.array([0.4, 0.6]))


def test_file_gives_back_what_was_saved(tmp_path):
    path = tmp_path / "new" / "c.json"
    Calibration(1.2345678901234567, 3, 4).save(path)
    assert Calibration.load(path) == Calibration(1.2345678901234567, 3, 4)
    assert json.loads(path.read_text())["clip"] == CLIP
    Calibration(2.0, clip=0.1).save(path)
    assert Calibration.load(path).apply(1.0) == pytest.approx(0.75)  # the clip makes it 0.9
    path.write_text('{"method": "temperature", "temperature": 2}')
    assert Calibration.load(path) == Calibration(2.0)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"temperature": 2}',
        '{"method": "platt", "temperature": 2}',
        *(json.dumps({"method": "temperature", "temperature": t}) for t in (0, -1, "2", None, True)),
        '{"method": "temperature", "temperature": NaN}',
        '{"method": "temperature", "temperature": Infinity}',
        '{"method": "temperature", "temperature": 1' + "0" * 400 + "}",
        *(json.dumps({"method": "temperature", "temperature": 2, "clip": clip}) for clip in (0, 0.5, "x", None)),
        "filename,label\na.mp4,1\n",
        "\xff",
    ],
)
def test_what_is_no_calibration_is_refused_by_name(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"c\.json: is no calibration as evaluate.py --calibrate writes it$"):
        Calibration.load(path)
    with pytest.raises(UserError, match="none"):
        Calibration.load(tmp_path / "none")


def test_applying_a_calibration_loads_no_heavy_library(repository):
    code = "import sys, evaluation.calibration as c; c.Calibration(2.0).apply(0.3); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert not {"torch", "scipy", "sklearn", "matplotlib"} & set(done.stdout.split())
