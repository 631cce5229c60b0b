"""The README's example, run as it stands over a real socket."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

import fieldsync

README = Path(__file__).parents[2] / "clients/python_sdk/README.md"
EXAMPLE_LINES_MAX = 24


@pytest.fixture
def cut_bodies() -> list[int]:
    """How many bytes of the next answers really arrive."""
    return []


@pytest.fixture
def url(server: Any, cut_bodies: list[int]) -> Iterator[str]:
    """The reference server behind a socket."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            length = int(self.headers.get("content-length", 0))
            request = httpx2.Request(
                self.command,
                "http://server" + self.path,
                headers=dict(self.headers),
                content=self.rfile.read(length),
            )
            response = server.handle(request)
            response.read()
            is_cut = cut_bodies and self.path.endswith("sync/push")
            body = response.content[: cut_bodies.pop()] if is_cut else response.content
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # likewise

        def log_message(self, *values: Any) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}"
    listener.shutdown()
    thread.join()
    listener.server_close()


def test_example_runs(
    server: Any,
    phone: Any,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Copied into a file, it does what it says."""
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    phone["sites"].create({"name": "Pump house"})
    phone.sync()
    monkeypatch.chdir(tmp_path)

    exec(compile(example.replace("http://127.0.0.1:8000", url), README, "exec"), {})  # noqa: S102

    assert example.count("\n") <= EXAMPLE_LINES_MAX
    assert capsys.readouterr().out.startswith("{'created': 2} ")
    (order,) = server.live("work_orders").values()
    assert order["priority"] == 1
    assert len(server.live("notes")) == 1


def test_answer_cut_on_the_wire_is_asked_for_again(
    server: Any, url: str, cut_bodies: list[int], tmp_path: Path
) -> None:
    """Less came than `Content-Length` promised: nobody may take that for an answer."""
    with fieldsync.Client(url, store=tmp_path / "phone.db", sleep=lambda wait_s: None) as client:
        client.login("tess", "fieldsync")
        client.collection("work_orders").create({"title": "x"})
        cut_bodies.append(30)

        report = client.sync()

    assert (report.retries, report.replays, len(server.applied)) == (1, 1, 1)


def test_nobody_listening_is_unreachable(tmp_path: Path) -> None:
    """A closed port is a bad link like any other."""
    waits: list[float] = []
    url = "http://127.0.0.1:9"
    client = fieldsync.Client(url, store=tmp_path / "phone.db", sleep=waits.append)
    with client, pytest.raises(fieldsync.Unreachable):
        client.login("tess", "fieldsync")

    assert len(waits) == 5
