"""What changes a crop before a network sees it."""

import os

# albumentations asks the network for a newer release of itself when it is imported, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
