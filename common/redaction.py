"""URLs as they may be shown: without what lets others in."""

import re


def without_secrets(text: object) -> str:
    """`text` with *** for the user and password of its URLs, and for their queries, which can hold tokens.

    What is hidden is rather too much than too little: everything up to the last @ of a word, and from a ? on.
    """
    text = re.sub(r"(\w+://)?\S*@", lambda found: f"{found[1] or ''}***@", str(text))
    return re.sub(r"(?<=\S)\?\S+", "?***", text)
