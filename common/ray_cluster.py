"""Work on several machines, by Ray, an optional extra: how a command joins a cluster, and what its workers share."""

import os
import socket
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from common.errors import UserError, one_line

EXECUTORS = ("local", "ray")
ANY_CLUSTER = "auto"
# How often what a dying process or machine took with it is tried again, before it is given up.
RETRIES = 3
ANSWERS_WITHIN = 5  # seconds
PROJECT = Path(__file__).resolve().parent.parent


def add_executor_options(parser: ArgumentParser, executors: Sequence[str] = EXECUTORS) -> None:
    parser.add_argument("--executor", choices=executors, default="local", help="where the work is done")
    parser.add_argument(
        "--ray-address",
        metavar="A",
        help="host:port of the Ray cluster for --executor ray (default: RAY_ADDRESS, else the one this machine is in)",
    )


def check_executor(executor: str, address: str | None) -> None:
    """Raises UserError if the two do not go together."""
    if executor not in EXECUTORS:
        raise UserError(f"executor: {executor!r} is not one of {', '.join(EXECUTORS)}")
    if address is not None and executor != "ray":
        raise UserError("--ray-address: goes with --executor ray")


def connect(address: str | None) -> ModuleType:
    """Ray, connected to the cluster at `address`, which stays so until the process ends; None: the one at hand.

    Raises UserError if Ray is not installed, or if no cluster answers.
    """
    # Before the import, after which they are not read any more.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # without end if nothing is said
    try:
        import ray
    except ImportError as error:
        raise UserError("--executor ray: Ray is not installed (pip install -e .[ray])") from error
    if ray.is_initialized():
        return ray
    address = address or os.environ.get("RAY_ADDRESS") or ANY_CLUSTER
    _check_answers(address)
    # What Ray says of workers and nodes goes to its own logs; what it took down is told by who missed it.
    ray._private.worker._worker_logs_enabled = False
    environment = {"PYTHONPATH": str(PROJECT), "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="error",
            include_dashboard=False,
            runtime_env={"env_vars": environment},
        )
    except (Exception, SystemExit) as error:  # a wrong version, an address that is none, no cluster at all
        hint = "; `ray start --head` starts one, --ray-address names another" if address == ANY_CLUSTER else ""
        raise UserError(f"--executor ray: no cluster at {address}: {one_line(error)[:200]}{hint}") from error
    return ray


def _check_answers(address: str) -> None:
    """UserError if nobody listens at host:port; Ray itself would try for more than a minute."""
    host, colon, port = address.rpartition(":")
    if not colon or "://" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"--executor ray: no cluster answers at {address} ({one_line(error)})") from error


def begin_worker(folder: Path) -> None:
    """In a worker, once: relative paths mean there what they mean where the command was given, in `folder`."""
    from common.memory import keep_freed_memory

    with suppress(OSError):  # who gives absolute paths may be in a folder that other machines do not have
        os.chdir(folder)
    keep_freed_memory()
