"""Which crops an epoch sees, and how a crop becomes a network's input."""
