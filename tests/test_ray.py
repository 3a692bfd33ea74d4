"""Ray: the work of all stages and of prediction on two nodes, one of which may die, gives what one process gives."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from common.errors import UserError
from common.ray_cluster import RETRIES, connect
from inference.ray_lanes import opened_on_ray, places_of
from inference.stream import Video, VideoScore
from predict_folder import predict_folder
from preprocessing import pipeline
from preprocessing.executors import WorkerDied
from preprocessing.ray_executor import run_on_ray
from tests.faults.processes import descendants

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install -e .[ray])")


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes that are processes, with one CPU each; no work of a test is left when the next begins."""
    from ray.cluster_utils import Cluster

    # Ray's workers give way to all others (nice 15): on a busy machine they would not get on at all.
    os.environ.setdefault("RAY_worker_niceness", "0")
    small = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    cluster.small = small
    cluster.add_node(**small)
    connect(cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def make_work(folder: Path):
    """Work on numbers: three raises, seven kills its process, eight does so the first time, others are doubled."""

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        if number == 7 or (number == 8 and not (folder / "eight").exists()):
            (folder / "eight").touch()
            with (folder / "deaths").open("a") as deaths:
                deaths.write(f"{number}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * number

    return work


def test_items_come_back_with_results_exceptions_and_deaths(cluster, tmp_path):
    results = dict(run_on_ray(partial(make_work, tmp_path), list(range(10)), None))
    assert set(results) == set(range(10))
    three, seven = results.pop(3), results.pop(7)
    assert isinstance(three, ValueError) and str(three) == "three"
    assert isinstance(seven, WorkerDied)
    assert (tmp_path / "deaths").read_text().split().count("7") == RETRIES + 1
    assert results == {number: 2 * number for number in results}


@contextmanager
def another_node(cluster, killed_when: Callable[[], bool]):
    """A third node, which is killed when the condition holds while the block runs, and the event of its death."""
    node, dead = cluster.add_node(**cluster.small), Event()
    raylet = node.all_processes["raylet"][0].process.pid

    def kill():
        while not killed_when():
            time.sleep(0.01)
        workers = descendants(raylet)
        cluster.remove_node(node, allow_graceful=False)
        for worker in workers:  # they would outlive their node for a moment, in which a short job is done
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        dead.set()

    thread = Thread(target=kill)
    thread.start()
    yield node, dead
    thread.join()
    while any(known["Alive"] and known["NodeID"] == node.node_id for known in ray.nodes()):
        pass  # the next test must not count on it


def make_waiting(doomed: str, begun: Path):
    """Work that never ends on the node `doomed`, and elsewhere when it has been begun there."""

    def work(number: int) -> str:
        if ray.get_runtime_context().get_node_id() == doomed:
            begun.touch()
            signal.pause()
        while not begun.exists():
            time.sleep(0.01)
        return ray.get_runtime_context().get_node_id()

    return work


def test_items_of_a_node_that_dies_are_done_on_others(cluster, tmp_path):
    begun = tmp_path / "begun"
    with another_node(cluster, begun.exists) as (node, _):
        results = dict(run_on_ray(partial(make_waiting, node.node_id, begun), list(range(12)), None))
    assert set(results) == set(range(12)) and node.node_id not in results.values()
    assert all(isinstance(result, str) for result in results.values())


def artifacts(root):
    """Every file below the root but logs and tables' locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] != "logs"
    }


def results_of(folder, weights, out, when_said=lambda line: None, **options):
    """The bytes of the CSV and of the errors, the details without times, what was said."""
    said, files = [], {"output": out / "a.csv", "details": out / "a.jsonl"}

    def say(line):
        said.append(line)
        when_said(line)

    options = {"weights_dir": weights, "frames": 4, "engine": "torch", "strategy": "max", **options}
    summary = predict_folder(folder, ["small", "other"], **files, **options, say=say)
    records = [json.loads(line) for line in files["details"].read_text().splitlines()]
    for record in records:
        del record["seconds"]
    return (files["output"].read_bytes(), summary.errors_file.read_bytes(), records), said


@pytest.fixture(scope="module")
def many(folder, tmp_path_factory):
    """A folder of eight videos, one of them unreadable."""
    many = tmp_path_factory.mktemp("many")
    for number in range(7):
        shutil.copy(folder / ("519.mp4" if number % 3 else "004.mp4"), many / f"{number:02}.mp4")
    (many / "empty.mp4").write_bytes(b"")
    return many


@pytest.fixture(scope="module")
def of_one_machine(many, weights, tmp_path_factory):
    return results_of(many, weights, tmp_path_factory.mktemp("one"))


def test_prediction_gives_the_bytes_of_one_machine_and_says_everything_once(
    cluster, many, weights, of_one_machine, tmp_path
):
    results, said = results_of(many, weights, tmp_path, executor="ray", ray_address=cluster.address)
    one, said_by_one = of_one_machine
    assert results == one
    assert said[0].startswith("ray: 2 workers on 2 nodes are starting")
    assert said[1].startswith("ray: 2 x cpu, 1 threads, PyTorch in ") and said[2:] == said_by_one[1:]


def test_preprocessing_outlives_a_node(cluster, root, processed):
    crops, left = root / "crops", []

    def has_begun():
        left[:] = [video for video in (processed / "crops").iterdir() if not (crops / video.name).exists()]
        return crops.exists()

    with another_node(cluster, has_begun):
        assert pipeline.main([str(root), "--executor", "ray", "--ray-address", cluster.address]) == 0
    assert left
    assert artifacts(root) == artifacts(processed)


def test_prediction_outlives_a_node(cluster, many, weights, of_one_machine, tmp_path):
    ready = Event()

    def note(line):
        # Said when all workers are, and before the first of them is given its videos.
        if line.startswith("ray: 3 x cpu"):
            ready.set()
            dead.wait()

    with another_node(cluster, ready.is_set) as (_, dead):
        results, said = results_of(many, weights, tmp_path, note, executor="ray", ray_address=cluster.address)
    assert results == of_one_machine[0]
    assert any(line.startswith("a worker or its node died, its ") for line in said)


class DeadlyScoring:
    """A scoring that gives every video the label 0.25, but for one that kills its process."""

    models, aggregates = ["deadly"], {"deadly": "pooled"}

    def open(self, device, say):
        return self

    def score(self, videos):
        for video in videos:
            if video.name == "deadly":
                os.kill(os.getpid(), signal.SIGKILL)
            yield VideoScore(video.name, label=0.25)


def make_deadly(engine):
    return DeadlyScoring()


def test_video_that_kills_is_reported_and_the_others_are_scored(cluster):
    said, names = [], ["a", "b", "c", "deadly", "e", "f", "g", "h"]
    with opened_on_ray(make_deadly, None, "cpu", "torch", "fp32", len(names), said.append) as lanes:
        scores = {score.filename: score for score in lanes.score(Video(name, None) for name in names)}
    assert sorted(scores) == names
    assert scores.pop("deadly").error == f"its worker died {RETRIES + 1} times (out of memory?)"
    assert all(score.error is None and score.label == 0.25 for score in scores.values())
    # What was told just before a death may be lost with it: then the first of these is not put down to the deadly one.
    assert sum(line.startswith("a worker or its node died") for line in said) in (RETRIES + 1, RETRIES + 2)


def test_every_gpu_and_cpu_of_unequal_nodes_is_used():
    def places(cpus, gpus, device="auto"):
        node = {"NodeID": "n", "Resources": {"CPU": float(cpus), **({"GPU": float(gpus)} if gpus else {})}}
        return [(place.cpus, place.gpu) for place in places_of(node, device)]

    assert places(2, 0) == [(2, False)]
    assert places(20, 0) == [(6, False), (7, False), (7, False)]
    assert places(16, 1) == [(16, True)]
    assert places(9, 2) == [(4, True), (5, True)]
    assert places(0, 0) == [] and places(2, 0, "cuda") == []
    assert places(1, 2) == [(0, True), (1, True)]
    assert places(16, 4, "cpu") == [(8, False), (8, False)]


def test_no_videos_have_results_without_rows(cluster, many, weights, tmp_path):
    (tmp_path / "none.csv").write_text("filename,label\n")
    options = {"sample_submission": tmp_path / "none.csv", "executor": "ray", "ray_address": cluster.address}
    predict_folder(many, ["small"], tmp_path / "out.csv", weights_dir=weights, **options)
    assert (tmp_path / "out.csv").read_text() == "filename,label\n"


def test_what_the_cluster_cannot_do_is_refused_in_a_line(cluster, many, weights, tmp_path):
    options = {"output": tmp_path / "out.csv", "weights_dir": weights, "executor": "ray", "say": lambda line: None}
    for device, reason in (("cuda", "no node of the cluster has a GPU"), ("cpu,cpu", "on Ray it is one of auto, cpu")):
        with pytest.raises(UserError, match=reason):
            predict_folder(many, ["small"], device=device, **options)
    (tmp_path / "broken").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="broken"):
        predict_folder(many, [str(tmp_path / "broken")], **options)


def test_without_executor_ray_is_not_imported(many, weights, repository, tmp_path):
    code = (
        "import sys; from predict_folder import predict_folder;"
        f"predict_folder({str(many)!r}, ['small'], {str(tmp_path / 'a.csv')!r}, weights_dir={str(weights)!r}, limit=1);"
        "from preprocessing import pipeline, extract_clips; pipeline._help();"
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=repository).returncode == 0


def test_without_ray_there_is_one_line(root, repository):
    code = (
        "import sys; sys.modules['ray'] = None; from common.errors import run_command;"
        "from preprocessing import detect_original_faces as stage;"
        f"run_command(lambda: stage.main(['--root-dir', {str(root)!r}, '--executor', 'ray']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: --executor ray: Ray is not installed (pip install -e .[ray])\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--executor", "ray", "--ray-address", "127.0.0.1:1"], "no cluster answers at 127.0.0.1:1 ("),
        (["--executor", "ray", "--ray-address", "nowhere"], "no cluster at nowhere: Invalid address format"),
        (["--ray-address", "127.0.0.1:1"], "--ray-address: goes with --executor ray"),
    ],
)
def test_address_where_nothing_is_ends_in_one_line(options, reason, many, weights, root, repository, tmp_path):
    predict = ["predict_folder.py", "--test-dir", str(many), "--output", str(tmp_path / "out.csv")]
    predict += ["--weights-dir", str(weights), "--models", "small"]
    stage = ["-m", "preprocessing.extract_crops", "--root-dir", str(root)]
    for command in (predict, stage):
        done = subprocess.run([sys.executable, *command, *options], cwd=repository, capture_output=True, text=True)
        assert done.returncode == 2
        error = done.stderr.splitlines()[-1]
        assert error.startswith("error: ") and reason in error and "Traceback" not in done.stderr
