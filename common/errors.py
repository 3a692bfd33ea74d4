"""Errors a user can cause, and how a command ends on them: one line, no traceback."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

INTERRUPTED = 130  # what shells report for a command that Ctrl-C ended
TERMINATED = 143  # or SIGTERM, which is what kill, systemd and Slurm send
KEPT = "what is done is kept, the same command goes on from there"
REMOVING = "what was there before is not all removed; the same command goes on"
KEPT_OF_NEW = "what is done is kept, the same command without --overwrite goes on from there"


class UserError(Exception):
    """Something the user can put right. The message is one line: what is wrong, with which file, what to do."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: the command ends as with Ctrl-C."""


@contextmanager
def keeping_what_is_done(how: str = KEPT) -> Iterator[None]:
    """An interruption of the block says how the command goes on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise type(error)(how) from error


def one_line(text: object) -> str:
    """`text` with its line breaks shown as spaces, for messages that must stay on one line.

    What else is not to be seen, such as the codes that a terminal obeys, is shown as an escape: names may hold any.
    """
    line = " ".join(str(text).split())
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def exit_on_user_error(main: Callable[[], int]) -> NoReturn:
    """Run a command's `main` and exit with its code; a UserError or a failing file operation becomes one line."""
    try:
        code = main()
    except UserError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        code = 2
    except OSError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt as error:
        by_signal = isinstance(error, Terminated)
        what, code = ("stopped by SIGTERM", TERMINATED) if by_signal else ("interrupted", INTERRUPTED)
        print(f"{what}{': ' if error.args else ''}{error}", file=sys.stderr)
    sys.exit(code)


def run_command(main: Callable[[], int]) -> NoReturn:
    """`exit_on_user_error` for a process of its own: prints any file name, and does not outlive an interruption.

    The first SIGTERM is an interruption, another one ends the process at once.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        exit_on_user_error(main)
    except SystemExit as end:
        if end.code in (INTERRUPTED, TERMINATED):
            # Threads that are decoding would be waited for; nothing they could still do is wanted.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)
        raise


def _terminate(*_) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated
