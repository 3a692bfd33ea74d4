"""Files named by a path or by the URL of an object store (`s3://bucket/key`, whatever fsspec knows).

A path stays a plain `pathlib.Path`, and fsspec is not imported for it. A URL becomes a Remote, which has the few
methods that are needed of it. Its objects are read from local copies, and appear complete or not at all, as puts do.
"""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from common.errors import UserError, one_line
from common.files import replacing
from common.redaction import without_secrets

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HOST = re.compile(r"(\[[^]]*\]|[^:]*)(:\d+)?")
# Of local copies: what a killed process leaves of them in the folder for temporary files can be told by it.
TEMPORARY = "dfdc-"
# Questions that are asked at the same time, where there is one for every video.
AT_ONCE = 32

Result = TypeVar("Result")


class RemoteError(UserError):
    """A URL that cannot be read or written, in one line."""


class RemoteMissingError(RemoteError):
    """There is nothing under the URL."""


def is_url(text: object) -> bool:
    return isinstance(text, Remote) or (isinstance(text, str) and _URL.match(text) is not None)


def place(text: "str | Path | Remote") -> "Path | Remote":
    """The Remote of a URL, the Path of anything else. Raises UserError for a URL with credentials in it."""
    return Remote.at(text) if isinstance(text, str) and is_url(text) else text if is_url(text) else Path(text)


def only_local(path: "str | Path | Remote", command: str) -> Path:
    """The Path; UserError if it is a URL, which `command` does not take."""
    if is_url(path):
        raise UserError(f"{without_secrets(path)}: {command} takes no URLs; copy it to a disk, or mount the bucket")
    return Path(path)


@dataclass(frozen=True)
class Remote:
    """What lies under a URL. `size` in bytes and `version`, which changes with the content, are known if it was listed.

    Every method raises RemoteError in one line, without credentials: no such bucket, no permission, no network, a
    package that is not installed.
    """

    url: str
    size: int = field(default=-1, compare=False)
    version: int = field(default=-1, compare=False)

    @classmethod
    def at(cls, url: str) -> "Remote":
        if _lets_in(url):
            raise UserError(f"{without_secrets(url)}: credentials do not belong into a URL; the environment has them")
        return cls(url.rstrip("/"))

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str | Path) -> "Remote":
        below = Path(name).as_posix()
        return self if below == "." else Remote(f"{self.url}/{below}")

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(self.url.partition("://")[2])

    @property
    def name(self) -> str:
        return self._pure.name

    @property
    def stem(self) -> str:
        return self._pure.stem

    @property
    def suffix(self) -> str:
        return self._pure.suffix

    def with_name(self, name: str) -> "Remote":
        return Remote(f"{self.url.rpartition('/')[0]}/{name}")

    def with_suffix(self, suffix: str) -> "Remote":
        return self.with_name(self.stem + suffix)

    def is_file(self) -> bool:
        try:
            return self._ask(lambda system, key: system.info(key))["type"] == "file"
        except RemoteMissingError:
            return False

    def exists(self) -> bool:
        return self._ask(lambda system, key: system.exists(key))

    def entries(self) -> "dict[str, Remote | None]":
        """What lies directly below: files by name, None for folders; nothing if it is not there."""
        try:
            listed = self._ask(lambda system, key: system.ls(key, detail=True))
        except RemoteMissingError as error:
            if error.__cause__ is not None and self._is_bare(error.__cause__):
                return {}
            raise
        entries = {}
        for info in listed:
            name = info["name"].rstrip("/").rpartition("/")[2]
            # Some tools put an empty object where a folder would be.
            if name not in ("", ".", "..") and info["name"].strip("/") != self._key(self._system()):
                below = Remote(f"{self.url}/{name}", info.get("size") or 0, _version(info))
                entries[name] = below if info["type"] == "file" else None
        return entries

    def files(self) -> "Iterator[tuple[str, Remote]]":
        """All files below it, however deep, by their names from here; the one that it is has the name ''."""
        found = self._ask(lambda system, key: system.find(key, detail=True))
        start = len(self._key(self._system())) + 1
        for key, info in found.items():
            below = key[start:]
            url = f"{self.url}/{below}" if below else self.url
            yield below, Remote(url, info.get("size") or 0, _version(info))

    def read_bytes(self) -> bytes:
        return self._ask(lambda system, key: system.cat_file(key))

    def write_bytes(self, content: bytes) -> None:
        self._ask(lambda system, key: system.pipe_file(key, content))

    def create(self, content: bytes) -> bool:
        """Write it if there is none yet, which the store itself decides; False if there is."""
        try:
            self._ask(lambda system, key: system.pipe_file(key, content, mode="create"))
        except FileExistsError:
            return False
        return True

    def unlink(self) -> None:
        """Remove the file, if there is one."""
        try:
            self._ask(lambda system, key: system.rm_file(key))
        except RemoteMissingError:
            return

    def get(self, local: Path) -> None:
        """Copy the file to `local`."""
        self._ask(lambda system, key: system.get_file(key, str(local)))

    def get_all(self, names: Sequence[str], folder: Path) -> None:
        """Copy files below it, by their names from here, into a local folder, several at a time."""
        locals_ = [str(folder / name) for name in names]
        self._ask(lambda system, key: names and system.get([f"{key}/{name}" for name in names], locals_))

    def put(self, local: Path) -> None:
        """Write the local file."""
        self._ask(lambda system, key: system.put_file(str(local), key))

    def put_all(self, folder: Path, names: Sequence[str]) -> None:
        """Write local files below it, by their names from `folder`, several at a time."""
        locals_ = [str(folder / name) for name in names]
        self._ask(lambda system, key: names and system.put(locals_, [f"{key}/{name}" for name in names]))

    @contextmanager
    def local_copy(self) -> Iterator[Path]:
        """A local file with its content and its ending, removed when the block ends."""
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
            local = Path(folder, f"copy{self.suffix}")
            self.get(local)
            yield local

    def _system(self) -> Any:
        try:
            import fsspec

            # What was listed once may have changed by the next time.
            return fsspec.filesystem(self.url.partition("://")[0], use_listings_cache=False)
        except (ImportError, ValueError) as error:
            hint = "; pip install -e .[s3]" if self.url.startswith("s3") and isinstance(error, ImportError) else ""
            raise RemoteError(f"{self.url}: {one_line(error)}{hint}") from error

    def _key(self, system: Any) -> str:
        return system._strip_protocol(self.url)

    def _is_bare(self, error: BaseException) -> bool:
        """Whether an error says no more than the name, as that of a folder does in which there is nothing."""
        return str(error) in (self._key(self._system()), self.url)

    def _ask(self, request: Callable[[Any, str], Result]) -> Result:
        system = self._system()
        try:
            return request(system, self._key(system))
        except FileExistsError:
            raise
        except FileNotFoundError as error:
            # Some stores name no more than what is missing, be it the file or the bucket.
            of_bucket = "bucket" in str(error).lower() and self._key(system) not in str(error)
            reason = one_line(error) if of_bucket else "no such file or folder"
            raise RemoteMissingError(f"{self.url}: {reason}") from error
        except Exception as error:  # each store has exceptions of its own
            raise RemoteError(f"{self.url}: {one_line(without_secrets(error)) or type(error).__name__}") from error


def _lets_in(url: str) -> bool:
    """Whether a URL holds what lets others in, rather once too often: a user, a password, the query of a signed URL."""
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0]
    if "@" in authority or re.search(r"\?.*=", rest):
        return True
    # The secret keys of S3 may have slashes in them: then the @ comes later.
    is_host = scheme.lower() in ("http", "https") and _HOST.fullmatch(authority)
    return ":" in authority and "@" in rest and not is_host and not authority.startswith("arn:")


def _version(info: dict) -> int:
    """A number from what a listing says of a file's content or change, by the names that stores have for it."""
    keys = ("ETag", "etag", "content_md5", "md5Hash", "LastModified", "last_modified", "updated", "mtime")
    known = next((str(info[key]) for key in keys if info.get(key)), "")
    return int.from_bytes(hashlib.sha256(known.encode()).digest()[:7], "big")


@contextmanager
def local_copy(path: "Path | Remote") -> Iterator[Path]:
    """`path` itself, or a temporary copy of what lies under a URL."""
    if isinstance(path, Path):
        yield path
        return
    with path.local_copy() as local:
        yield local


@contextmanager
def writing(path: "str | Path | Remote") -> Iterator[Path]:
    """`replacing` for any place: a local path to write to; on success it becomes the content of `path`."""
    target = place(path)
    if isinstance(target, Path):
        with replacing(target) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        local = Path(folder, f"new{target.suffix}")
        yield local
        target.put(local)


def asked_at_once(question: Callable[[Any], Result], items: Sequence[Any]) -> list[Result]:
    """`question` of each of the items, in their order; many are under way at the same time."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ask") as threads:
        return list(threads.map(question, items))
