"""Reading a written report back: its elements and the data in it."""

import json
from html.parser import HTMLParser

from reporting.build import write_report


class Page(HTMLParser):
    """The elements of a page, and the JSON blocks in it by id."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.blocks, self._id = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self._id = attributes.get("id") if attributes.get("type") == "application/json" else None

    def handle_data(self, data):
        if self._id:
            self.blocks[self._id] = json.loads(data)

    def handle_endtag(self, tag):
        self._id = None

    @property
    def rows(self):
        return {row["name"]: row for row in self.blocks["head"]["videos"]}

    def opened(self, name):
        return self.blocks[f"data-{list(self.rows).index(name)}"]


def page(path):
    return Page(path.read_text(encoding="utf-8"))


def written_page(path, records, **options):
    """The report on records, read back as a page."""
    return page(write_report(records, path, overwrite=True, **options).path)
