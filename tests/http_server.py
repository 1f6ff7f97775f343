"""A web server on loopback for tests: serves bytes with Range and If-Range, and misbehaves as it is told."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file of the server.

    `faults` are taken one per request, in order; afterwards the server behaves. N is a number:

    - cut:N sends N bytes less than announced, short:N announces N bytes less than there are, more:N announces no length
      and sends N bytes too many, unsized announces none, unsized_cut:N ends N bytes early without a word
    - whole ignores Range, whole_cut:N does so and is cut, from_zero answers a range with the beginning
    - status:N answers N, later:N 503 with Retry-After N, moved redirects to /moved, page sends a web page, drop closes
      the connection unanswered
    """

    content: bytes
    etag: str | None = '"v1"'
    faults: list[str] = field(default_factory=list)


class Server:
    """Files by path; `asked` holds (path, Range or '', status) of every request."""

    def __init__(self, port: int) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[tuple[str, str, int]] = []
        self.address = f"http://127.0.0.1:{port}"

    def serve(self, path: str, content: bytes, *faults: str, etag: str | None = '"v1"') -> str:
        """Serve bytes; returns their address."""
        self.files[path] = Served(content, etag, list(faults))
        return self.address + path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        state = self.server_state
        asked = self.headers.get("Range", "")
        served = state.files.get(self.path)
        fault, _, value = (served.faults.pop(0) if served and served.faults else "").partition(":")
        n = int(value) if value else 0
        if served is None or fault == "status":
            return self._answer(404 if served is None else n, asked)
        if fault == "drop":
            state.asked.append((self.path, asked, 0))
            self.close_connection = True
            return None
        if fault == "later":
            return self._answer(503, asked, {"Retry-After": value})
        if fault == "moved":
            return self._answer(302, asked, {"Location": "/moved"})
        if fault == "page":
            return self._answer(200, asked, {"Content-Type": "text/html; charset=utf-8"}, b"<html>sign in</html>")
        self._send(served, asked, fault, n)

    def _send(self, served: Served, asked: str, fault: str, n: int) -> None:
        size = len(served.content)
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        fresh = self.headers.get("If-Range") in (None, served.etag)
        ranged = match is not None and fresh and not fault.startswith("whole")
        start = int(match[1]) if match and ranged else 0
        headers = {"ETag": served.etag} if served.etag else {}
        if ranged and start >= size:
            return self._answer(416, asked, {"Content-Range": f"bytes */{size}"})
        if fault == "from_zero":
            start = 0
        body = served.content[start:]
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self.server_state.asked.append((self.path, asked, 206 if ranged else 200))
        self.send_response(206 if ranged else 200)
        for name, text in headers.items():
            self.send_header(name, text)
        if fault in ("unsized", "unsized_cut"):
            self.send_header("Connection", "close")
        elif fault == "more":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body) - (n if fault == "short" else 0)))
        self.end_headers()
        if fault == "more":
            body += bytes(n)
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            return None
        self.wfile.write(body[: len(body) - n] if fault in ("cut", "whole_cut", "unsized_cut") else body)
        if fault in ("cut", "whole_cut", "short", "unsized", "unsized_cut"):
            self.close_connection = True
        return None

    def _answer(self, status: int, asked: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.server_state.asked.append((self.path, asked, status))
        self.send_response(status)
        for name, text in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)


class _Quiet(ThreadingHTTPServer):
    """A client that hangs up is what the tests are about, and nothing to print."""

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def running_server() -> Iterator[Server]:
    """A server on a free port of this machine, until the block ends."""
    handler = type("Handler", (_Handler,), {})
    with _Quiet(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        handler.server_state = Server(http.server_address[1])
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield handler.server_state
        finally:
            http.shutdown()
            thread.join()
