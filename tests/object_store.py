"""An object store on this machine: moto's server, which speaks S3 on the loopback interface."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def s3_server() -> Iterator[str]:
    """A server at a free port for as long as the block runs, with the environment that leads there; yields its URL."""
    server = pytest.importorskip("moto.server", reason="moto is not installed (requirements-dev.txt)")
    pytest.importorskip("s3fs", reason="s3fs is not installed (pip install -e .[s3])")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "dummy",
        "AWS_SECRET_ACCESS_KEY": "secret-dummy",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": host,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            yield environment["AWS_ENDPOINT_URL"]
        finally:
            running.stop()


def new_bucket(name: str) -> str:
    """The URL of a bucket in which there is nothing."""
    import fsspec

    fsspec.filesystem("s3", use_listings_cache=False).mkdir(name)
    return f"s3://{name}"


def upload(folder: Path, url: str) -> str:
    """Put all files below a folder under the URL."""
    from common.places import Remote

    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    Remote.at(url).put_all(folder, names)
    return url


def objects(url: str) -> dict[str, bytes]:
    """All that is under the URL, by the names below it."""
    from common.places import Remote

    return {name: file.read_bytes() for name, file in sorted(Remote.at(url).files(), key=lambda item: item[0])}
