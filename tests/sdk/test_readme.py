"""The README: its examples, run as they stand over a real socket, and its tables."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

import fieldsync
from fieldsync.client import AsyncOptions, Options

README = Path(__file__).parents[2] / "clients/python_sdk/README.md"
TEXT = README.read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
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


@pytest.fixture
def run(phone: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run an example in an empty folder."""
    phone["sites"].create({"name": "Pump house"})
    phone.sync()
    monkeypatch.chdir(tmp_path)

    def run(example: str) -> None:
        exec(compile(example.replace("http://127.0.0.1:8000", url), README, "exec"), {})  # noqa: S102

    return run


def test_example_runs(server: Any, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Copied into a file, it does what it says."""
    run(EXAMPLES[0])

    assert EXAMPLES[0].count("\n") <= EXAMPLE_LINES_MAX
    assert capsys.readouterr().out.startswith("{'created': 2} ")
    (order,) = server.live("work_orders").values()
    assert order["priority"] == 1
    assert len(server.live("notes")) == 1


def test_the_other_examples_run_behind_it(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A client that syncs by itself, and one on an event loop, on the store that the first made."""
    for example in EXAMPLES:
        run(example)

    *_, own_round, pulled = capsys.readouterr().out.splitlines()
    assert own_round == "0 0 None"
    assert pulled == "0"


def names_of(*kinds: type) -> set[str]:
    """Return what an author may call on these."""
    return {
        f"{kind.__name__.lower()}.{name}"
        for kind in kinds
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_every_call_is_in_its_table() -> None:
    """And none that is not there."""
    calls = names_of(fieldsync.Client, fieldsync.Collection, fieldsync.Issue)

    assert set(re.findall(r"`((?:client|collection|issue)\.\w+)\(", TEXT)) == calls


def test_every_option_is_in_its_table() -> None:
    section = TEXT.partition("\n## Options\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", section, re.M))))

    assert named == {*Options.__annotations__, *AsyncOptions.__annotations__, "store"}


def test_every_error_is_in_its_table_with_its_class() -> None:
    section = TEXT.partition("\n## Errors\n")[2]
    told = {
        name: classes
        for line in re.findall(r"^\| `.*$", section, re.MULTILINE)
        for name in re.findall(r"`([A-Z]\w+)`", line.split("|")[1])
        for classes in re.findall(r"`(\w+)`", line.split("|")[2])
    }

    errors = [each for each in vars(fieldsync).values() if inspect.isclass(each)]
    assert told == {
        each.__name__: str(each.error_class)
        for each in errors
        if issubclass(each, fieldsync.FieldsyncError) and each is not fieldsync.FieldsyncError
    }


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
