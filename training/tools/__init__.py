"""What the loop leans on: configs, checkpoints, precision, processes, schedules, records."""
