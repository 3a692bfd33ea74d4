"""Runs the training command, and sends its whole process group a signal at a given moment; under torchrun the process
of rank 1 alone, and only before the first restart.

    python -m tests.interrupted_run SIGNAL MOMENT [arguments of train_classifier]

MOMENT is epoch:batch (before that batch is trained) or epoch:validation.
"""

import os
import signal
import sys

from common.errors import run_command
from training.pipelines import train_classifier


def interrupt_at(number: signal.Signals, epoch: int, when: str) -> None:
    from training.trainer import Trainer

    step, validate = Trainer.train_step, Trainer.validate

    def here(trainer: Trainer, moment: str) -> None:
        if trainer.position.epoch == epoch and moment == when:
            _send(number)

    def train_step(self, batch):
        here(self, str(self.position.batch))
        return step(self, batch)

    def validation(self):
        here(self, "validation")
        return validate(self)

    Trainer.train_step, Trainer.validate = train_step, validation


def _send(number: signal.Signals) -> None:
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT")
    if restarts is None:
        os.killpg(0, number)
    elif (os.environ["RANK"], restarts) == ("1", "0"):
        os.kill(os.getpid(), number)


if __name__ == "__main__":
    name, moment, *arguments = sys.argv[1:]
    epoch, _, when = moment.partition(":")
    # As the command does, before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    interrupt_at(signal.Signals[name], int(epoch), when)
    run_command(lambda: train_classifier.main(arguments))
