"""Preprocessing of a data root in an object store: the artifacts of a disk, byte for byte."""

import json
import shutil
import tempfile

import pytest

from common.errors import UserError, exit_on_user_error
from common.places import Remote
from demo.sample_videos import make_sample_root
from preprocessing import (
    check,
    extract_crops,
    extract_images,
    generate_diffs,
    generate_folds,
    pipeline,
)
from preprocessing.data_root import read_data_root
from tests.object_store import objects, upload
from tests.test_preprocessing import artifacts


@pytest.fixture
def root_url(videos, bucket):
    return upload(videos, f"{bucket}/deep/root")


def made(url):
    """What `artifacts` tells of a root on a disk; the marks of complete folders left out."""
    names = ("boxes", "crops", "landmarks", "diffs", "folds.csv")
    found = {name: content for name, content in objects(url).items() if name.split("/")[0] in names}
    return {name: content for name, content in found.items() if not name.endswith(".done")}


def without_logs(found):
    return {name: content for name, content in found.items() if not name.startswith("logs/")}


@pytest.fixture(scope="module")
def boxed(tmp_path_factory):
    """A root whose boxes were drawn by hand: an original, its fake, one with a frame without a face."""
    root = tmp_path_factory.mktemp("boxed") / "root"
    make_sample_root(root, seconds=0.9, width=640, height=360, videos=["004", "519", "fvkanshbie"])
    boxes = {"0": [[200, 80, 330, 240]], "10": None, "20": [[210, 90, 330, 240], [10, 10, 60, 70]]}
    (root / "boxes").mkdir()
    for original in ("004", "fvkanshbie"):
        (root / "boxes" / f"{original}.json").write_text(json.dumps(boxes))
    return root


def do_steps(root, *options):
    """Steps 2, 4 and 5, which ask no network."""
    for step in (extract_crops, generate_diffs):
        assert step.main(["--root-dir", root, *options]) == 0
    assert generate_folds.main(["--root-dir", root, "--out", f"{root}/folds.csv", "--allow-empty"]) == 0


@pytest.fixture(scope="module")
def expected(boxed, tmp_path_factory):
    root = shutil.copytree(boxed, tmp_path_factory.mktemp("expected") / "root")
    do_steps(str(root))
    return artifacts(root)


def test_workers_are_given_copies_and_nothing_is_left_of_them(boxed, expected, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    do_steps(upload(boxed, f"{bucket}/root"), "--workers", "2")
    assert made(f"{bucket}/root") == expected
    assert list(tmp_path.iterdir()) == []


def test_workers_of_a_ray_cluster_share_a_bucket(boxed, expected, bucket):
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install -e .[ray])")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        do_steps(upload(boxed, f"{bucket}/root"), "--executor", "ray", "--ray-address", cluster.address)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert made(f"{bucket}/root") == expected


def run(capsys, main, *argv):
    with pytest.raises(SystemExit) as exit_info:
        exit_on_user_error(lambda: main([*argv]))
    captured = capsys.readouterr()
    return exit_info.value.code, captured.out, captured.err


def test_all_steps_make_what_they_make_on_a_disk_and_nothing_twice(root_url, videos, processed, capsys):
    code, out, err = run(capsys, pipeline.main, root_url, "--workers", "2")
    assert code == 0, err
    assert made(root_url) == artifacts(processed)
    before = objects(root_url)
    assert {name for name in before if name.endswith(".mp4")} == {
        str(path.relative_to(videos)) for path in videos.rglob("*.mp4")
    }
    code, out, _ = run(capsys, pipeline.main, root_url)
    assert code == 0 and "detect_original_faces: 0 done, 3 skipped, 0 failed" in out
    assert "generate_diffs: 0 done, 2 skipped, 0 failed" in out
    # Of the logs, remarks are those of the last run, as on a disk.
    assert without_logs(objects(root_url)) == without_logs(before)


@pytest.fixture
def done_url(boxed, expected, bucket):
    """The root in a bucket after the steps, and what says that its folders are complete."""
    url = upload(boxed, f"{bucket}/root")
    for name, content in expected.items():
        kind, _, below = name.partition("/")
        (Remote.at(url) / name).write_bytes(content)
        if kind in ("crops", "diffs"):
            (Remote.at(url) / kind / f".{below.partition('/')[0]}.done").write_bytes(b"")
    return url


def test_folder_of_which_only_a_part_was_put_is_not_read_and_made_again(done_url, expected, capsys):
    root = Remote.at(done_url)
    for mark in ("crops/.519.done", "diffs/.519.done"):
        (root / mark).unlink()
    (root / "crops" / "519" / "99990_0.png").write_bytes(b"of a run with other settings")
    (root / "crops" / "519" / "0_0.png").unlink()
    assert {row[0] for row in generate_folds.fold_rows(read_data_root(done_url))} == {"004"}
    options = ["--root-dir", done_url, "--workers", "1"]
    errors = f"{done_url}/logs/generate_diffs.errors.csv"
    code, out, _ = run(capsys, generate_diffs.main, *options, "--strict")
    assert code == 1 and "0 done, 0 skipped, 1 failed" in out and f"reasons in {errors}" in out
    said = b'item,reason\n519,"no crops of 519; run extract_crops, or see its errors"\n'
    assert Remote.at(errors).read_bytes() == said
    assert "extract_crops: 1 done, 2 skipped" in run(capsys, extract_crops.main, *options)[1]
    assert "generate_diffs: 1 done, 0 skipped" in run(capsys, generate_diffs.main, *options)[1]
    assert made(done_url) == expected
    assert not Remote.at(errors).exists()


def test_other_settings_are_refused(done_url, capsys):
    assert run(capsys, generate_diffs.main, "--root-dir", done_url)[0] == 0
    code, _, err = run(capsys, generate_diffs.main, "--root-dir", done_url, "--crops-dir", "crops2")
    assert code == 2 and "generate_diffs was run with --crops-dir crops;" in err


def test_stage_whose_files_share_a_folder_leaves_others_alone(root_url, root, capsys):
    main = extract_images.main
    assert run(capsys, main, "--root-dir", root_url, "--limit", "1", "--workers", "1")[0] == 0
    code, out, _ = run(capsys, main, "--root-dir", root_url, "--limit", "2", "--workers", "1")
    assert code == 0 and "1 done, 2 skipped" in out
    assert run(capsys, main, "--root-dir", str(root), "--limit", "2", "--workers", "1")[0] == 0
    assert objects(f"{root_url}/jpegs") == {path.name: path.read_bytes() for path in (root / "jpegs").iterdir()}


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("s3://no-such-bucket/root", [], "s3://no-such-bucket/root: The specified bucket does not exist"),
        ("{bucket}/nothing", [], "no such directory, or nothing in it"),
        ("{root}/dfdc_train_part_0", [], "is a part itself"),
        ("{root}", ["--crops-dir", "../crops"], "is not a folder below"),
    ],
)
def test_what_is_no_root_is_one_line(root_url, bucket, capsys, url, options, reason):
    url = url.format(bucket=bucket, root=root_url)
    code, _, err = run(capsys, extract_crops.main, "--root-dir", url, *options)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and reason in err


def test_command_that_takes_no_urls_says_so(root_url):
    with pytest.raises(UserError, match="check takes no URLs; copy it to a disk, or mount the bucket"):
        check.main([root_url])
