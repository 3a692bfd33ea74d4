"""H.264 as videos have it, over a single crop: the crop becomes a predicted frame of a tiny video."""

from fractions import Fraction

import av
import cv2
import numpy as np

CRF = (20, 42)
PRESET = "veryfast"
FRAMES_BEFORE = 2
MOTION = 4  # pixels between successive frames, at most
MACROBLOCK = 16
VIDEO_RANGE = np.rint((np.arange(256) - 128) * 224 / 255 + 128).astype(np.uint8)  # of chroma


def compress_as_video(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop (h, w, 3) uint8 RGB after H.264 at a rate factor drawn evenly from 20 to 42, of the same shape.

    Where the macroblocks lie, and how the face moves before the crop's frame, is drawn as well.
    """
    crf = int(rng.integers(CRF[0], CRF[1] + 1))
    phase = rng.integers(MACROBLOCK, size=2)
    motion = rng.integers(-MOTION, MOTION + 1, size=(FRAMES_BEFORE, 2))
    return as_predicted_frame(image, crf, phase, motion)


def as_predicted_frame(image: np.ndarray, crf: int, phase: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The crop (h, w, 3) uint8 RGB as the last of a few frames of H.264, decoded.

    `phase` (2,) are the rows and columns, 0 to 15, by which the crop misses the grid of macroblocks; `motion` (n, 2)
    what each of the n frames before it moves down and right until the next, pixels.
    """
    height, width = image.shape[:2]
    top, left = (int(offset) for offset in phase)
    bottom, right = (top + height) % 2, (left + width) % 2  # halved chroma needs even sides
    frame = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REPLICATE)
    # A frame before is the crop moved back by all that is still to come.
    offsets = [*-np.cumsum(np.reshape(motion, (-1, 2))[::-1], axis=0)[::-1], (0, 0)]
    decoded = _decoded_last([_moved(frame, int(down), int(across)) for down, across in offsets], crf)
    return np.ascontiguousarray(decoded[top : top + height, left : left + width])


def _moved(frame: np.ndarray, down: int, across: int) -> np.ndarray:
    if not down and not across:
        return frame
    move = np.float32([[1, 0, across], [0, 1, down]])
    return cv2.warpAffine(frame, move, frame.shape[1::-1], flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def _decoded_last(frames: list[np.ndarray], crf: int) -> np.ndarray:
    """The last of the frames (h, w, 3) uint8 RGB, even sides, as a decoder gives it."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames[0].shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.thread_count = "yuv420p", Fraction(1, 25), 1
    # Without it x264 looks tens of frames ahead, and the last frame could become one that nothing is predicted from.
    encoder.options = {"crf": str(crf), "preset": PRESET, "tune": "zerolatency"}
    packets = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(_as_yuv420(frame), format="yuv420p")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoder.extradata = encoder.extradata
    decoded = [picture for packet in packets for picture in decoder.decode(packet)] + decoder.decode(None)
    return cv2.cvtColor(decoded[-1].to_ndarray(), cv2.COLOR_YUV2RGB_I420)


def _as_yuv420(frame: np.ndarray) -> np.ndarray:
    """RGB (h, w, 3) as planes (h * 3 / 2, w) uint8: luma, and chroma averaged over 2 x 2 pixels.

    The codec library does the same, several times slower; OpenCV alone would take the chroma of every other pixel.
    """
    height, width = frame.shape[:2]
    planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
    small = cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    _, red, blue = cv2.split(cv2.LUT(cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb), VIDEO_RANGE))
    planes[height:] = np.concatenate([blue, red]).reshape(-1, width)
    return planes
