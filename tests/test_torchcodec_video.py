"""Decoding by torchcodec: the frames are those of the ordinary reader, damaged files and refusals included.

Tested on the CPU, by the system's FFmpeg; on a GPU the same class is told another device.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.limits import Limits
from faces.decoders import Decoders
from faces.torchcodec_video import TorchcodecFile, video_opener
from faces.video import VideoError, VideoFile, evenly_spaced, read_frames
from predict_folder import predict_folder
from preprocessing import detect_original_faces, extract_clips, extract_crops, extract_images
from tests.test_video import FORMATS, ffmpeg

# Gray levels by which another FFmpeg's conversion to RGB may differ: on average over a frame, and in any pixel.
MEAN, LARGEST = 0.1, 2
TEN_BIT = {"mean": 2, "largest": 20}
# The same for NVDEC, which converts colours its own way: a guess, since none has been tried.
MEAN_ON_GPU = 3


def why_not() -> str | None:
    try:
        video_opener("torchcodec")
    except UserError as error:
        return str(error)


needs_torchcodec = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def both(path, choose=lambda count: range(0, count, 7), **options):
    """What torchcodec and the ordinary reader give."""
    return read_frames(path, choose, open_video=video_opener("torchcodec", **options)), read_frames(path, choose)


def assert_same(found, expected, mean=MEAN, largest=LARGEST):
    assert found.indices == expected.indices and found.warnings == expected.warnings
    assert (found.num_frames, found.rate) == (expected.num_frames, expected.rate)
    for image, other in zip(found.images, expected.images, strict=True):
        assert image.shape == other.shape and image.dtype == np.uint8
        difference = np.abs(image.astype(int) - other)
        assert difference.mean() <= mean and difference.max() <= largest


@pytest.fixture
def alone(monkeypatch):
    """Nothing may be left to the ordinary reader."""
    ordinary = VideoFile.frames

    def refuse(self, indices):
        if isinstance(self, TorchcodecFile):
            assert not indices, "torchcodec did not decode it"
        return ordinary(self, indices)

    monkeypatch.setattr(VideoFile, "frames", refuse)


@pytest.fixture(scope="module")
def streamable(video, tmp_path_factory):
    path = tmp_path_factory.mktemp("streamable") / "video.mp4"
    ffmpeg("-i", video, "-c", "copy", "-movflags", "+faststart", path)
    return path


@needs_torchcodec
def test_real_videos_give_the_same_frames(samples, alone):
    for path in [*sorted(samples.glob("parity/*/*.mp4")), *samples.glob("test_videos/*.mp4")]:
        assert_same(*both(path, lambda count: evenly_spaced(count, 8)))


@needs_torchcodec
@pytest.mark.parametrize("name", [name for name in FORMATS if name.endswith((".mp4", ".mov"))])
def test_frames_are_the_same_in_every_format(video, tmp_path, name, request):
    ffmpeg("-i", video, *FORMATS[name], tmp_path / name)
    if name not in ("bare h264.mp4", "stream.mov"):  # which are called so only
        request.getfixturevalue("alone")
    assert_same(*both(tmp_path / name), **(TEN_BIT if name == "ten bit.mp4" else {}))


@needs_torchcodec
@pytest.mark.parametrize("name", ["vp9.webm", "h264.avi", "h264.mkv"])
def test_files_other_than_mp4_are_read_as_ever(video, tmp_path, monkeypatch, name):
    ffmpeg("-i", video, *FORMATS[name], tmp_path / name)
    monkeypatch.setattr("torchcodec.decoders.VideoDecoder", None)
    found, expected = both(tmp_path / name)
    assert all(np.array_equal(image, other) for image, other in zip(found.images, expected.images, strict=True))


@needs_torchcodec
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_videos_are_set_upright(video, tmp_path, alone, degrees):
    ffmpeg("-display_rotation", degrees, "-i", video, "-c", "copy", tmp_path / "turned.mp4")
    assert_same(*both(tmp_path / "turned.mp4"))


@needs_torchcodec
def test_frames_cut_off_by_an_edit_list_have_no_number(video, tmp_path, alone):
    ffmpeg("-i", video, "-c:v", "libx264", "-g", 12, "-bf", 2, tmp_path / "whole.mp4")
    ffmpeg("-ss", 0.8, "-i", tmp_path / "whole.mp4", "-c", "copy", tmp_path / "trimmed.mp4")
    found, expected = both(tmp_path / "trimmed.mp4", range)
    assert len(found.images) < 48
    assert_same(found, expected)


@needs_torchcodec
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_video_that_breaks_off_gives_the_same_frames_and_warnings(streamable, tmp_path, share):
    content = streamable.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: int(len(content) * share)])
    found, expected = both(tmp_path / "cut.mp4")
    assert found.warnings
    assert_same(found, expected)


@needs_torchcodec
def test_damage_in_the_middle_costs_the_same_frames(streamable, tmp_path):
    content = bytearray(streamable.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 5] = bytes(len(content) // 5)
    (tmp_path / "damaged.mp4").write_bytes(content)
    found, expected = both(tmp_path / "damaged.mp4", range)
    assert (found.indices, found.warnings) == (expected.indices, expected.warnings) and found.warnings


@needs_torchcodec
def test_frame_that_does_not_come_is_not_replaced_by_the_next(video):
    found = []
    for open_video in (video_opener("torchcodec"), VideoFile):
        with open_video(video) as file:
            times = sorted(pts for pts, *_ in file._packet_times)
            missing = (times[5] + times[6]) // 2
            file._packet_times.append((missing, 1, False))
            file._index_of = {pts: index for index, pts in enumerate(sorted([*times, missing]))}
            file.frame_count += 1
            found.append(dict(file.frames(range(3, 10))))
    assert list(found[0]) == list(found[1]) == [3, 4, 5, 7, 8, 9]
    assert all(np.abs(found[0][i].astype(int) - found[1][i]).max() <= LARGEST for i in found[0])


@needs_torchcodec
def test_frames_are_bgr_unless_asked_for(video):
    with video_opener("torchcodec")(video) as file, VideoFile(video) as other:
        (_, image), (_, expected) = next(file.frames([9])), next(other.frames([9]))
    assert np.abs(image.astype(int) - expected).mean() < MEAN


@needs_torchcodec
def test_frames_beyond_the_end_are_left_out_with_a_warning(video):
    found, expected = both(video, lambda count: [0, 10, 4800])
    assert_same(found, expected)


@needs_torchcodec
@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"#EXTM3U\nfile\n", "not a readable"), (b"\0\0\0\x18ftyp", "readable")]
)
def test_files_that_are_no_videos_are_refused_with_the_same_reason(tmp_path, content, reason):
    (tmp_path / "video.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=reason):
        both(tmp_path / "video.mp4")


@needs_torchcodec
def test_decoder_processes_read_with_it_and_keep_their_limits(video, tmp_path):
    shutil.copy(video, tmp_path / "\udcff new\nline.mp4")
    with Decoders(Limits(gigabytes=0.5), ready=1, decoder="torchcodec") as decoders:
        assert_same(decoders.read(tmp_path / "\udcff new\nline.mp4", range), read_frames(video, range))
        (decoder,) = decoders._idle
        assert "libtorchcodec" in Path(f"/proc/{decoder.process.pid}/maps").read_text()
    with (
        Decoders(Limits(gigabytes=0.03), decoder="torchcodec") as decoders,
        pytest.raises(VideoError, match=r"48 frames of 640x360 take 0\.031 GB, over 0\.03"),
    ):
        decoders.read(video, range)
    with (
        Decoders(Limits(seconds=0.001), decoder="torchcodec") as decoders,
        pytest.raises(VideoError, match="took longer than --video-timeout"),
    ):
        decoders.read(video, range)


@needs_torchcodec
def test_labels_are_the_same(folder, weights, labels):
    found = predict_folder(
        folder, ["small"], weights_dir=weights, frames=6, decoder="torchcodec", device="cpu", say=lambda line: None
    )
    assert found.labels == labels


@needs_torchcodec
def test_crops_are_the_same_and_those_of_two_decoders_are_not_mixed(root):
    boxes = {str(frame): [[100.0, 50.0, 300.0, 250.0]] for frame in (0, 10, 20)}
    (root / "boxes").mkdir()
    (root / "boxes" / "004.json").write_text(json.dumps(boxes))
    command = ["--root-dir", str(root), "--workers", "1", "--device", "cpu"]
    crops = []
    for decoder in ("pyav", "torchcodec"):
        assert extract_crops.main([*command, "--decoder", decoder, "--overwrite"]) == 0
        crops.append({path.name: path.read_bytes() for path in (root / "crops" / "004").iterdir()})
    assert len(crops[0]) == 3 and crops[0] == crops[1]
    with pytest.raises(UserError, match="extract_crops was run with --decoder torchcodec"):
        extract_crops.main(command)


@pytest.mark.parametrize("stage", [detect_original_faces, extract_crops, extract_images, extract_clips])
def test_every_stage_that_decodes_can_be_told_how(stage):
    assert {"--decoder", "--device"} <= stage.make_parser().flags()


def test_unknown_decoder_is_refused(folder):
    with pytest.raises(UserError, match="--decoder opencv: not one of pyav, torchcodec"):
        video_opener("opencv")
    with pytest.raises(UserError, match="decoder: 'opencv' is not one of pyav, torchcodec"):
        predict_folder(folder, decoder="opencv")


def test_without_torchcodec_the_reason_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(UserError, match=r"is not installed \(pip install torchcodec\)"):
        video_opener("torchcodec")


@needs_torchcodec
def test_without_ffmpeg_the_reason_is_one_line(monkeypatch):
    monkeypatch.setattr("torchcodec.ffmpeg_major_version", None)
    with pytest.raises(UserError, match="needs the shared libraries of FFmpeg"):
        video_opener("torchcodec")


@needs_torchcodec
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_gpu_without_nvdec_is_refused_rather_than_replaced_in_silence():
    with pytest.raises(UserError, match=r"libnvcuvid\.so\.1"):
        video_opener("torchcodec", "cuda:0")


@needs_torchcodec
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nvdec_gives_nearly_the_same_frames(sample_root, alone):
    try:
        video_opener("torchcodec", "cuda:0")
    except UserError as error:
        pytest.skip(str(error))
    for path in sorted(sample_root.rglob("*.mp4")):
        found, expected = both(path, lambda count: evenly_spaced(count, 8), device="cuda:0")
        assert found.indices == expected.indices and found.warnings == expected.warnings
        for image, other in zip(found.images, expected.images, strict=True):
            assert image.shape == other.shape
            assert np.abs(image.astype(int) - other).mean() < MEAN_ON_GPU
        with TorchcodecFile(path, device="cuda:0") as file:
            assert not file._decoder().cpu_fallback
