"""Commands that measure. Nothing of the project imports them."""
