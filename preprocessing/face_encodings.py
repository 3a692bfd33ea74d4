"""Optional: what each original's face looks like to a face recogniser. Writes crops/<original>/encodings.npy.

    python -m preprocessing.face_encodings --root-dir DATA_ROOT

Needs face_recognition: pip install --no-deps -r requirements-nodeps.txt
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from common.arguments import Parser
from common.errors import UserError, run_command
from common.files import replacing
from preprocessing.artifacts import write_array
from preprocessing.data_root import Video, read_data_root
from preprocessing.generate_landmarks import crops_of
from preprocessing.runner import Outcome, Stage, add_crops_option, run_stage, stage_parser
from preprocessing.settings import with_crops

CROPS_PER_VIDEO = 10
JITTERS = 10
ENCODING_SIZE = 128
SEED = 777


def encode_video(video: Video, crops_dir: Path, seed: int) -> Outcome:
    """Write (n, 128) float64, the first face of each of up to ten crops drawn by the seed and the video's id."""
    import face_recognition

    crops = crops_of(crops_dir / video.id)
    chosen = random.Random(f"{seed}/{video.id}").sample(crops, min(CROPS_PER_VIDEO, len(crops)))
    encodings = []
    for path in chosen:
        # The recogniser's random shifts (jitters) start from the same state in every call.
        found = face_recognition.face_encodings(face_recognition.load_image_file(str(path)), num_jitters=JITTERS)
        if found:
            encodings.append(found[0])
    with replacing(crops_dir / video.id / "encodings.npy") as temporary:
        write_array(temporary, np.array(encodings, dtype=np.float64).reshape(-1, ENCODING_SIZE))
    return Outcome(Counter({"encodings": len(encodings), "crops without a face": len(chosen) - len(encodings)}))


def make_work(crops_dir: Path, seed: int) -> Callable[[Video], Outcome]:
    return partial(encode_video, crops_dir=crops_dir, seed=seed)


def make_parser() -> Parser:
    parser = stage_parser("face_encodings", "Encode the faces of originals with face_recognition.")
    add_crops_option(parser)
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="seed of the drawn crops")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    root = read_data_root(options.root_dir, options.crops_dir)
    try:
        import face_recognition  # noqa: F401
    except (ImportError, SystemExit) as error:  # it quits the interpreter where its models are missing
        advice = "pip install --no-deps -r requirements-nodeps.txt and dlib-bin"
        raise UserError(f"face_recognition is not installed ({error}): {advice}") from error
    crops_dir = root.crops
    stage = Stage(
        name="face_encodings",
        items=root.reals,
        make_work=partial(make_work, crops_dir, options.seed),
        artifact_of=lambda video: crops_dir / video.id / "encodings.npy",
        files_of=lambda video: [],
        folders_of=lambda video: [crops_dir / video.id],
        settings={"seed": options.seed},
        after=with_crops("extract_crops", root),
        kept_as=with_crops("face_encodings", root),
    )
    return run_stage(stage, root, options)


if __name__ == "__main__":
    run_command(main)
