"""Paths and URLs: what a URL can be asked, what goes wrong in one line, and that a path costs nothing more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.places import Remote, RemoteError, local_copy, only_local, place, writing


def test_a_path_stays_a_path_and_a_url_becomes_a_remote():
    assert place("a/b.csv") == Path("a/b.csv") and isinstance(place("C:/x"), Path)
    assert place(Path("s3:/x")) == Path("s3:/x")
    url = place("s3://bucket/folder/video.MP4")
    assert (str(url), url.name, url.stem, url.suffix) == (
        "s3://bucket/folder/video.MP4",
        "video.MP4",
        "video",
        ".MP4",
    )
    assert place("gs://b/out/") / "a.csv" == Remote("gs://b/out/a.csv")
    assert Remote("s3://b/r.html").with_suffix(".jsonl") == Remote("s3://b/r.jsonl")


def test_a_url_with_credentials_is_refused_without_showing_them():
    with pytest.raises(UserError, match="credentials do not belong into a URL") as error:
        place("s3://key:hidden@bucket/folder")
    assert "hidden" not in str(error.value)
    assert place("s3://bucket/name@home.mp4").name == "name@home.mp4"
    for url in ("http://localhost:9000/b", "http://[::1]:9000/b", "s3://arn:aws:s3:eu-west-1:1:accesspoint/ap"):
        assert place(f"{url}/name@home.mp4").name == "name@home.mp4"


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hidden@bucket",
        "s3://AKIA:hid/den@bucket/root",
        "s3://AKIA:/hidden@bucket",
        "s3://AKIA:12/hidden@bucket/x",
        "https://x.net/a.csv?sp=r&sig=hidden",
    ],
)
def test_no_refusal_shows_credentials(url):
    for refuse in (place, lambda path: only_local(path, "training")):
        with pytest.raises(UserError) as error:
            refuse(url)
        assert "hid" not in str(error.value)


def test_what_is_written_is_there_whole_and_listed(bucket, tmp_path):
    root = place(bucket)
    with writing(root / "a" / "b.txt") as local:
        local.write_text("content")
    with pytest.raises(ZeroDivisionError), writing(root / "a" / "c.txt") as local:
        local.write_text("half of it")
        raise ZeroDivisionError
    assert {name: file.size for name, file in root.files()} == {"a/b.txt": 7}
    assert root.entries() == {"a": None} and list((root / "a").entries()) == ["b.txt"]
    assert (root / "a" / "none").entries() == {}
    assert (root / "a" / "b.txt").is_file() and not (root / "a").is_file() and not (root / "c").exists()
    with local_copy(root / "a" / "b.txt") as copy:
        assert copy.suffix == ".txt" and copy.read_text() == "content"
    assert not copy.exists()


def test_version_changes_with_the_content(bucket):
    file = place(bucket) / "a"

    def version():
        return place(bucket).entries()["a"].version

    file.write_bytes(b"1")
    before = version()
    assert version() == before
    file.write_bytes(b"2")
    assert version() != before


def test_only_the_first_creates(bucket):
    file = place(bucket) / "a"
    assert file.create(b"first") and not file.create(b"second")
    assert file.read_bytes() == b"first"


def test_names_that_look_like_patterns_are_names(bucket, tmp_path):
    root = place(bucket) / "x"
    (tmp_path / "a[1]*?.png").write_bytes(b"one")
    (tmp_path / "a1.png").write_bytes(b"other")
    root.put_all(tmp_path, ["a[1]*?.png", "a1.png"])
    (tmp_path / "back").mkdir()
    root.get_all(["a[1]*?.png"], tmp_path / "back")
    assert (tmp_path / "back" / "a[1]*?.png").read_bytes() == b"one"
    (root / "a[1]*?.png").unlink()
    assert list(root.entries()) == ["a1.png"]


def test_an_object_in_the_place_of_a_folder_is_none_of_its_files(bucket):
    import fsspec

    fsspec.filesystem("s3").call_s3("put_object", Bucket=bucket[5:], Key="folder/", Body=b"")
    (place(bucket) / "folder" / "a").write_bytes(b"")
    assert list((place(bucket) / "folder").entries()) == ["a"]


def test_what_is_not_there_is_one_line(bucket, tmp_path):
    for ask in (Remote.read_bytes, lambda url: url.get(tmp_path / "none")):
        with pytest.raises(RemoteError, match=f"{bucket}/none: no such file or folder"):
            ask(place(f"{bucket}/none"))
    for ask in (Remote.entries, Remote.read_bytes, lambda url: url.write_bytes(b""), lambda url: list(url.files())):
        with pytest.raises(RemoteError, match="s3://no-such-bucket/x: The specified bucket does not exist"):
            ask(place("s3://no-such-bucket/x"))
    with pytest.raises(RemoteError, match="Protocol not known: nowhere"):
        place("nowhere://x").entries()
    place(f"{bucket}/none").unlink()


def failing(code, **environment):
    """The last line of what a process says that asks for a bucket."""
    ask = f"from common.places import place\nfrom common.errors import run_command\n{code}"
    ask += "\nrun_command(lambda: place('s3://bucket/x').read_bytes())"
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    return done.stderr


def test_without_network_there_is_one_line_without_credentials(s3):
    said = failing("", AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert said.startswith("error: s3://bucket/x: Could not connect") and "dummy" not in said


def test_without_the_extra_there_is_one_line():
    said = failing("import sys; sys.modules['s3fs'] = None")
    assert said == "error: s3://bucket/x: Install s3fs to access S3; pip install -e .[s3]\n"


def test_without_credentials_there_is_one_line(s3):
    assert failing("", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="") == (
        "error: s3://bucket/x: Unable to locate credentials\n"
    )


def test_without_permission_there_is_one_line(bucket, s3, monkeypatch):
    """moto checks signatures and policies after so many requests as this says: none."""
    import requests

    requests.post(f"{s3}/moto-api/reset-auth", data="0", timeout=10)
    try:
        with pytest.raises(RemoteError, match=r"Access Key Id you provided does not exist|Forbidden|Access Denied"):
            place(f"{bucket}/x").read_bytes()
    finally:
        requests.post(f"{s3}/moto-api/reset-auth", data="inf", timeout=10)


def test_fsspec_is_not_imported_for_paths(folder, repository, tmp_path):
    code = (
        "import sys; from inference.inputs import find_videos; from inference.remote_results import results_at;"
        "from preprocessing.data_root import read_data_root; from pathlib import Path;"
        f"find_videos({str(folder)!r}); results_at(Path({str(tmp_path / 'a.csv')!r}), None, False).__enter__();"
        "sys.exit('fsspec' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=repository).returncode == 0
