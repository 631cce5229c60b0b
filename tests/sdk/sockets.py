"""Servers on real sockets, good ones and bad ones."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    Handle = Callable[[httpx2.Request], httpx2.Response]


@contextmanager
def serve(
    handle: Handle, *, tls: ssl.SSLContext | None = None, ahead_s: float = 0.0
) -> Iterator[str]:
    """The address of a server that answers with `handle`, and whose clock is `ahead_s`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            request = httpx2.Request(
                self.command,
                "http://server" + self.path,
                headers=dict(self.headers),
                content=self.rfile.read(length),
            )
            response = handle(request)
            response.read()  # first syncs are streams
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                if name not in {"date", "transfer-encoding"}:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.content)

        do_POST = do_GET  # noqa: N815  # the library's name

        def date_time_string(self, timestamp: float | None = None) -> str:
            import time

            return formatdate((timestamp or time.time()) + ahead_s, usegmt=True)

        def log_message(self, *values: Any) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    scheme = "http" if tls is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{listener.server_port}"
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()
