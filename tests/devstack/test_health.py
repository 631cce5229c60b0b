"""The container's health check, against a real server that answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from backend.devstack.health import is_healthy
from backend.devstack.listeners import find_free_port


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A server that answers everything with `status`: its port, and the headers it was sent."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            seen.append(dict(self.headers))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, seen
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "healthy"), [(200, True), (301, True), (401, True), (500, False), (503, False)]
)
def test_only_a_failure_of_the_server_is_unhealthy(status: int, healthy: bool) -> None:
    """Who asks without logging in is refused, by a server that is well."""
    with answering(status) as (port, _):
        assert is_healthy(port=port, environ={}) is healthy


def test_server_that_does_not_answer_is_unhealthy() -> None:
    """A process that is there and serves nobody is what the check is for."""
    assert not is_healthy(port=find_free_port(), environ={})


@pytest.mark.parametrize(
    ("allowed_hosts", "asked"),
    [
        ("sync.example.com, other.example.com", "sync.example.com"),
        (".example.com", "example.com"),
        ("*", "localhost"),
        ("", "localhost"),
    ],
)
def test_server_is_asked_as_its_proxy_would(allowed_hosts: str, asked: str) -> None:
    """An unknown host name would put an error into the log every ten seconds."""
    with answering(200) as (port, seen):
        is_healthy(port=port, environ={"ALLOWED_HOSTS": allowed_hosts})

    (headers,) = seen
    assert (headers["Host"], headers["X-Forwarded-Proto"]) == (asked, "https")
