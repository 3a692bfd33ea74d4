"""What asks a run to stop, and with which exit code it then ends."""

import os
import signal

import pytest

from training.tools.stopping import stop_request


def test_first_signal_counts(capfd):
    with stop_request() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # what train.sh passes on
        assert stop and (stop.name, stop.exit_code) == ("SIGINT", 130)
    assert capfd.readouterr().err.count("stopping after this batch") == 1


def test_second_ctrl_c_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt), stop_request():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
