"""One HTML file out of a template, style sheets, scripts and data, which asks nothing of any network.

The page's policy allows its own scripts and styles by their hashes and nothing else, so that text from a file name
could not run even if it became markup.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from common.places import Remote, place, writing

HERE = Path(__file__).parent


def write_page(
    path: str | Path | Remote, template: str, styles: Sequence[str], scripts: Sequence[str], **content: Any
) -> Path | Remote:
    """Render `template` with `content` to `path`, with the named files of `static` in it. Raises OSError."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _joined(styles), _joined(scripts)
    stream = environment.get_template(template).stream(
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        **content,
    )
    # Names that are not valid Unicode are in the data, with escapes; elsewhere they may not keep a page from existing.
    with writing(path) as temporary:
        stream.dump(str(temporary), encoding="utf-8", errors="backslashreplace")
    return place(path)


def json_block(value: Any) -> Markup:
    """`value` as JSON that may stand inside a script element: no `<` can end it, no character needs an encoding.

    Raises ValueError on nan and inf, which JSON does not have.
    """
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def _joined(names: Sequence[str]) -> str:
    return "\n" + "\n".join((HERE / "static" / name).read_text(encoding="utf-8") for name in names)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
