"""Ways to damage the bytes of a video: `BYTE_MUTATIONS` maps a name to a function (bytes, random) -> bytes.

Some know nothing of the format; some know where MP4 keeps sizes, counts and times, and lie there.
"""

import random
import re
import struct
from collections.abc import Callable, Iterator

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"stsd", b"avc1", b"dinf")
# What stands in a container before its children.
PREAMBLES = {b"stsd": 8, b"avc1": 78}
EXTREMES = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000000, 0x00FFFFFF)
MAGICS = (
    b"RIFF\xff\xff\xff\x7fAVI LIST",
    b"\x1aE\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff",
    b"OggS\x00\x02",
    b"GIF89a\xff\xff\xff\xff",
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff",
    b"\xff\xd8\xff\xe0\x00\x10JFIF",
    b"FLV\x01\x05\x00\x00\x00\x09",
    b"\x00\x00\x01\xba\x44\x00",
    b"\x47\x40\x00\x10\x00",
    b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n",
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
    b"DKIF\x00\x00\x20\x00VP90\xff\xff\xff\xff",
    b"YUV4MPEG2 W99999 H99999 F1:1\nFRAME\n",
    b"MZ\x90\x00",
    b"%PDF-1.7\n",
    b"PK\x03\x04",
    b"\x00" * 32,
)
Box = tuple[bytes, int, int]  # kind, where its content begins, where it ends
Random = random.Random


def boxes(content: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """All boxes of an MP4 file, parents before their children."""
    end = len(content) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, start)
        stop = end if size == 0 else start + size
        if not start + 8 <= stop <= end:
            return
        yield kind, start + 8, stop
        if kind in CONTAINERS:
            yield from boxes(content, start + 8 + PREAMBLES.get(kind, 0), stop)
        start = stop


def _span(content: bytes, kind: bytes) -> tuple[int, int]:
    return next(((start, end) for found, start, end in boxes(content) if found == kind), (0, len(content)))


def _flip(content: bytes, rng: Random, start: int, end: int) -> bytes:
    """Between one bit and one in a hundred bytes."""
    damaged, count = bytearray(content), max(1, int((end - start) * 10 ** rng.uniform(-6, -2)))
    for _ in range(count):
        damaged[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def flip_anywhere(content: bytes, rng: Random) -> bytes:
    return _flip(content, rng, 0, len(content))


def flip_header(content: bytes, rng: Random) -> bytes:
    return _flip(content, rng, *_span(content, b"moov"))


def flip_pictures(content: bytes, rng: Random) -> bytes:
    return _flip(content, rng, *_span(content, b"mdat"))


def cut_end(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(1, len(content))]


def cut_front(content: bytes, rng: Random) -> bytes:
    return content[rng.randrange(1, len(content)) :]


def cut_middle(content: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, len(content)) :]


def zero_block(content: bytes, rng: Random) -> bytes:
    start, length = rng.randrange(len(content)), rng.randrange(1, 100_000)
    return content[:start] + bytes(min(length, len(content) - start)) + content[start + length :]


def noise_block(content: bytes, rng: Random) -> bytes:
    start, length = rng.randrange(len(content)), rng.randrange(1, 20_000)
    return content[:start] + rng.randbytes(min(length, len(content) - start)) + content[start + length :]


def swap_halves(content: bytes, rng: Random) -> bytes:
    cut = rng.randrange(1, len(content))
    return content[cut:] + content[:cut]


def twice(content: bytes, rng: Random) -> bytes:
    return content + content


def trailing_noise(content: bytes, rng: Random) -> bytes:
    return content + rng.randbytes(rng.randrange(1, 50_000))


def wrong_magic(content: bytes, rng: Random) -> bytes:
    magic = rng.choice(MAGICS)
    return magic + content[rng.choice((0, len(magic))) :]


def lying_box_size(content: bytes, rng: Random) -> bytes:
    start = rng.choice(list(boxes(content)))[1] - 8
    return content[:start] + struct.pack(">I", rng.choice(EXTREMES)) + content[start + 4 :]


def lying_word(content: bytes, rng: Random) -> bytes:
    """Some numbers of the header become extreme ones."""
    damaged = bytearray(content)
    inner = [box for box in boxes(content) if box[0] not in (*CONTAINERS, b"mdat", b"free") and box[2] - box[1] >= 4]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _, start, end = rng.choice(inner)
        # The first words of a table are its counts, and matter most.
        place = start + 4 * rng.randrange(min((end - start) // 4, rng.choice((4, 8, 1000))))
        struct.pack_into(">I", damaged, place, rng.choice((*EXTREMES, rng.getrandbits(32))))
    return bytes(damaged)


def _set_words(content: bytes, kind: bytes, words: dict[int, int]) -> bytes:
    """Words (32 bits, by their offset in bytes) of every box of a kind."""
    damaged = bytearray(content)
    for found, start, end in boxes(content):
        for offset, word in words.items() if found == kind else ():
            if start + offset + 4 <= end:
                struct.pack_into(">I", damaged, start + offset, word & 0xFFFFFFFF)
    return bytes(damaged)


def lying_frame_count(content: bytes, rng: Random) -> bytes:
    """The table of frame sizes says it has another number of entries."""
    return _set_words(content, b"stsz", {8: rng.choice((0, 1, 7, 100_000, 10_000_000, 0x7FFFFFFF, 0xFFFFFFFF))})


def tiny_frames_without_end(content: bytes, rng: Random) -> bytes:
    """Very many frames of one size, which takes no table: a small file that asks for a large index."""
    count = rng.choice((1_000_000, 30_000_000, 200_000_000, 0x7FFFFFFF))
    content = _set_words(content, b"stsz", {4: rng.choice((1, 2, 1000)), 8: count})
    content = _set_words(content, b"stts", {8: count, 12: rng.choice((0, 1, 512))})
    return _set_words(content, b"stsc", {12: rng.choice((count, 1))})


def zero_duration(content: bytes, rng: Random) -> bytes:
    content = _set_words(content, b"mvhd", {16: 0})
    content = _set_words(content, b"mdhd", {16: 0})
    return _set_words(content, b"tkhd", {20: 0}) if rng.random() < 0.5 else _set_words(content, b"stts", {12: 0})


def ten_thousand_a_second(content: bytes, rng: Random) -> bytes:
    content = _set_words(content, b"mdhd", {12: rng.choice((10_000, 1_000_000, 0x7FFFFFFF))})
    return _set_words(content, b"stts", {12: 1})


def one_frame_for_ages(content: bytes, rng: Random) -> bytes:
    return _set_words(content, b"stts", {12: rng.choice((0x7FFFFFFF, 0xFFFFFFFF, 0x00FFFFFF))})


def absurd_container_size(content: bytes, rng: Random) -> bytes:
    width, height = (rng.choice((0, 1, 7, 16_383, 65_535)) for _ in range(2))
    content = _set_words(content, b"tkhd", {76: width << 16, 80: height << 16})
    return _set_words(content, b"avc1", {24: width << 16 | height})


BYTE_MUTATIONS: dict[str, Callable[[bytes, Random], bytes]] = {
    "bits flipped anywhere": flip_anywhere,
    "bits flipped in the header": flip_header,
    "bits flipped in the pictures": flip_pictures,
    "end cut off": cut_end,
    "front cut off": cut_front,
    "middle cut out": cut_middle,
    "block of zeros": zero_block,
    "block of noise": noise_block,
    "halves swapped": swap_halves,
    "twice in one file": twice,
    "noise at the end": trailing_noise,
    "wrong first bytes": wrong_magic,
    "wrong size of a box": lying_box_size,
    "wrong numbers in the header": lying_word,
    "lying frame count": lying_frame_count,
    "countless tiny frames": tiny_frames_without_end,
    "zero duration": zero_duration,
    "10,000 frames a second": ten_thousand_a_second,
    "a frame for ages": one_frame_for_ages,
    "absurd size in the container": absurd_container_size,
}


def absurd_picture_size(stream: bytes, rng: Random) -> bytes:
    """A bare H.264 stream whose sequence parameter sets announce other sizes, up to more than any decoder takes."""
    width, height = (rng.choice((0, 1, 600, 1023, 1500, 4095, 65_535)) for _ in range(2))
    found = list(re.finditer(rb"\x00\x00\x01[\x07\x27\x47\x67]([\s\S]+?)(?=\x00\x00\x01|\x00\x00\x00|$)", stream))
    for match in reversed(found):
        changed = _with_size(match.group(1), width, height)
        stream = stream[: match.start(1)] + changed + stream[match.end(1) :]
    return stream


def _with_size(parameters: bytes, width: int, height: int) -> bytes:
    """A sequence parameter set (without its first byte) with other sizes, in macroblocks less one."""
    plain = parameters.replace(b"\x00\x00\x03", b"\x00\x00")
    bits, profile = "".join(f"{byte:08b}" for byte in plain), plain[0]
    place = _skip(bits, 24, 1)
    if profile in (100, 110, 122, 244):
        place = _skip(bits, place, 3) + 2  # chroma and depths, then bypass and no scaling matrix
    place = _skip(bits, place, 1)
    kind_of_order, place = bits[place], _skip(bits, place, 1)
    if kind_of_order == "1":  # order type 0 has one more number
        place = _skip(bits, place, 1)
    place = _skip(bits, place, 1) + 1
    end = _skip(bits, place, 2)
    bits = bits[:place] + _code(width) + _code(height) + bits[end:].rstrip("0")
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\x00\x00", b"\x00\x00\x03")


def _skip(bits: str, place: int, codes: int) -> int:
    """Where the next exponential Golomb codes have ended."""
    for _ in range(codes):
        zeros = bits.index("1", place) - place
        place += 2 * zeros + 1
    return place


def _code(value: int) -> str:
    binary = f"{value + 1:b}"
    return "0" * (len(binary) - 1) + binary
