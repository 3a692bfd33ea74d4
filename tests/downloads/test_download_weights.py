"""Downloading checkpoints: resumed, verified, and under their final name only when they are sound."""

import hashlib
import socket
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from common.errors import UserError
from inference import download_weights as module
from tests.downloads.server import (
    announce,
    busy,
    compressed_if_accepted,
    cut_off_after,
    first_bytes_of_the_rest,
    ranges,
    serve,
    start_of,
    unavailable,
    without,
    wrong_range,
)

download = partial(module.download_weights, pause_s=0)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def listed(weights):
    return dict(reversed(line.split("  ")) for line in (weights / "SHA256SUMS").read_text().splitlines())


def names_in(weights):
    return {path.name for path in weights.iterdir()} - {".download.lock"}


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
    server.script = [unavailable, busy]
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
        (lambda saved: saved["misfit"], "does not fit DeepFakeClassifier with test_efficientnet"),
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
