"""Download checkpoints into the weights folder: resumed after a cut-off, checked before they get their names.

    python -m inference.download_weights [NAME ...] [--weights-dir weights]

WEIGHTS_URL in the environment names another server; a file is fetched from <WEIGHTS_URL>/<name>. It may hold a user
and a password, or a query with a token, which stays behind the name; neither is ever printed.
"""

import errno
import os
import re
import time
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout
from tqdm import tqdm

from common.arguments import Parser
from common.errors import UserError, one_line, run_command
from common.files import replacing, sha256_of
from common.places import only_local
from common.redaction import without_secrets

RELEASED_URL = "https://github.com/selimsef/dfdc_deepfake_challenge/releases/download/0.0.1"
RELEASED_MODELS = (
    "final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36",
    "final_555_DeepFakeClassifier_tf_efficientnet_b7_ns_0_19",
    "final_777_DeepFakeClassifier_tf_efficientnet_b7_ns_0_29",
    "final_777_DeepFakeClassifier_tf_efficientnet_b7_ns_0_31",
    "final_888_DeepFakeClassifier_tf_efficientnet_b7_ns_0_37",
    "final_888_DeepFakeClassifier_tf_efficientnet_b7_ns_0_40",
    "final_999_DeepFakeClassifier_tf_efficientnet_b7_ns_0_23",
)
SUMS = "SHA256SUMS"
TRIES = 3
PAUSE_S = 2.0
CONNECT_AND_READ_TIMEOUT_S = (10, 60)
BUSY = (408, 429)  # answers that another try may change
# What a cut-off can lose: bytes that arrived short of a whole chunk are thrown away with the connection.
CHUNK_BYTES = 1 << 16


class _TryFailed(Exception):
    """This try did not bring the file; another one may."""


class _Unreachable(_TryFailed):
    """The server did not answer."""


def download_weights(
    names: Iterable[str], weights_dir: str | Path, url: str = RELEASED_URL, pause_s: float = PAUSE_S
) -> tuple[int, int]:
    """Bring `<url>/<name>` for every name into `weights_dir`: how many were downloaded, how many already there.

    Sound files stay; damaged ones are renamed to `<name>.corrupt` and downloaded afresh. The pause before another
    try is `pause_s` seconds, then twice that.
    Raises UserError at the first file that cannot be had; a later call goes on from what has arrived.
    """
    names = list(dict.fromkeys(names))
    _check(names, url)
    weights_dir = Path(weights_dir)
    weights_dir.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(weights_dir / ".download.lock").acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{weights_dir}: another download into this folder is running; wait until it ends") from error
    with lock:
        try:
            downloaded = sum(_bring(_file_url(url, name), weights_dir / name, pause_s) for name in names)
        except _Unreachable as error:
            missing = ", ".join(name for name in names if not (weights_dir / name).exists())
            server = without_secrets(_file_url(url, ""))
            by_hand = (
                f"download by hand from {server} on a computer with a network and put into {weights_dir}: {missing}"
            )
            raise UserError(f"{error}; {by_hand}") from error
    return downloaded, len(names) - downloaded


def _check(names: list[str], url: str) -> None:
    """Refuse names that would leave the weights folder, need quoting in a URL or meet the download's own files."""
    for name in names:
        own = name == SUMS or name.endswith((".part", ".corrupt"))
        if own or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", name):
            hint = f"name a file of {without_secrets(url)}, without a folder"
            raise UserError(f"{name!r} cannot be a checkpoint's name; {hint}")
    try:
        sound = re.match(r"https?://[^/?#]", url, re.IGNORECASE) and urlsplit(url).port != 0
    except ValueError:  # no IPv6 address in brackets; no port, which a password with a slash in it is taken for
        sound = False
    if not sound:
        raise UserError(f"{without_secrets(url)!r} is not an http or https URL; correct WEIGHTS_URL")


def _file_url(url: str, name: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{name}", fragment="").geturl()


def _bring(url: str, path: Path, pause_s: float) -> bool:
    """See that a sound file lies under `path` and in the list of sums: whether it had to be downloaded."""
    sums_path = path.with_name(SUMS)
    sums = _read_sums(sums_path)
    sha256 = _sha256_if_sound(path, sums.get(path.name))
    download = sha256 is None
    if download:
        sha256 = _download(_Transfer(url, path.with_name(f"{path.name}.part")), path, sums.get(path.name), pause_s)
    if sums.get(path.name) != sha256:
        sums[path.name] = sha256
        with replacing(sums_path) as temporary:
            temporary.write_text("".join(f"{value}  {name}\n" for name, value in sums.items()), encoding="utf-8")
    return download


def _read_sums(path: Path) -> dict[str, str]:
    """SHA-256 by file name from a list such as `sha256sum` writes. Raises UserError on any other line."""
    sums = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        found = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](\S.*)", line)
        if not found:
            raise UserError(f"{path}: line {number} is not '<sha256>  <name>'; correct or remove the line")
        sums[found[2]] = found[1].lower()
    return sums


def _sha256_if_sound(path: Path, listed: str | None) -> str | None:
    """SHA-256 of a sound file; None where there is none or, after it was set aside, an unsound one."""
    if not path.exists():
        return None
    if sha256_of(path) == listed:
        return listed
    try:
        return _verified_sha256(path, listed)
    except UserError as error:
        aside = path.with_name(f"{path.name}.corrupt")
        while aside.exists():
            aside = aside.with_name(f"{aside.name}.corrupt")
        path.rename(aside)
        print(f"{one_line(error)}; set aside as {aside.name}, downloading afresh", flush=True)
        return None


def _verified_sha256(path: Path, listed: str | None) -> str:
    """SHA-256 of a file that agrees with the list, loads strictly and has no damaged bytes. Raises UserError."""
    # Imported here: torch takes seconds, and neither --help nor a complete folder needs it.
    from training.tools.checkpoints import load_checkpoint

    sha256 = sha256_of(path)
    if listed not in (None, sha256):
        hint = "if another file is meant, remove its line there"
        raise UserError(f"{path}: its sha256 {sha256[:12]}... is not the {listed[:12]}... in {SUMS} ({hint})")
    load_checkpoint(path)
    # torch ignores the checksums in its files: flipped bits in the weights load without a word.
    damage = _damage_in_zip(path)
    if damage:
        raise UserError(f"{path}: is damaged ({damage})")
    return sha256


def _damage_in_zip(path: Path) -> str | None:
    """What is wrong with a file in the zip format; None for sound ones and for torch's older format."""
    try:
        if not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: as if encrypted or of a later zip
        return str(error)


def _download(transfer: "_Transfer", path: Path, listed: str | None, pause_s: float) -> str:
    """Download a file in up to TRIES tries, verify it and only then give it its name. Returns its SHA-256.

    Raises UserError where no other try helps or all failed, _Unreachable if the server did not answer at the last.
    """
    for attempt in count(1):
        try:
            transfer.run()
            sha256 = transfer.verified_sha256(listed)
            break
        except _TryFailed as failure:
            if attempt == TRIES and isinstance(failure, _Unreachable):
                raise
            if attempt == TRIES:
                raise UserError(f"{transfer.shown_url}: given up after {TRIES} tries: {failure}") from failure
            print(f"{path.name}: {failure}; trying again", flush=True)
            time.sleep(pause_s * attempt)
    transfer.part.replace(path)
    print(f"{path.name}: downloaded, sha256 {sha256[:12]}...", flush=True)
    return sha256


@dataclass
class _Transfer:
    """One file on its way: what has arrived lies in `part`, and the next run asks for the rest."""

    url: str
    part: Path
    version: str | None = None  # ETag or Last-Modified of the file on the server when the part was begun

    @property
    def shown_url(self) -> str:
        return without_secrets(self.url)

    def run(self) -> None:
        """Bring the part to the announced size. Raises _TryFailed, or UserError where no other try helps."""
        have = self._size()
        with self._ask(have) as response:
            content_range = response.headers.get("Content-Range", "")
            if response.status_code == 200:
                self.version = _version(response)
                self._receive(response, 0, _number(response.headers.get("Content-Length", "")))
            elif response.status_code == 206 and content_range.startswith(f"bytes {have}-"):
                self._refuse_other_version(response)
                self._receive(response, have, _number(content_range.rpartition("/")[2]))
            elif response.status_code == 206:
                self._start_over(f"the server sent {content_range or 'an unnamed range'} instead of the rest")
            elif response.status_code == 416 and have:
                if content_range != f"bytes */{have}":
                    self._start_over(f"the server refuses to go on after the {have} bytes that arrived earlier")
            elif response.status_code >= 500 or response.status_code in BUSY:
                raise _TryFailed(f"the server answers {response.status_code} {response.reason}")
            else:
                answer = f"{response.status_code} {response.reason}"
                raise UserError(f"{self.shown_url}: the server answers {answer}; check the name and WEIGHTS_URL")

    def verified_sha256(self, listed: str | None) -> str:
        """SHA-256 of the complete part; one that is no sound checkpoint is deleted and raises _TryFailed."""
        try:
            return _verified_sha256(self.part, listed)
        except UserError as error:
            self.part.unlink()
            raise _TryFailed(f"{one_line(error)}; this download is deleted") from error

    def _ask(self, have: int) -> requests.Response:
        # Compressed bodies would make sizes and ranges mean something else than bytes of the file.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        if have and self.version:
            headers["If-Range"] = self.version
        try:
            return requests.get(self.url, headers=headers, stream=True, timeout=CONNECT_AND_READ_TIMEOUT_S)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _Unreachable(f"no network or no answer from {self.shown_url} ({_reason(error)})") from error
        except (requests.RequestException, ValueError) as error:  # urllib3 refuses some hosts with a ValueError
            raise UserError(f"{self.shown_url}: {_reason(error)}") from error

    def _receive(self, response: requests.Response, start: int, total: int | None) -> None:
        """Write the body to the part from `start` on. What arrives before a cut-off or on a full disk stays."""
        bar = tqdm(desc=self.part.stem, initial=start, total=total, unit="B", unit_scale=True, disable=None)
        try:
            with bar, self.part.open("ab" if start else "wb") as file:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
        except requests.RequestException as error:  # is an OSError, so it comes first
            raise _TryFailed(f"cut off at {self._size()} of {total or '?'} bytes ({_reason(error)})") from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(f"{self.part}: the disk is full; make room and start again, the part is kept") from error
        if total not in (None, self._size()):
            raise _TryFailed(f"the server ended at {self._size()} of {total} bytes")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _refuse_other_version(self, response: requests.Response) -> None:
        """Not every server obeys If-Range; bytes of two files must not meet in one part."""
        version = _version(response)
        if self.version and version not in (None, self.version):
            self._start_over("the file on the server has changed")
        self.version = version

    def _start_over(self, reason: str) -> NoReturn:
        self.part.unlink()
        raise _TryFailed(f"{reason}; starting from zero")


def _version(response: requests.Response) -> str | None:
    """What names the file's version for If-Range, which takes no weak ETag."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _reason(error: BaseException) -> str:
    """The operating system's or the protocol's words, below all that urllib3 and requests wrap around them.

    They may quote a URL: the one that was asked, or the signed one that a server redirected to.
    """
    while error.__context__:
        error = error.__context__
    return without_secrets(one_line(error)) or type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="download_weights",
        description="Download checkpoints into the weights folder; run again to go on after a cut-off.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="files to have there (default: the seven released ones)"
    )
    parser.add_argument("--weights-dir", default="weights", help="folder to put them in")
    args = parser.parse_args(argv)
    only_local(args.weights_dir, "download_weights.sh")
    url = os.environ.get("WEIGHTS_URL") or RELEASED_URL
    downloaded, present = download_weights(args.names or RELEASED_MODELS, Path(args.weights_dir), url)
    print(f"{args.weights_dir}: {downloaded} downloaded, {present} already there")
    return 0


def cli() -> None:
    run_command(main)


if __name__ == "__main__":
    cli()
