"""Downloading checkpoints: resumed, verified, and under their final name only when they are sound."""

import gzip
import hashlib
import os
import re
import socket
import subprocess
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock

from common.errors import UserError
from inference import download_weights as module
from training.tools.checkpoints import save_checkpoint
from training.tools.config import NetworkConfig
from training.zoo.classifiers import create_network

REPOSITORY = Path(__file__).resolve().parents[1]
ENCODER = "test_efficientnet"
OTHER_ENCODER = "test_resnet"

download = partial(module.download_weights, pause_s=0)


# --- a server that can misbehave ---


class Handler(BaseHTTPRequestHandler):
    """Answers with the next entry of the server's script, and decently when there is none."""

    cut_after = None
    announced = None

    def do_GET(self):
        name = self.requestline.split()[1].removeprefix("/")  # self.path hides a doubled slash
        self.server.asked.append((name, self.headers["Range"]))
        answer = self.server.script.pop(0) if self.server.script else serve
        answer(self, self.server.files.get(name))

    def send(self, status, body, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if self.announced is None else self.announced))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body[: self.cut_after])

    def log_message(self, *_):
        pass


def serve(handler, content):
    """What a decent server does: 404, ranges, If-Range, 416, ETag."""
    if content is None:
        return handler.send(404, b"nothing here")
    size, etag = len(content), f'"{hashlib.sha256(content).hexdigest()[:8]}"'
    wanted = handler.headers["Range"]
    if not wanted or handler.headers.get("If-Range", etag) != etag:
        return handler.send(200, content, ETag=etag)
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    if start >= size:
        return handler.send(416, b"", Content_Range=f"bytes */{size}")
    return handler.send(206, content[start:], Content_Range=f"bytes {start}-{size - 1}/{size}", ETag=etag)


def cut_off_after(size):
    def answer(handler, content):
        handler.cut_after = size
        serve(handler, content)

    return answer


def announce(size):
    def answer(handler, content):
        handler.announced = size
        serve(handler, content)

    return answer


def without(header):
    """A server that does not know one of the request's headers."""

    def answer(handler, content):
        del handler.headers[header]
        serve(handler, content)

    return answer


def wrong_range(handler, content):
    handler.send(206, content[10:], Content_Range=f"bytes 10-{len(content) - 1}/{len(content)}")


def first_bytes_of_the_rest(handler, content):
    start = start_of(handler.headers["Range"])
    body = content[start : start + 50_000]
    handler.send(206, body, Content_Range=f"bytes {start}-{start + len(body) - 1}/{len(content)}")


def compressed_if_accepted(handler, content):
    if "gzip" in handler.headers["Accept-Encoding"]:
        return handler.send(200, gzip.compress(content), Content_Encoding="gzip")
    return serve(handler, content)


def unavailable(handler, _):
    handler.send(503, b"")


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.script, self.asked = {}, [], []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        """Clients may hang up; that is no news here."""


@pytest.fixture
def server():
    with Server() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


# --- checkpoints and what is left of them in the folder ---


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of checkpoints: two sound ones of several chunks, and one whose weights are another network's."""
    folder = tmp_path_factory.mktemp("saved")
    config = NetworkConfig(encoder=ENCODER, size=64)
    for name, encoder in {"sound": ENCODER, "another": ENCODER, "misfit": OTHER_ENCODER}.items():
        save_checkpoint(folder / name, create_network("DeepFakeClassifier", encoder), config)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def sound(saved):
    return saved["sound"]


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def listed(weights):
    return dict(reversed(line.split("  ")) for line in (weights / "SHA256SUMS").read_text().splitlines())


def names_in(weights):
    return {path.name for path in weights.iterdir()} - {".download.lock"}


def ranges(server):
    return [wanted for _, wanted in server.asked]


def start_of(wanted):
    return int(wanted.removeprefix("bytes=").removesuffix("-"))


# --- what is there stays, what is missing comes ---


def test_missing_files_are_downloaded_and_their_sums_listed(server, weights, saved):
    server.files = {"one": saved["sound"], "two": saved["another"]}
    assert download(["one", "two"], weights, server.url) == (2, 0)
    assert {name: (weights / name).read_bytes() for name in ("one", "two")} == server.files
    assert listed(weights) == {name: sha256(content) for name, content in server.files.items()}
    assert names_in(weights) == {"one", "two", "SHA256SUMS"}


def test_folder_is_made_and_slash_after_url_and_repeated_names_do_not_matter(server, tmp_path, sound):
    server.files = {"one": sound}
    assert download(["one", "one"], tmp_path / "new" / "weights", f"{server.url}/") == (1, 0)
    assert server.asked == [("one", None)]


def test_listed_file_with_its_sum_is_neither_loaded_nor_downloaded(server, weights):
    (weights / "one").write_bytes(b"no checkpoint, but what the list says")
    (weights / "SHA256SUMS").write_text(f"{sha256((weights / 'one').read_bytes())}  one\n")
    assert download(["one"], weights, server.url) == (0, 1)
    assert server.asked == []


def test_unlisted_sound_file_is_listed_and_not_downloaded(server, weights, sound):
    (weights / "SHA256SUMS").write_text(f"{'0' * 64}  mine\n")
    (weights / "one").write_bytes(sound)
    assert download(["one"], weights, server.url) == (0, 1)
    assert listed(weights) == {"mine": "0" * 64, "one": sha256(sound)}
    assert server.asked == []


def test_file_with_another_sum_is_set_aside_by_name_and_downloaded_afresh(server, weights, saved, capsys):
    server.files = {"one": saved["sound"]}
    (weights / "SHA256SUMS").write_text(f"{sha256(saved['sound'])}  one\n")
    (weights / "one").write_bytes(saved["another"])
    assert download(["one"], weights, server.url) == (1, 0)
    assert (weights / "one").read_bytes() == saved["sound"]
    assert (weights / "one.corrupt").read_bytes() == saved["another"]
    notice = capsys.readouterr().out.splitlines()[0]
    assert str(weights / "one") in notice and "set aside as one.corrupt" in notice


def test_unlisted_unsound_file_is_set_aside_and_nothing_set_aside_earlier_is_lost(server, weights, sound):
    server.files = {"one": sound}
    (weights / "one").write_bytes(sound[:-100])
    (weights / "one.corrupt").write_bytes(b"earlier")
    assert download(["one"], weights, server.url) == (1, 0)
    assert (weights / "one").read_bytes() == sound
    assert (weights / "one.corrupt").read_bytes() == b"earlier"
    assert (weights / "one.corrupt.corrupt").read_bytes() == sound[:-100]


# --- cut-offs and ranges ---


def test_every_try_goes_on_where_the_connection_was_cut(server, weights, sound):
    server.files = {"one": sound}
    server.script = [cut_off_after(300_000), cut_off_after(400_000)]
    assert download(["one"], weights, server.url) == (1, 0)
    first, second, third = ranges(server)
    assert first is None
    assert 200_000 < start_of(second) <= 300_000 < 550_000 < start_of(third) <= 700_000
    assert (weights / "one").read_bytes() == sound


def test_after_three_cut_offs_the_part_stays_and_the_next_call_goes_on_from_it(server, weights, sound):
    server.files = {"one": sound}
    server.script = [cut_off_after(100_000)] * 3
    with pytest.raises(UserError, match=rf"/one: given up after 3 tries: cut off at \d+ of {len(sound)} bytes"):
        download(["one"], weights, server.url)
    assert names_in(weights) == {"one.part"}
    arrived = (weights / "one.part").stat().st_size
    assert download(["one"], weights, server.url) == (1, 0)
    assert ranges(server)[3:] == [f"bytes={arrived}-"]
    assert (weights / "one").read_bytes() == sound


def test_pause_grows_from_try_to_try(server, weights, sound, monkeypatch):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    server.files = {"one": sound}
    server.script = [unavailable, unavailable]
    assert download(["one"], weights, server.url, pause_s=5) == (1, 0)
    assert pauses == [5, 10]


def test_server_without_ranges_starts_over(server, weights, sound):
    server.files = {"one": sound}
    server.script = [cut_off_after(300_000), without("Range")]
    assert download(["one"], weights, server.url) == (1, 0)
    assert len(server.asked) == 2
    assert (weights / "one").read_bytes() == sound


def test_range_other_than_the_one_asked_for_is_not_appended(server, weights, sound):
    server.files = {"one": sound}
    server.script = [cut_off_after(300_000), wrong_range]
    assert download(["one"], weights, server.url) == (1, 0)
    assert ranges(server)[2] is None
    assert (weights / "one").read_bytes() == sound


def test_range_that_ends_early_is_kept_and_gone_on_from(server, weights, sound):
    server.files = {"one": sound}
    (weights / "one.part").write_bytes(sound[:1000])
    server.script = [first_bytes_of_the_rest]
    assert download(["one"], weights, server.url) == (1, 0)
    assert ranges(server) == ["bytes=1000-", "bytes=51000-"]
    assert (weights / "one").read_bytes() == sound


def test_bytes_are_those_of_the_file_and_not_compressed(server, weights, sound):
    server.files = {"one": sound}
    server.script = [compressed_if_accepted]
    assert download(["one"], weights, server.url) == (1, 0)
    assert len(server.asked) == 1


def test_part_that_is_complete_is_verified_and_named(server, weights, sound):
    server.files = {"one": sound}
    (weights / "one.part").write_bytes(sound)
    assert download(["one"], weights, server.url) == (1, 0)
    assert ranges(server) == [f"bytes={len(sound)}-"]
    assert names_in(weights) == {"one", "SHA256SUMS"}


def test_part_that_is_too_long_is_dropped(server, weights, sound):
    server.files = {"one": sound}
    (weights / "one.part").write_bytes(sound + b"more")
    assert download(["one"], weights, server.url) == (1, 0)
    assert ranges(server) == [f"bytes={len(sound) + 4}-", None]
    assert (weights / "one").read_bytes() == sound


@pytest.mark.parametrize(
    ("answer", "notices"),
    [(serve, ["cut off"]), (without("If-Range"), ["cut off", "the file on the server has changed"])],
    ids=["obeys If-Range", "ignores If-Range"],
)
def test_file_that_changes_on_the_server_is_not_mixed_with_the_old_one(server, weights, saved, answer, notices, capsys):
    def change_then_answer(handler, _):
        server.files = {"one": saved["another"]}
        answer(handler, saved["another"])

    server.files = {"one": saved["sound"]}
    server.script = [cut_off_after(300_000), change_then_answer]
    assert download(["one"], weights, server.url) == (1, 0)
    told = [line for line in capsys.readouterr().out.splitlines() if "trying again" in line]
    assert [line.startswith(f"one: {notice}") for line, notice in zip(told, notices, strict=True)] == [True] * len(told)
    assert (weights / "one").read_bytes() == saved["another"]


# --- what arrives must be a sound checkpoint ---


def flipped(content):
    """One changed byte amid the weights, which torch loads without a word."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("corrupt", "reason"),
    [
        (lambda saved: bytes(len(saved["sound"])), "is truncated or not a checkpoint"),
        (lambda saved: flipped(saved["sound"]), "is damaged"),
        (lambda saved: saved["misfit"], f"does not fit DeepFakeClassifier with {ENCODER}"),
        (lambda _: b"<html>please log in</html>", "is truncated or not a checkpoint"),
    ],
    ids=["zeros", "flipped byte", "weights of another network", "log-in page"],
)
def test_unsound_downloads_are_deleted_and_after_three_refused_in_one_line(server, weights, saved, corrupt, reason):
    server.files = {"one": corrupt(saved)}
    with pytest.raises(UserError, match=reason) as caught:
        download(["one"], weights, server.url)
    assert "given up after 3 tries" in str(caught.value) and "\n" not in str(caught.value)
    assert ranges(server) == [None] * 3
    assert names_in(weights) == set()


def test_unsound_download_is_tried_again_from_zero(server, weights, sound):
    def corrupt_once(handler, content):
        serve(handler, flipped(content))

    server.files = {"one": sound}
    server.script = [corrupt_once]
    assert download(["one"], weights, server.url) == (1, 0)
    assert ranges(server) == [None, None]
    assert (weights / "one").read_bytes() == sound


def test_sound_download_with_another_sum_than_the_listed_one_is_refused(server, weights, saved):
    server.files = {"one": saved["sound"]}
    (weights / "SHA256SUMS").write_text(f"{sha256(saved['another'])}  one\n")
    with pytest.raises(UserError, match=r"is not the .* in SHA256SUMS"):
        download(["one"], weights, server.url)
    assert names_in(weights) == {"SHA256SUMS"}
    assert listed(weights) == {"one": sha256(saved["another"])}


def test_body_shorter_than_announced_never_gets_its_name(server, weights, sound):
    server.files = {"one": sound[:200_000]}
    server.script = [announce(len(sound)), *[unavailable] * 2]
    with pytest.raises(UserError):
        download(["one"], weights, server.url)
    assert names_in(weights) == {"one.part"}


def test_body_longer_than_announced_never_gets_its_name(server, weights, sound):
    server.files = {"one": sound}
    server.script = [announce(200_000)] * 3
    with pytest.raises(UserError, match="is truncated or not a checkpoint"):
        download(["one"], weights, server.url)
    assert names_in(weights) == set()


# --- what no other try can help ---


def test_404_ends_at_once_in_one_line(server, weights):
    with pytest.raises(UserError, match=rf"{server.url}/one: the server answers 404 Not Found; check"):
        download(["one", "two"], weights, server.url)
    assert server.asked == [("one", None)]


def test_without_a_network_the_message_says_what_to_download_by_hand(weights, sound):
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        url = f"http://127.0.0.1:{closed_soon.getsockname()[1]}"
    (weights / "present").write_bytes(sound)
    (weights / "one.part").write_bytes(sound[:1000])
    with pytest.raises(UserError, match=r"no network or no answer .*refused") as caught:
        download(["present", "one", "two"], weights, url)
    assert str(caught.value).endswith(
        f"by hand from {url}/ on a computer with a network and put into {weights}: one, two"
    )
    assert (weights / "one.part").read_bytes() == sound[:1000]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_ends_in_one_line_and_keeps_the_part(server, weights, sound):
    server.files = {"one": sound}
    (weights / "one.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"one\.part: the disk is full; make room and start again, the part is kept"):
        download(["one"], weights, server.url)
    assert len(server.asked) == 1
    assert (weights / "one.part").is_symlink()


def test_second_download_into_the_same_folder_is_refused(server, weights):
    with (
        FileLock(weights / ".download.lock"),
        pytest.raises(UserError, match=f"{weights}: another download into this folder is running"),
    ):
        download(["one"], weights, server.url)
    assert server.asked == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "file:///etc", "weights.example", "http://", "http://h:99999", ""])
def test_only_http_urls_are_asked(weights, url):
    with pytest.raises(UserError, match="is not an http or https URL"):
        download(["one"], weights, url)


def test_url_that_no_host_can_have_ends_in_one_line(weights):
    with pytest.raises(UserError, match=r"http://a\.\.b/one: "):
        download(["one"], weights, "http://a..b")


@pytest.mark.parametrize("name", ["../one", "a/b", "/one", "", ".", "one?x", "one two", "SHA256SUMS", "one.part"])
def test_names_that_leave_the_folder_or_meet_our_own_files_are_refused(server, weights, name):
    with pytest.raises(UserError, match="cannot be a checkpoint's name"):
        download(["sound", name], weights, server.url)
    assert server.asked == []


def test_list_of_sums_that_cannot_be_read_is_refused_with_its_line(server, weights):
    (weights / "SHA256SUMS").write_text(f"{'0' * 64}  one\nsomething else\n")
    with pytest.raises(UserError, match=r"SHA256SUMS: line 2 is not '<sha256>  <name>'"):
        download(["one"], weights, server.url)


# --- what opens a server is not shown ---

SECRET_URLS = {
    "user and password": lambda url: url.replace("//", "//me:hush-hush@"),
    "token in the query": lambda url: f"{url}/?sig=hush-hush&sp=r",
    "both": lambda url: f"{url.replace('//', '//hush-hush@')}?hush-hush",
}
CUT_OFF = cut_off_after(300_000)


def redirect_to(target):
    return lambda handler, _: handler.send(302, b"", Location=target)


def test_user_and_password_are_sent_and_not_printed(server, weights, sound, capfd):
    def authorized(handler, content):
        assert handler.headers["Authorization"] == "Basic bWU6aHVzaC1odXNo"
        serve(handler, content)

    server.files = {"one": sound}
    server.script = [CUT_OFF, authorized]
    assert download(["one"], weights, SECRET_URLS["user and password"](server.url)) == (1, 0)
    printed = "".join(capfd.readouterr())
    assert "one: downloaded" in printed and "trying again" in printed and "hush" not in printed


def test_query_stays_behind_the_name_and_is_not_printed(server, weights, sound, capfd):
    server.files = {"folder/one?sig=hush-hush&sp=r": sound}
    assert download(["one"], weights, f"{server.url}/folder/?sig=hush-hush&sp=r") == (1, 0)
    assert server.asked == [("folder/one?sig=hush-hush&sp=r", None)]
    printed = "".join(capfd.readouterr())
    assert "one: downloaded" in printed and "hush" not in printed


@pytest.mark.parametrize("secret", SECRET_URLS)
@pytest.mark.parametrize(
    ("script", "names"),
    [
        ([], ["one"]),
        ([unavailable] * 3, ["one"]),
        ([CUT_OFF] * 3, ["sound"]),
        ([redirect_to("hdd://elsewhere/one?sig=hush-hush")], ["one"]),
        ([redirect_to("http://me:hush-hush@[elsewhere/one?sig=hush-hush")], ["one"]),
        ([], ["../one"]),
    ],
    ids=["404", "503", "cut off", "redirected to nowhere", "redirected to no URL", "refused name"],
)
def test_no_failure_shows_what_opens_the_server(server, weights, sound, secret, script, names, capfd):
    server.files, server.script = {"sound": sound}, list(script)
    with pytest.raises(UserError) as caught:
        download(names, weights, SECRET_URLS[secret](server.url))
    assert "hush" not in f"{caught.value}{capfd.readouterr()}" and "***" in str(caught.value)


@pytest.mark.parametrize("secret", SECRET_URLS)
def test_advice_without_a_network_does_not_show_what_opens_the_server(weights, secret):
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        url = f"http://127.0.0.1:{closed_soon.getsockname()[1]}"
    with pytest.raises(UserError) as caught:
        download(["one"], weights, SECRET_URLS[secret](url))
    assert "hush" not in str(caught.value) and "***" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://me:hush@h", "me:hush@h/x", "http://me:hush@[h", "http://h:hush@", "http://me:hu/sh@h"]
)
def test_url_that_is_refused_is_shown_without_its_password(weights, url):
    with pytest.raises(UserError) as caught:
        download(["one"], weights, url)
    assert not re.search("hush|hu/|sh@", str(caught.value)) and "***@" in str(caught.value)


# --- the command ---


@pytest.fixture
def script(tmp_path):
    """download_weights.sh in a checkout of its own, so that its default folder is not the real one."""
    checkout = tmp_path / "check out"
    checkout.mkdir()
    for name in ("common", "inference", "training"):
        (checkout / name).symlink_to(REPOSITORY / name)
    copy = checkout / "download_weights.sh"
    copy.write_bytes((REPOSITORY / "download_weights.sh").read_bytes())
    copy.chmod(0o755)
    return copy


def run(script, *arguments, url, cwd):
    environment = {**os.environ, "WEIGHTS_URL": url, "PYTHON": sys.executable}
    return subprocess.run([script, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def test_script_downloads_beside_itself_from_any_folder_and_counts(server, script, tmp_path, sound):
    server.files = {"one": sound}
    weights = script.parent / "weights"
    weights.mkdir()
    (weights / "two").write_bytes(sound)
    (weights / "SHA256SUMS").write_text(f"{sha256(sound)}  two\n")
    # A folder of the caller's must not stand in for the repository's.
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "__init__.py").write_text("raise SystemExit('the wrong common')")
    done = run(script, "one", "two", url=server.url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{weights}: 1 downloaded, 1 already there"
    assert (weights / "one").read_bytes() == sound


def test_script_asks_for_the_released_files_and_takes_the_callers_folder(server, script, tmp_path):
    done = run(script, "--weights-dir", "my weights", url=server.url, cwd=tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {server.url}/{module.RELEASED_MODELS[0]}: the server answers 404")
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "my weights").is_dir()


def test_script_shows_its_usage(script, tmp_path):
    done = run(script, "-h", url="", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: download_weights.sh [-h] [--weights-dir DIR] [NAME ...]")


def test_the_seven_released_files_are_named():
    assert [name.removeprefix("final_").split("_")[0] for name in module.RELEASED_MODELS] == (
        ["111", "555", "777", "777", "888", "888", "999"]
    )
    assert [name.partition("_DeepFakeClassifier_tf_efficientnet_b7_ns_0_")[2] for name in module.RELEASED_MODELS] == (
        ["36", "19", "29", "31", "37", "40", "23"]
    )
