"""Score a folder of videos with an ensemble of trained networks: a CSV with P(deepfake) for each.

    python predict_folder.py --test-dir videos --models final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36

Without --models, the small network that comes along. From Python: `predict_folder("videos").labels`.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from numbers import Integral
from pathlib import Path

from common.errors import UserError, keeping_what_is_done, one_line, run_command
from common.limits import DEFAULT_GIGABYTES, DEFAULT_SECONDS, Limits
from common.memory import keep_freed_memory
from common.places import Remote, is_url, only_local, place
from common.ray_cluster import check_executor
from common.threads import wait_without_spinning
from evaluation.calibration import Calibration
from faces.detector import LARGEST_SCALE
from faces.torchcodec_video import DECODERS
from inference import embedded
from inference.details import read_details
from inference.inputs import find_videos, in_submission_order
from inference.options import DEFAULT_FRAMES, GRAPH_MODES, parse_arguments
from inference.remote_results import results_at
from inference.results import Results, Summary, check_writable, stamp_of
from inference.strategies import AGGREGATES, AUTO, STRATEGIES
from inference.stream import Video, VideoScore

MOST_NAMES_SHOWN = 5


def predict_folder(
    test_dir: str | Path | Remote,
    models: Sequence[str] = (),
    output: str | Path | Remote | None = None,
    *,
    weights_dir: str | Path = "weights",
    details: str | Path | Remote | None = None,
    sample_submission: str | Path | None = None,
    frames: int = DEFAULT_FRAMES,
    strategy: str = "confident",
    aggregate: str = AUTO,
    clip_labels: float = 0.0,
    detector_scale: float | str | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int = 2,
    video_timeout: float = DEFAULT_SECONDS,
    video_memory: float = DEFAULT_GIGABYTES,
    limit: int | None = None,
    calibration: str | Path | None = None,
    report: str | Path | Remote | None = None,
    overwrite: bool = False,
    decoder: str = "pyav",
    cuda_graphs: str = "auto",
    executor: str = "local",
    ray_address: str | None = None,
    say: Callable[[str], object] = print,
) -> Summary:
    """Score the videos of `test_dir` with the checkpoints `models` (names in `weights_dir`, or paths).

    Without `models` it is the small network of `inference.embedded`.
    Returns a Summary whose `labels` maps each file name to P(fake) in 0-1, 0.5 where a video could not be scored.
    With `output` the CSV, its errors file and `details` are written, and an interrupted call is continued by the
    same call. `calibration`, a file of `evaluate.py --calibrate`, adds calibrated probabilities to the details, never
    to the labels; `report` is an HTML file to write, with its details beside it unless `details` says where. Several
    devices ("cuda:0,cuda:1") work in processes of their own, which import the script that calls this: there the call
    belongs under `if __name__ == "__main__"`. `executor` "ray" has the nodes of a Ray cluster score them. The folder,
    and what is written, may be URLs, see `common.places`. Raises UserError with a one-line reason.
    """
    models = [models] if isinstance(models, str) else models
    test_dir, output, details, report = (path and place(path) for path in (test_dir, output, details, report))
    if "" in (details, report):
        raise UserError("an empty name cannot be written to; give --details and --report the name of a file")
    if report and not is_url(report):
        check_writable(report)
    details = report.with_suffix(".jsonl") if report and not details else details
    for name, value, known in (
        ("strategy", strategy, STRATEGIES),
        ("aggregate", aggregate, AGGREGATES),
        ("decoder", decoder, DECODERS),
        ("cuda_graphs", cuda_graphs, GRAPH_MODES),
    ):
        if value not in known:
            raise UserError(f"{name}: {value!r} is not one of {', '.join(known)}")
    detector_scale = None if detector_scale == "auto" else detector_scale
    if detector_scale is not None and not 0 < detector_scale <= LARGEST_SCALE:
        raise UserError(f"detector_scale: {detector_scale} is neither auto nor a factor up to {LARGEST_SCALE}")
    for name, number in (("frames", frames), ("workers", workers), ("batch_size", batch_size), ("limit", limit)):
        if number is not None and not (isinstance(number, Integral) and number >= 1):
            raise UserError(f"{name}: {number!r} is not a whole number of at least 1")
    frames, limit = int(frames), None if limit is None else int(limit)  # NumPy's are no JSON
    for name, number in (("video_timeout", video_timeout), ("video_memory", video_memory)):
        if not number > 0:
            raise UserError(f"{name}: {number} is not over 0")
    if not 0 <= clip_labels < 0.5:
        raise UserError(f"clip_labels: {clip_labels} is not from 0 to under 0.5")
    check_executor(executor, ray_address)
    if calibration and not details:
        raise UserError("--calibration: its probabilities go to --details or --report; give one of them")
    limits = Limits(video_timeout, video_memory)
    only_local(weights_dir, "--weights-dir")
    only_local(sample_submission or "", "--sample-submission")
    only_local(calibration or "", "--calibration")
    videos = find_videos(test_dir)
    if sample_submission is not None:
        videos, missing, extra = in_submission_order(videos, sample_submission)
        for names, what in (
            (missing, "missing, their rows say 0.5"),
            (extra, "not in the sample submission, left out"),
        ):
            if names:
                say(f"{len(names)} files {what}: {_some(names)}")
    videos = videos[:limit]
    paths = _find_models(models, Path(weights_dir)) if models else [embedded.checkpoint()]
    temperature = Calibration.load(calibration) if calibration else None
    if temperature and temperature.at_limit:
        say(f"{calibration}: was fitted on too few or too easy videos: the calibrated probabilities say nothing")
    tables = map(Path, filter(None, (calibration, sample_submission)))
    inputs = [*paths, *(video.path for video in videos if video.path), *tables]
    _keep_apart([output, details, report], inputs)
    if report and report in (output, details):
        raise UserError(f"{report}: --report is the same file as the output or the details")

    with ExitStack() as stack:
        if output is None:
            output = Path(stack.enter_context(tempfile.TemporaryDirectory()), "submission.csv")
        results = stack.enter_context(results_at(output, details, overwrite, report))
        settings = {
            "folder": str(test_dir if is_url(test_dir) else test_dir.resolve()),
            "frames": frames,
            "strategy": strategy,
            "aggregate": aggregate,
            "labels clipped by": clip_labels,
            "detector scale": detector_scale or "auto",
            "decoder": decoder,
            # A run begun with fewer videos may go on with all of them, but not the other way round: it would end short.
            **({"limit": limit} if limit else {}),
        }
        results.check(settings)

        # torch takes seconds to import: what can be refused without it has been refused by now.
        from inference.scoring import Scoring

        if not models:
            say(f"weights: {embedded.TRUST}")
        scoring = partial(
            Scoring,
            checkpoints=paths,
            frames=frames,
            strategy=strategy,
            aggregate=aggregate,
            clip_labels=clip_labels,
            detector_scale=detector_scale,
            batch_size=batch_size,
            workers=workers,
            videos=len(videos),
            limits=limits,
            decoder=decoder,
            cuda_graphs=cuda_graphs,
        )
        if executor == "ray":
            from inference.ray_lanes import opened_on_ray

            opening = opened_on_ray(scoring, ray_address, device, engine, precision, len(videos), say)
        else:
            from inference.devices import choose_devices
            from inference.engines import choose_engine
            from inference.lanes import opened

            devices, why = choose_devices(device)
            chosen_engine, how = choose_engine(engine, precision, devices[0])
            say(f"{why}; {how}")
            opening = opened(scoring(engine=chosen_engine), devices, say)
        scorer = stack.enter_context(opening)
        done = results.begin({**settings, "models": scorer.models, "device": scorer.device})
        todo = [video for video in videos if stamp_of(video) not in done]
        if len(todo) < len(videos):
            say(f"continuing: {len(videos) - len(todo)} of {len(videos)} videos were scored before")
        _record(todo, len(videos), scorer.score(todo), results)
        about = {"models": list(scorer.aggregates), "strategy": strategy, "aggregate": scorer.aggregates}
        if calibration:
            about["calibration"] = {"temperature": temperature.temperature, "file": Path(calibration).name}

        def write_page() -> None:
            from reporting.build import write_report

            options = {"overwrite": True, "source": details, "limits": limits, "workers": workers, "say": say}
            say(str(write_report(read_details(details), results.files["report"], videos=test_dir, **options)))

        about_videos = partial(_about, about=about, calibration=temperature)
        return results.finish(videos, about_videos, *([write_page] if report else []))


def _about(record: dict, about: dict, calibration: Calibration | None) -> dict:
    """What the details say of a video beside its scores; a label that stands for no score has no calibrated one."""
    if calibration is None:
        return about
    return {"calibrated": calibration.apply(record["label"]) if record["labels"] else None, **about}


def _keep_apart(results: Sequence[Path | Remote | None], inputs: Sequence[Path | Remote]) -> None:
    """Refuse to write a result over a video or a checkpoint, even with --overwrite."""
    for path in filter(None, results):
        if path in inputs if is_url(path) else path.exists() and _is_one_of(path, inputs):
            raise UserError(f"{path}: is one of the inputs; it is not written over")


def _is_one_of(path: Path, inputs: Sequence[Path | Remote]) -> bool:
    return any(path.samefile(used) for used in inputs if not is_url(used) and used.exists())


def _record(todo: Sequence[Video], total: int, scores: Iterable[VideoScore], results: Results) -> None:
    """Write each score down as soon as it is there, in whatever order, under a progress bar."""
    from tqdm import tqdm

    # The stamp is taken before the video is read: a file that changes meanwhile is scored again by a rerun.
    stamps = {video.name: stamp_of(video) for video in todo}
    with tqdm(total=total, initial=total - len(todo), unit="video", disable=not todo) as bar:
        for score in scores:
            results.append(stamps[score.filename], score)
            bar.update()


def _find_models(models: Sequence[str], weights_dir: Path) -> list[Path]:
    """The checkpoint files of `models`; UserError names the first that is not there, and those that are."""
    paths, missing = [], []
    for model in models:
        name = only_local(model, "--models")
        found = next((path for path in (weights_dir / name, name) if path.is_file()), None)
        paths.append(found) if found else missing.append(str(weights_dir / model))
    if missing:
        beside = ("SHA256SUMS", "README.md")
        there = sorted(path.name for path in weights_dir.glob("[!.]*") if path.is_file() and path.name not in beside)
        fetch = "" if all(map(_is_ours, missing)) else "; ./download_weights.sh fetches the released ones"
        raise UserError(f"no such model: {_some(missing)}; there: {_some(there) or 'none'}{fetch}")
    if len({path.name for path in paths}) < len(paths):
        raise UserError("--models: a name is given twice")
    return paths


def _is_ours(model: str) -> bool:
    """Whether it is one of those of predict_clips.sh, which nobody publishes."""
    return Path(model).name.startswith("clips_")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES_SHOWN} more" if len(names) > MOST_NAMES_SHOWN else ""
    return ", ".join(one_line(name) for name in names[:MOST_NAMES_SHOWN]) + more


def main(argv: Sequence[str] | None = None) -> int:
    options = vars(parse_arguments(argv))
    keep_freed_memory()
    wait_without_spinning()
    strict = options.pop("strict")
    with keeping_what_is_done():
        summary = predict_folder(**options)
    print(summary)
    return int(strict and bool(summary.failures))


def cli() -> None:
    run_command(main)


if __name__ == "__main__":
    cli()
