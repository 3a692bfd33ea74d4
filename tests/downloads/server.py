"""A server that answers as its script says, and decently when the script is over."""

import gzip
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers with the next entry of the server's script, and decently when there is none."""

    cut_after = None
    announced = None

    def do_GET(self):
        name = self.requestline.split()[1].removeprefix("/")  # self.path hides a doubled slash
        self.server.asked.append((name, self.headers["Range"]))
        answer = self.server.script.pop(0) if self.server.script else serve
        answer(self, self.server.files.get(name))

    def send(self, status, body, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if self.announced is None else self.announced))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body[: self.cut_after])

    def log_message(self, *_):
        pass


def serve(handler, content):
    """What a decent server does: 404, ranges, If-Range, 416, ETag."""
    if content is None:
        return handler.send(404, b"nothing here")
    size, etag = len(content), f'"{hashlib.sha256(content).hexdigest()[:8]}"'
    wanted = handler.headers["Range"]
    if not wanted or handler.headers.get("If-Range", etag) != etag:
        return handler.send(200, content, ETag=etag)
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    if start >= size:
        return handler.send(416, b"", Content_Range=f"bytes */{size}")
    return handler.send(206, content[start:], Content_Range=f"bytes {start}-{size - 1}/{size}", ETag=etag)


def cut_off_after(size):
    def answer(handler, content):
        handler.cut_after = size
        serve(handler, content)

    return answer


def announce(size):
    def answer(handler, content):
        handler.announced = size
        serve(handler, content)

    return answer


def without(header):
    """A server that does not know one of the request's headers."""

    def answer(handler, content):
        del handler.headers[header]
        serve(handler, content)

    return answer


def wrong_range(handler, content):
    handler.send(206, content[10:], Content_Range=f"bytes 10-{len(content) - 1}/{len(content)}")


def first_bytes_of_the_rest(handler, content):
    start = start_of(handler.headers["Range"])
    body = content[start : start + 50_000]
    handler.send(206, body, Content_Range=f"bytes {start}-{start + len(body) - 1}/{len(content)}")


def compressed_if_accepted(handler, content):
    if "gzip" in handler.headers["Accept-Encoding"]:
        return handler.send(200, gzip.compress(content), Content_Encoding="gzip")
    return serve(handler, content)


def unavailable(handler, _):
    handler.send(503, b"")


def busy(handler, _):
    handler.send(429, b"")


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.script, self.asked = {}, [], []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        """Clients may hang up; that is no news here."""


def ranges(server):
    return [wanted for _, wanted in server.asked]


def start_of(wanted):
    return int(wanted.removeprefix("bytes=").removesuffix("-"))
