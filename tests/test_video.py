"""Reading frames: which ones, in what form, and what broken files give."""

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from faces.video import VideoError, count_frames, evenly_spaced, read_at, read_evenly, read_image

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


@pytest.fixture(scope="module")
def streamable(video, tmp_path_factory):
    """The sample with its index in front, so that a cut-off copy still opens."""
    import subprocess

    path = tmp_path_factory.mktemp("streamable") / "video.mp4"
    subprocess.run(
        [FFMPEG, "-v", "error", "-i", str(video), "-c", "copy", "-movflags", "+faststart", str(path)], check=True
    )
    return path


def test_positions_are_truncated_and_repeats_taken_once():
    assert evenly_spaced(300, 32)[:5] == [0, 9, 19, 28, 38]
    assert evenly_spaced(300, 32)[-1] == 299 and len(evenly_spaced(300, 32)) == 32
    assert evenly_spaced(5, 32) == [0, 1, 2, 3, 4]
    assert evenly_spaced(1, 32) == [0]


def test_frames_are_rgb_and_in_order(video):
    frames = read_evenly(video, 4)
    assert frames.indices == [0, 15, 31, 47]
    assert all(image.shape == (360, 640, 3) and image.dtype == np.uint8 for image in frames.images)
    capture = cv2.VideoCapture(str(video))
    assert np.array_equal(frames.images[0], capture.read()[1][..., ::-1])
    assert not frames.warnings


def test_frames_read_together_are_those_read_alone(video):
    together = read_at(video, [3, 17, 40])
    for index, image in zip(together.indices, together.images, strict=True):
        assert np.array_equal(read_at(video, [index]).images[0], image)


def test_short_video_gives_all_its_frames(video):
    assert read_evenly(video, 500).indices == list(range(count_frames(video)))


def test_video_that_breaks_off_gives_what_decodes_and_says_so(streamable, tmp_path):
    cut = tmp_path / "cut.mp4"
    content = streamable.read_bytes()
    cut.write_bytes(content[: len(content) * 6 // 10])
    frames = read_evenly(cut, 32)
    assert 3 < len(frames.images) < 32
    assert frames.warnings == [f"only {len(frames.images)} of 32 frames could be decoded"]


def test_frames_beyond_the_end_are_left_out(video):
    frames = read_at(video, [0, 10, 4800])
    assert frames.indices == [0, 10] and frames.warnings


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"this is not a video" * 100, "no readable video stream")],
    ids=["zero bytes", "text"],
)
def test_files_that_are_no_videos_are_refused_with_a_reason(tmp_path, content, reason):
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=reason):
        read_evenly(path, 32)


def test_audio_only_is_refused(tmp_path):
    import subprocess

    path = tmp_path / "audio.mp4"
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
    subprocess.run([FFMPEG, "-v", "error", *tone, str(path)], check=True)
    with pytest.raises(VideoError, match="no readable video stream"):
        read_evenly(path, 32)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(VideoError, match="No such file"):
        read_evenly(tmp_path / "nothing.mp4", 32)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(VideoError, match="irectory"):
        read_evenly(tmp_path / "folder.mp4", 32)


@pytest.mark.parametrize(
    "name", ["with space.mp4", "quote'\".mp4", "ünï çödé 影片.mp4", "new\nline.mp4", "http:x%04d.mp4"]
)
def test_any_name_can_be_read(video, tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)  # a bare name, so that nothing but the name itself is in the path
    assert len(read_evenly(name, 3).images) == 3


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_image_is_a_video_of_one_frame(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    red = np.zeros((40, 50, 3), dtype=np.uint8)
    red[..., 2] = 250
    cv2.imwrite(str(path), red)
    frames = read_evenly(path, 32)
    assert frames.indices == [0]
    assert frames.images[0].shape == (40, 50, 3)
    assert np.abs(frames.images[0].mean(axis=(0, 1)) - [250, 0, 0]).max() < 4


def test_broken_image_is_refused(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG nothing more")
    with pytest.raises(VideoError, match="not a readable image"):
        read_image(path)


def test_container_without_a_frame_count_is_counted(video, tmp_path):
    """A Matroska stream written to a pipe announces no length."""
    import subprocess

    path = tmp_path / "live.mkv"
    piped = subprocess.run(
        [FFMPEG, "-v", "error", "-i", str(video), "-c", "copy", "-f", "matroska", "-"], check=True, capture_output=True
    )
    path.write_bytes(piped.stdout)
    assert count_frames(path) == 48
    assert read_evenly(path, 32).indices[-1] == 47
