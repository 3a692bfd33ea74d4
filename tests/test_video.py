"""Reading frames: which ones, in what form, and what broken files give."""

import shutil
import subprocess

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from faces.video import VideoError, VideoFile, evenly_spaced, read_evenly, read_frames, read_image


def ffmpeg(*arguments) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def decoded_by_opencv(path) -> list[np.ndarray]:
    """All frames, BGR, as the published solution saw them."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


@pytest.fixture(scope="module")
def streamable(video, tmp_path_factory):
    """The sample with its index in front, so that a cut-off copy still opens."""
    path = tmp_path_factory.mktemp("streamable") / "video.mp4"
    ffmpeg("-i", video, "-c", "copy", "-movflags", "+faststart", path)
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
    assert np.array_equal(frames.images[1], decoded_by_opencv(video)[15][..., ::-1])
    assert not frames.warnings


def test_trimmed_video_is_whole(video, tmp_path):
    """Trimmed without encoding again, an MP4 keeps the frames before the cut, and tells not to show them."""
    ffmpeg("-ss", "0.7", "-i", video, "-t", "0.5", "-c", "copy", tmp_path / "trimmed.mp4")
    frames = read_evenly(tmp_path / "trimmed.mp4", 4)
    with VideoFile(tmp_path / "trimmed.mp4") as file:
        assert 0 < file.announced == file.frame_count < len(decoded_by_opencv(video)) - 10
    assert len(frames.images) == 4 and not frames.warnings


FORMATS = {
    "b-frames.mp4": ("-c:v", "libx264", "-bf", "3", "-b_strategy", "0"),
    "no b-frames.mp4": ("-c:v", "libx264", "-bf", "0"),
    "ten bit.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p10le"),
    "h265.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "4"),
    "h264.avi": ("-c:v", "libx264", "-bf", "3"),
    "h264.mkv": ("-c:v", "libx264", "-bf", "3"),
    "stream.mov": ("-c:v", "libx264", "-f", "mpegts"),
    "bare h264.mp4": ("-c:v", "libx264", "-bf", "3", "-f", "h264"),
    "with alpha.mov": ("-c:v", "qtrle", "-pix_fmt", "argb"),
    "variable rate.mp4": ("-c:v", "libx264", "-vf", "select=not(mod(n\\,3))+lt(n\\,20)", "-fps_mode", "vfr"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_frames_are_those_opencv_decodes_in_every_format(video, tmp_path, name):
    path = tmp_path / name
    ffmpeg("-i", video, *FORMATS[name], path)
    expected = decoded_by_opencv(path)
    with VideoFile(path) as file:
        assert file.frame_count == len(expected) >= 20
        frames = dict(file.frames(range(1, len(expected), 6)))
    assert list(frames) == list(range(1, len(expected), 6))
    assert all(np.array_equal(frame, expected[index]) for index, frame in frames.items())
    with VideoFile(path, rgb=True) as file:
        assert all(np.array_equal(image, frames[index][..., ::-1]) for index, image in file.frames(frames))


def test_frames_in_rgb_are_the_same_to_the_last_bit(video, tmp_path):
    sizes = [("mpeg4", (64, 47)), ("mpeg4", (63, 46)), ("mpeg4", (18, 17)), ("libx264", (64, 46))]
    for codec, (width, height) in sizes:
        path = tmp_path / f"{codec} {width}x{height}.mkv"
        ffmpeg("-i", video, "-vf", f"scale={width}:{height}", "-c:v", codec, "-pix_fmt", "yuv420p", path)
        expected = decoded_by_opencv(path)
        with VideoFile(path, rgb=True) as file:
            for index, frame in file.frames([0, 20, 40]):
                assert frame.shape == (height, width, 3) and frame.flags.c_contiguous
                assert np.array_equal(frame, expected[index][..., ::-1])


def test_frames_of_real_videos_are_those_opencv_decodes(samples):
    for path in sorted(samples.glob("parity/*/*.mp4")):
        expected = decoded_by_opencv(path)
        with VideoFile(path) as file:
            assert file.frame_count == len(expected)
            count = 0
            for index, frame in file.frames(range(0, file.frame_count, 10)):
                assert np.array_equal(frame, expected[index])
                count += 1
        assert count == (len(expected) + 9) // 10


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_videos_are_set_upright(video, tmp_path, degrees):
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", degrees, "-i", video, "-c", "copy", path)
    frames = read_frames(path, lambda count: [5]).images
    assert np.array_equal(frames[0], decoded_by_opencv(path)[5][..., ::-1])
    assert frames[0].shape == ((360, 640, 3) if degrees == 180 else (640, 360, 3))


def test_short_video_gives_all_its_frames(video):
    assert read_evenly(video, 500).indices == list(range(48))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_video_that_breaks_off_gives_what_decodes_and_says_so(streamable, tmp_path, share):
    cut = tmp_path / "cut.mp4"
    content = streamable.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    frames = read_evenly(cut, 10)
    assert len(frames.images) >= 4 and frames.indices[-1] < 47
    assert any("of 48 frames are in the file" in warning for warning in frames.warnings)


def test_matroska_that_breaks_off_says_so_by_its_length(video, tmp_path):
    ffmpeg("-i", video, "-c", "copy", tmp_path / "whole.mkv")
    assert read_evenly(tmp_path / "whole.mkv", 10).warnings == []
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    frames = read_evenly(tmp_path / "cut.mkv", 10)
    assert any("breaks off: " in warning and "of about 48 frames" in warning for warning in frames.warnings)


def test_damage_in_the_middle_costs_few_frames(streamable, tmp_path):
    path = tmp_path / "damaged.mp4"
    content = bytearray(streamable.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    assert len(read_evenly(path, 24).images) >= 12


def test_frames_beyond_the_end_are_left_out_with_a_warning(video):
    frames = read_frames(video, lambda count: [0, 10, 4800])
    assert frames.indices == [0, 10]
    assert frames.warnings == ["only 2 of 3 frames could be decoded"]


@pytest.mark.parametrize(
    "playlist",
    ["ffconcat version 1.0\nfile 004.mp4\n", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n004.mp4\n#EXT-X-ENDLIST\n"],
    ids=["concat", "hls"],
)
def test_playlists_do_not_open_other_files(video, tmp_path, monkeypatch, playlist):
    shutil.copy(video, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.mp4").write_text(playlist)
    with pytest.raises(VideoError):
        read_evenly(tmp_path / "list.mp4", 4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"this is not a video" * 100, "not a readable video")],
    ids=["zero bytes", "text"],
)
def test_files_that_are_no_videos_are_refused_with_a_reason(tmp_path, content, reason):
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=reason):
        read_evenly(path, 32)


def test_audio_only_is_refused(tmp_path):
    path = tmp_path / "audio.mp4"
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
    ffmpeg(*tone, path)
    with pytest.raises(VideoError, match="no video stream"):
        read_evenly(path, 32)


def test_music_with_a_cover_is_no_video(video, tmp_path):
    cover, tone = tmp_path / "cover.png", ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
    ffmpeg("-i", video, "-frames:v", "1", cover)
    path = tmp_path / "music.mp4"
    ffmpeg(*tone, "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic", path)
    with pytest.raises(VideoError, match="no video stream"):
        read_evenly(path, 32)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(VideoError, match="No such file"):
        read_evenly(tmp_path / "nothing.mp4", 32)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(VideoError, match="not a regular file"):
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
    path = tmp_path / "live.mkv"
    path.write_bytes(ffmpeg("-i", video, "-c", "copy", "-f", "matroska", "-"))
    frames = read_evenly(path, 32)
    assert frames.indices[-1] == 47 and not frames.warnings
