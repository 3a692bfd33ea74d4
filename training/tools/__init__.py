"""What training and inference share around the networks: checkpoints."""
