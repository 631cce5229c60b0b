"""The faulty link against a real small HTTP server: each fault is what its name says."""

from __future__ import annotations

import http.client
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from sync.testing.faulty_link import Fault, FaultRates, FaultyLink, faulty_link

WAIT_S = 20
CUT = (OSError, http.client.HTTPException)


class Upstream(ThreadingHTTPServer):
    """Notes what it received; answers with what the path asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []
        self.broken_bodies: list[bytes] = []
        self.heard = threading.Condition()
        self.meeting = threading.Barrier(2, timeout=WAIT_S)

    def handle_error(self, *_: object) -> None:
        """Say nothing: connections that break are what this is about."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def note(self, bodies: list[bytes], body: bytes) -> None:
        """Add `body` and wake who waits for it."""
        with self.heard:
            bodies.append(body)
            self.heard.notify_all()

    def wait_for(self, bodies: list[bytes], count: int) -> None:
        """Wait until `count` bodies are there."""
        with self.heard:
            assert self.heard.wait_for(lambda: len(bodies) >= count, timeout=WAIT_S)


class Handler(BaseHTTPRequestHandler):
    """What the server does with one connection."""

    protocol_version = "HTTP/1.1"
    server: Upstream

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def read_body(self) -> bytes:
        """The whole body, or what came of it."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self) -> None:
        """Note the body and answer with it."""
        body = self.read_body()
        whole = len(body) == int(self.headers.get("Content-Length", len(body)))
        self.server.note(self.server.bodies if whole else self.server.broken_bodies, body)
        if not whole:
            self.close_connection = True
            return
        if self.path == "/meet":  # answers only when two requests are here at the same time
            self.server.meeting.wait()
        self.answer(b"got " + body)

    def do_GET(self) -> None:
        """Answer in the way that the path names."""
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nfirst\r\n6;x=y\r\nsecond\r\n0\r\nX-Trailer: 1\r\n\r\n")
        elif self.path == "/until-end":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"no length")
        elif self.path == "/empty":
            self.send_response(204)
            self.end_headers()
        else:
            self.answer(b"x" * 200_000 if self.path == "/big" else b"hello")

    def do_HEAD(self) -> None:
        """A length without a body."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def answer(self, body: bytes) -> None:
        """Answer 200 with a length."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A server that notes what it receives."""
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join(WAIT_S)


@pytest.fixture
def link(upstream: Upstream) -> Iterator[FaultyLink]:
    """A link to it without faults of its own."""
    with faulty_link(upstream.url, rng=seeded(1)) as running:
        yield running


def seeded(seed: int) -> random.Random:
    """What the link draws its faults from."""
    return random.Random(seed)  # no secret


@contextmanager
def device(link: FaultyLink) -> Iterator[http.client.HTTPConnection]:
    """A connection to the link."""
    place = urlsplit(link.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=WAIT_S)
    try:
        yield connection
    finally:
        connection.close()


def ask(link: FaultyLink, path: str, body: bytes | None = None) -> bytes:
    """One request on a connection of its own; the body of the answer."""
    with device(link) as connection:
        connection.request("GET" if body is None else "POST", path, body)
        return connection.getresponse().read()


def test_without_faults_one_connection_carries_every_kind_of_message(link: FaultyLink) -> None:
    """Borders are seen right: lengths, chunks, answers without a body; then the next one works."""
    with device(link) as connection:
        for method, path, body, expected in [
            ("GET", "/chunked", None, b"firstsecond"),
            ("POST", "/", b"a" * 100_000, b"got " + b"a" * 100_000),
            ("GET", "/empty", None, b""),
            ("HEAD", "/", None, b""),
            ("POST", "/", iter([b"in ", b"chunks"]), b"got in chunks"),
            ("GET", "/big", None, b"x" * 200_000),
            ("GET", "/until-end", None, b"no length"),
        ]:
            connection.request(method, path, body)
            used = connection.sock
            assert connection.getresponse().read() == expected
        assert used is not None

    assert link.requests == 7
    assert not link.counts


def test_connection_is_kept_between_requests(link: FaultyLink) -> None:
    """A device that keeps its connection does so through the link too."""
    with device(link) as connection:
        connection.request("GET", "/")
        first = connection.sock
        connection.getresponse().read()
        connection.request("GET", "/chunked")
        connection.getresponse().read()

        assert connection.sock is first


def test_lost_answer_is_lost_after_the_server_has_answered(
    link: FaultyLink, upstream: Upstream
) -> None:
    """The classic duplicate: the server has done it, the device does not know."""
    link.force(Fault.ANSWER_LOST)

    with pytest.raises(CUT):
        ask(link, "/", b"once")

    assert upstream.bodies == [b"once"]
    assert link.counts == {Fault.ANSWER_LOST: 1}


def test_cut_before_never_reaches_the_server(link: FaultyLink, upstream: Upstream) -> None:
    """The other case that looks the same to the device."""
    link.force(Fault.CUT_BEFORE)

    with pytest.raises(CUT):
        ask(link, "/", b"never")

    assert ask(link, "/", b"again") == b"got again"
    assert upstream.bodies == [b"again"]
    assert upstream.broken_bodies == []


def test_cut_request_arrives_in_part(link: FaultyLink, upstream: Upstream) -> None:
    """The server sees a body that ends too early, and must do nothing with it."""
    link.force(Fault.REQUEST_CUT)
    body = bytes(range(256)) * 1_000

    with pytest.raises(CUT):
        ask(link, "/", body)

    upstream.wait_for(upstream.broken_bodies, 1)
    (part,) = upstream.broken_bodies
    assert 0 < len(part) < len(body)
    assert body.startswith(part)
    assert upstream.bodies == []


def test_doubled_request_is_there_twice_at_the_same_time(
    link: FaultyLink, upstream: Upstream
) -> None:
    """Both copies are in the server at once: it answers neither before it has both."""
    link.force(Fault.DOUBLED)

    answer = ask(link, "/meet", b"b" * 300_000)

    assert answer == b"got " + b"b" * 300_000
    assert upstream.bodies == [b"b" * 300_000] * 2
    assert link.requests == 1


def test_request_can_be_cut_in_its_head(upstream: Upstream) -> None:
    """Every region of a message is cut some time, the one before its body too."""
    rng = random.Random()
    rng.random = lambda: 0.05  # type: ignore[method-assign]
    with faulty_link(upstream.url, rng=rng) as link:
        link.force(Fault.REQUEST_CUT)
        with pytest.raises(CUT):
            ask(link, "/", b"b" * 300)

    assert b"b" not in b"".join([*upstream.bodies, *upstream.broken_bodies])


def test_truncated_answer_stops_before_its_end(link: FaultyLink) -> None:
    """The device sees a part of the answer and must not take it for all of it."""
    link.force(Fault.ANSWER_TRUNCATED)

    with device(link) as connection:
        connection.request("GET", "/big")
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as caught:
            response.read()

    assert response.status == 200
    assert len(caught.value.partial) < 200_000


def test_truncated_chunked_answer_has_no_last_chunk(link: FaultyLink) -> None:
    """An end that looks like the end would be taken for all of it."""
    link.force(Fault.ANSWER_TRUNCATED)

    with device(link) as connection:
        connection.request("GET", "/chunked")
        with pytest.raises(CUT):
            connection.getresponse().read()


def test_delayed_request_arrives_unchanged(upstream: Upstream) -> None:
    """Late is not lost."""
    rates = FaultRates(delayed=1, delay_s_max=0.01)
    with faulty_link(upstream.url, rates=rates, rng=seeded(1)) as link:
        assert ask(link, "/", b"late") == b"got late"

        assert link.counts == {Fault.DELAYED: 1}


def test_stalled_request_is_never_answered(link: FaultyLink, upstream: Upstream) -> None:
    """A black hole: the device has to give up by itself."""
    link.force(Fault.STALLED)

    with device(link) as connection:
        connection.timeout = 0.2
        connection.request("POST", "/", b"gone")
        with pytest.raises(TimeoutError):
            connection.getresponse()

    assert ask(link, "/", b"next") == b"got next"
    assert upstream.bodies == [b"next"]


def test_slow_request_arrives_whole(link: FaultyLink, upstream: Upstream) -> None:
    """In pieces, and with pauses, as from the edge of a cell."""
    link.force(Fault.SLOW)

    assert ask(link, "/", b"s" * 2_000) == b"got " + b"s" * 2_000
    assert upstream.bodies == [b"s" * 2_000]


def test_late_request_arrives_behind_the_next(upstream: Upstream) -> None:
    """The device has given it up, and sent another one: the order is not kept."""
    rates = FaultRates(delay_s_max=0.6)
    with faulty_link(upstream.url, rates=rates, rng=seeded(2)) as link:
        link.force(Fault.LATE)
        with pytest.raises(CUT):
            ask(link, "/", b"first")
        assert ask(link, "/", b"second") == b"got second"

        upstream.wait_for(upstream.bodies, 2)

    assert upstream.bodies == [b"second", b"first"]


def test_same_seed_gives_the_same_faults(upstream: Upstream) -> None:
    """A failing run can be repeated."""
    rates = FaultRates(answer_lost=0.3, cut_before=0.2, answer_truncated=0.2)

    def run(seed: int) -> list[bool]:
        with faulty_link(upstream.url, rates=rates, rng=seeded(seed)) as link:
            return [is_answered(link) for _ in range(40)]

    first = run(7)
    assert run(7) == first
    assert run(8) != first
    assert {True, False} == set(first)


def is_answered(link: FaultyLink) -> bool:
    """Whether a request gets its whole answer."""
    try:
        return ask(link, "/", b"z") == b"got z"
    except CUT:
        return False


def test_healed_link_loses_nothing(upstream: Upstream) -> None:
    """After the storm everything must drain, so the storm must be over."""
    with faulty_link(upstream.url, rates=FaultRates(cut_before=1), rng=seeded(1)) as link:
        assert not is_answered(link)
        link.force(Fault.STALLED)

        link.heal()

        assert all(is_answered(link) for _ in range(20))
        assert link.counts == {Fault.CUT_BEFORE: 1}


def test_other_protocols_pass_unchanged() -> None:
    """What is not HTTP is none of the link's business."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with faulty_link(url, rates=FaultRates(cut_before=1), rng=seeded(1)) as link:
            place = urlsplit(link.url)
            with socket.create_connection((place.hostname, place.port), timeout=WAIT_S) as client:
                client.sendall(b"*1\r\n$4\r\nPING\r\n")
                inner, _ = server.accept()
                with inner:
                    inner.settimeout(WAIT_S)
                    received = b""
                    while len(received) < 14:
                        received += inner.recv(100)
                    inner.sendall(b"+PONG\r\n")
                    assert received == b"*1\r\n$4\r\nPING\r\n"
                    assert client.recv(100) == b"+PONG\r\n"


def test_device_that_hangs_up_is_hung_up_on_the_server() -> None:
    """A server that holds streams open must learn that nobody listens any more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with faulty_link(url, rng=seeded(1)) as link:
            place = urlsplit(link.url)
            client = socket.create_connection((place.hostname, place.port), timeout=WAIT_S)
            client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            inner, _ = server.accept()
            with inner:
                inner.settimeout(WAIT_S)
                while b"\r\n\r\n" not in inner.recv(1_000):
                    pass
                client.close()
                assert inner.recv(1) == b""


def test_server_that_is_down_looks_like_a_cut(upstream: Upstream) -> None:
    """The link invents no answer of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with faulty_link(url, rng=seeded(1)) as link, pytest.raises(CUT):
        ask(link, "/")


def test_closing_cuts_what_is_open_and_ends_the_thread(upstream: Upstream) -> None:
    """No thread and no socket is left for the next test."""
    with faulty_link(upstream.url, rng=seeded(1)) as link:
        link.force(Fault.STALLED)
        place = urlsplit(link.url)
        client = socket.create_connection((place.hostname, place.port), timeout=WAIT_S)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")

    with client, suppress(ConnectionResetError):
        assert client.recv(1) == b""
    assert not [thread for thread in threading.enumerate() if thread.name == "faulty-link"]


@pytest.mark.parametrize("rates", [{"answer_lost": 0.6, "doubled": 0.6}, {"delayed": -0.1}])
def test_rates_that_are_no_shares_are_refused(rates: dict[str, float]) -> None:
    """A typing error must not silently turn into other faults."""
    with pytest.raises(ValueError, match="fault rates"):
        FaultRates(**rates)
