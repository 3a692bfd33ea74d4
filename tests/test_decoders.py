"""Reading in other processes: the same frames, and files that hang, crash or eat memory cost themselves alone."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.limits import Limits
from faces.decoders import Decoders
from faces.video import VideoError, evenly_spaced, read_evenly


def eight(frame_count: int) -> list[int]:
    return evenly_spaced(frame_count, 8)


@pytest.fixture(scope="module")
def decoders():
    with Decoders(Limits(), ready=1) as decoders:
        yield decoders


def process_of(decoders: Decoders) -> subprocess.Popen:
    """The process that is reading, where there is one."""
    (decoder,) = decoders._busy
    return decoder.process


def test_frames_are_those_read_here(decoders, video):
    there, here = decoders.read(video, eight), read_evenly(video, 8)
    assert (there.indices, there.warnings, there.num_frames, there.rate) == (here.indices, [], 48, here.rate)
    assert all(np.array_equal(a, b) for a, b in zip(there.images, here.images, strict=True))


def test_frames_stay_as_they_are_while_other_videos_are_read(decoders, sample_root):
    paths = sorted(sample_root.rglob("*.mp4"))
    kept = [decoders.read(path, eight).images[3] for path in paths]
    assert all(np.array_equal(image, read_evenly(path, 8).images[3]) for path, image in zip(paths, kept, strict=True))


def test_memory_is_used_again_when_nobody_looks_at_its_frames(video):
    with Decoders(Limits()) as decoders:
        places = {decoders.read(video, eight).images[0].ctypes.data for _ in range(4)}
    assert len(places) == 1


def test_frames_of_several_sizes_in_one_video_are_told_apart(decoders, tmp_path):
    from tests.test_video import ffmpeg

    for name, size in (("a", "64x48"), ("b", "32x16")):
        source = ["-f", "lavfi", "-i", f"testsrc=size={size}:duration=0.2:rate=25"]
        ffmpeg(*source, "-c:v", "mpeg1video", "-f", "mpeg1video", tmp_path / name)
    path = tmp_path / "both.mpg.mp4"
    path.write_bytes((tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes())
    there, here = decoders.read(path, eight), read_evenly(path, 8)
    assert len({image.shape for image in here.images}) == 2
    assert all(np.array_equal(a, b) for a, b in zip(there.images, here.images, strict=True))


def test_images_are_read_too(decoders, tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((30, 20, 3), (0, 0, 255), np.uint8))
    frames = decoders.read(tmp_path / "red.png", eight)
    assert frames.indices == [0] and np.array_equal(frames.images[0], np.full((30, 20, 3), (255, 0, 0)))


@pytest.mark.parametrize("name", ["new\nline.mp4", "quote'\".mp4", os.fsdecode(b"\xff\xfe.mp4"), "影片 \u202e.mp4"])
def test_any_name_can_be_read(decoders, video, tmp_path, name):
    (tmp_path / name).write_bytes(video.read_bytes())
    assert len(decoders.read(tmp_path / name, eight).images) == 8


def test_reasons_are_those_given_here(decoders, tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    for name, reason in {"empty.mp4": "is empty", "empty.png": "is empty", "pipe.png": "not a regular file"}.items():
        with pytest.raises(VideoError, match=reason):
            decoders.read(tmp_path / name, eight)


def test_stream_of_an_unknown_kind_is_refused(decoders, video, tmp_path):
    (tmp_path / "odd.mp4").write_bytes(video.read_bytes().replace(b"avc1\0", b"zzzz\0"))
    with pytest.raises(VideoError, match="has a video stream of an unknown kind"):
        decoders.read(tmp_path / "odd.mp4", eight)


def test_every_video_may_take_as_much_as_the_first(video, tmp_path):
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((6000, 6000, 3), np.uint8))  # 108 MB, twice while it is turned
    with Decoders(Limits(gigabytes=0.3)) as decoders:
        process = [decoders.read(tmp_path / "large.png", eight) and decoders._idle[0].process.pid for _ in range(4)]
    assert len(set(process)) == 1


def test_several_threads_read_at_once(decoders, sample_root):
    paths = sorted(sample_root.rglob("*.mp4")) * 3
    with ThreadPoolExecutor(3) as threads:
        for path, frames in zip(paths, threads.map(lambda path: decoders.read(path, eight), paths), strict=True):
            assert np.array_equal(frames.images[5], read_evenly(path, 8).images[5])


def test_video_that_takes_too_long_is_given_up(video):
    with (
        Decoders(Limits(seconds=0.001)) as decoders,
        pytest.raises(VideoError, match="took longer than --video-timeout"),
    ):
        decoders.read(video, eight)


def test_frames_beyond_the_memory_limit_are_refused_before_they_are_there(video):
    with Decoders(Limits(gigabytes=0.03)) as decoders:
        with pytest.raises(VideoError, match=r"48 frames of 640x360 take 0\.031 GB, over 0\.03"):
            decoders.read(video, range)
        assert len(decoders.read(video, lambda count: [0, 40]).images) == 2


def test_file_that_makes_its_reader_take_more_memory_is_refused_and_the_next_is_read(video, tmp_path):
    cv2.imwrite(str(tmp_path / "bomb.png"), np.zeros((8000, 8000, 3), np.uint8))
    with Decoders(Limits(gigabytes=0.1)) as decoders:
        with pytest.raises(VideoError, match=r"more than 0\.1 GB of memory"):
            decoders.read(tmp_path / "bomb.png", eight)
        assert not decoders._idle  # that process keeps what it has got
        assert len(decoders.read(video, eight).images) == 8


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGKILL, "was killed"), (signal.SIGSEGV, "crashed .SIGSEGV"), (signal.SIGABRT, "ABRT")],
)
def test_crash_costs_its_video_alone(video, number, reason):
    with Decoders(Limits(), ready=1) as decoders:

        def crash(frame_count):
            process_of(decoders).send_signal(number)
            process_of(decoders).wait()
            return [0]

        with pytest.raises(VideoError, match=reason):
            decoders.read(video, crash)
        assert len(decoders.read(video, eight).images) == 8


def test_process_that_has_ended_in_between_costs_nothing(video):
    with Decoders(Limits(), ready=1) as decoders:
        decoders._idle[0].process.kill()
        decoders._idle[0].process.wait()
        assert len(decoders.read(video, eight).images) == 8


def test_error_in_the_choice_of_frames_is_the_callers(video):
    with Decoders(Limits()) as decoders:
        with pytest.raises(ZeroDivisionError):
            decoders.read(video, lambda count: [count // 0])
        assert len(decoders.read(video, eight).images) == 8


def test_processes_are_gone_when_the_block_ends(video):
    with Decoders(Limits(), ready=2) as decoders:
        decoders.read(video, eight)
        processes = [decoder.process for decoder in decoders._idle]
    assert len(processes) == 2 and all(process.returncode is not None for process in processes)
    with pytest.raises(VideoError, match="the run has ended"):
        decoders.read(video, eight)


def test_processes_end_with_a_killed_parent(repository):
    code = (
        "from common.limits import Limits; from faces.decoders import Decoders; import signal;"
        "d = Decoders(Limits(), ready=2); print(*(i.process.pid for i in d._idle), flush=True); signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=repository, stdout=subprocess.PIPE, text=True)
    pids = parent.stdout.readline().split()
    parent.kill()
    parent.communicate()
    assert len(pids) == 2
    for pid in pids:
        while Path("/proc", pid).exists() and "\nState:\tZ" not in Path("/proc", pid, "status").read_text():
            pass  # a process that lived on would keep the test here
