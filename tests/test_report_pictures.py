"""The pictures of the report: what they show, how large they become, and videos that give none."""

import base64
import shutil
from functools import partial

import cv2
import numpy as np
import pytest

from inference.details import Face
from reporting.build import write_report
from reporting.pictures import PLANS, plan_for, take_pictures
from tests import generated_details as generated
from tests.report_pages import page, written_page


@pytest.fixture
def written(tmp_path):
    """Writes a report on records, returns it as a page."""
    return partial(written_page, tmp_path / "report.html")


@pytest.fixture
def one(video, tmp_path):
    """A record of the generated video of 48 frames, and a folder with it."""
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(video, folder / "a.mp4")
    frames = list(range(0, 48, 3))
    faces = [
        {"frame": frame, "box": [260, 60, 360, 190], "score": 0.9, "track": 0, "probabilities": [0.7]}
        for frame in frames
    ]
    faces[5]["probabilities"] = [0.99]
    return make_record(frames, faces), folder


def make_record(frames, faces):
    changes = {"frames": frames, "faces": faces, "labels": {"net": 0.9}, "label": 0.9, "models": ["net"]}
    return generated.video("a.mp4", 0.9, models=["net"]) | changes


def picture(uri):
    kind, _, encoded = uri.partition(",")
    assert kind == "data:image/webp;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)


def test_faces_lie_on_one_sheet_and_frames_keep_their_shape(one, written):
    record, folder = one
    opened = written([record], videos=folder).opened("a.mp4")
    sheet = picture(opened["sheet"])
    assert opened["shown"] == list(range(16))
    assert sheet.shape == (2 * opened["side"], 8 * opened["side"], 3)
    first = picture(opened["pictures"]["0"])
    assert first.shape[1] / first.shape[0] == pytest.approx(640 / 360, rel=0.01)


def test_tile_shows_its_face(one, written):
    record, folder = one
    record["faces"][3]["box"] = [0, 150, 40, 190]
    opened = written([record], videos=folder).opened("a.mp4")
    side, sheet = opened["side"], picture(opened["sheet"]).astype(int)
    tiles = [sheet[:side, i * side : (i + 1) * side] for i in range(8)]
    near, far = np.abs(tiles[2] - tiles[4]).mean(), np.abs(tiles[2] - tiles[3]).mean()
    assert near < 25 < far
    # At the edge of the frame the square is not full.
    assert tiles[3][:, 0].mean() < 10 < tiles[3][side // 2, side // 2].mean()


@pytest.mark.parametrize("megabytes", [0.03, 0.1, 0.4])
def test_pictures_keep_to_the_size_asked_for(one, tmp_path, megabytes):
    record, folder = one
    rich = write_report([record], tmp_path / "rich.html", videos=folder).path.stat().st_size
    plain = write_report([record], tmp_path / "plain.html").path.stat().st_size
    lean = write_report([record], tmp_path / "lean.html", videos=folder, max_megabytes=megabytes).path.stat().st_size
    # The page itself, style and scripts, comes on top.
    assert plain < lean <= plain + 1.02e6 * megabytes
    assert lean < rich or megabytes == 0.4


def test_quality_is_given_up_before_pictures(tmp_path):
    noise = np.clip(128 + 60 * np.random.default_rng(0).normal(size=(360, 640, 3)), 0, 255)
    cv2.imwrite(str(tmp_path / "a.png"), noise.astype(np.uint8))
    faces, size = [Face(frame=0, box=(100, 100, 200, 200))], (640, 360)
    rich, lean = (
        take_pictures(tmp_path / "a.png", faces, 0, [0], size, budget) for budget in (1e6, PLANS[5].estimated_bytes)
    )
    lengths = [len(pictures.sheet) * 3 / 4 + len(pictures.frames[0]) * 3 / 4 for pictures in (rich, lean)]
    assert lengths[1] <= PLANS[5].estimated_bytes + 100 < lengths[0]


def test_most_telling_face_is_kept_when_few_are(one, tmp_path):
    record, folder = one
    lean = page(write_report([record], tmp_path / "r.html", videos=folder, max_megabytes=0.01).path)
    assert 5 in lean.opened("a.mp4")["shown"] and len(lean.opened("a.mp4")["shown"]) < 16
    shown = lean.opened("a.mp4")["shown"]
    assert shown[lean.rows["a.mp4"]["face"]] == 5


def test_plans_grow_with_the_budget():
    assert [plan_for(plan.estimated_bytes) for plan in PLANS] == list(PLANS)
    assert plan_for(0) == PLANS[-1]
    # A thousand videos by one network: thumbnails of several faces, and a frame.
    assert plan_for((28e6 / 1000 - 3000) * 3 / 4).frames >= 1


def test_broken_and_missing_videos_only_lack_their_pictures(one, tmp_path):
    record, folder = one
    (folder / "cut.mp4").write_bytes((folder / "a.mp4").read_bytes()[:3000])
    (folder / "empty.mp4").touch()
    records = [record | {"filename": name} for name in ("gone.mp4", "a.mp4", "empty.mp4", "cut.mp4", "nul\0.mp4")]
    report = write_report(records, tmp_path / "r.html", videos=folder)
    assert report.without_pictures == 4 and "4 of them without pictures" in str(report)
    result = page(report.path)
    missing = {name: result.opened(name)["missing"] for name in result.rows}
    assert missing.pop("a.mp4") is None
    assert missing["gone.mp4"] == "cannot be opened: No such file or directory"
    assert missing["empty.mp4"] == "is empty (0 bytes)" and all(missing.values())


def test_video_of_another_size_is_not_taken_for_the_one_that_was_scored(one, written):
    record, folder = one
    opened = written([record | {"width": 1280, "height": 720}], videos=folder).opened("a.mp4")
    assert opened["sheet"] is None and "is not the file that was scored" in opened["missing"]


def test_image_has_pictures_too(one, tmp_path, written):
    record, folder = one
    cv2.imwrite(str(folder / "a.png"), np.full((360, 640, 3), 90, np.uint8))
    record |= {"filename": "a.png", "frames": [0], "faces": record["faces"][:1]}
    assert len(written([record], videos=folder).opened("a.png")["pictures"]) == 1


def test_dark_faces_are_a_warning(one, written):
    record, folder = one
    assert "dark frames" not in written([record], videos=folder).rows["a.mp4"]["kinds"]
    cv2.imwrite(str(folder / "night.png"), np.full((360, 640, 3), 20, np.uint8))
    record |= {"filename": "night.png", "frames": [0], "faces": record["faces"][:1]}
    row = written([record], videos=folder).rows["night.png"]
    assert row["kinds"] == ["dark frames"] and row["warnings"] == [
        "dark frames: the faces' mean brightness is 20 of 255"
    ]
