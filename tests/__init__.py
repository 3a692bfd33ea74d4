"""The tests. Their settings of the process are made here, before anything imports torch."""

import os

# As the training command does: several processes on few cores must not wait by spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
