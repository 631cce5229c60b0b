"""What a real server does with requests and answers of every kind."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import httpx2
import pytest

from tests.serving.conftest import (
    ODD,
    QUEUE,
    THREADS,
    Odd,
    begin,
    connect,
    exchange,
    fill_queue,
    read_until,
)

pytestmark = pytest.mark.xdist_group("serving")

MIB = 1024 * 1024
PIECE, ROWS = b"0123456789abcdef" * 1024, 3_000  # as the server has them


def test_request_arrives_as_it_was_sent(odd: Odd) -> None:
    """Scheme and client are those that the proxy names: redirects and the log depend on them."""
    with odd.client() as client:
        answer = client.post(
            ODD + "mirror/%C3%A9t%C3%A9%2Fx?a=1&b=%C3%A9",
            content=b"body",
            headers={"X-Forwarded-For": "203.0.113.9", "Cookie": "s=1; t=2"},
        )

    assert answer.json() == {
        "method": "POST",
        "path": "/api/odd/mirror/été/x",
        "query": {"a": "1", "b": "é"},
        "scheme": "https",
        "host": f"127.0.0.1:{odd.server.port}",
        "client": "203.0.113.9",
        "cookies": {"s": "1", "t": "2"},
        "length": "4",
        "sha256": hashlib.sha256(b"body").hexdigest(),
        "file": None,
    }
    assert answer.headers.get_list("set-cookie") == ["one=1; Path=/", "two=2; Path=/"]
    assert answer.headers["x-accent"].encode("latin-1").decode("latin-1") in {"é", "Ã©"}


def test_plain_http_is_sent_on_to_https(odd: Odd) -> None:
    """A request that came over no proxy is not secure, whatever it says."""
    answer = httpx2.get(f"{odd.server.url}/api/odd/mirror")

    assert (answer.status_code, answer.headers["location"][:8]) == (301, "https://")


@pytest.mark.parametrize("size", [0, 1, 100_000, 3 * MIB])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_body_arrives_in_any_framing(odd: Odd, size: int, is_chunked: bool) -> None:
    """In memory or on disk, with a length or without."""
    body = bytes(index % 251 for index in range(size))

    def chunks() -> Iterator[bytes]:
        for start in range(0, size, 50_000):
            yield body[start : start + 50_000]

    with odd.client() as client:
        answer = client.post(ODD + "mirror", content=chunks() if is_chunked else body)

    assert answer.json()["sha256"] == hashlib.sha256(body).hexdigest()
    assert answer.json()["length"] in ({str(size)} if size else {"0", None})


def test_form_with_a_file_is_read(odd: Odd) -> None:
    """As the admin's are."""
    content = PIECE * 100

    with odd.client() as client:
        answer = client.post(
            ODD + "mirror", data={"name": "x"}, files={"file": ("a.bin", content)}
        )

    assert answer.json()["file"] == hashlib.sha256(content).hexdigest()


def test_head_has_the_headers_and_no_body(odd: Odd) -> None:
    """Also of a stream that has no end."""
    with odd.client() as client:
        plain, stream = client.head(ODD + "mirror"), client.head(ODD + "stream/polite")
        again = client.get(ODD + "mirror")  # on the same connection: nothing goes on behind it

    assert int(plain.headers["content-length"]) > 0
    assert (plain.content, stream.content) == (b"", b"")
    assert (plain.status_code, stream.status_code, again.status_code) == (200, 200, 200)


def test_options_says_what_may_be_asked(odd: Odd) -> None:
    """Through the whole chain: a device that is nobody is told to log in."""
    with odd.client() as client:
        answer = client.options("/api/v1/sync/limits")

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_http_1_0_is_answered_and_hung_up(odd: Odd) -> None:
    """Health checks of old load balancers speak it."""
    answer = exchange(odd, "GET /api/odd/mirror HTTP/1.0\nX-Forwarded-Proto: https\n\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == b"200"
    assert b"content-length: %d" % len(body) in head.lower()
    assert b"transfer-encoding" not in head.lower()


def test_websocket_is_refused(odd: Odd) -> None:
    """Nothing here speaks it; the client hears so at once."""
    answer = exchange(
        odd,
        "GET /api/odd/mirror HTTP/1.1\nHost: localhost\nConnection: Upgrade\nUpgrade: websocket\n"
        "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n",
    )

    assert answer.split()[1] == b"403"


def test_crash_of_the_server_itself_is_a_document(odd: Odd) -> None:
    """With the request's id, which the log has too, and nothing of the inside."""
    with odd.client() as client:
        answer = client.get(ODD + "crash", headers={"X-Request-Id": "trace-0123"})

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "trace-0123"
    assert answer.json()["code"] == "internal_error"
    assert "Unicode" not in answer.text
    assert "request trace-0123 failed" in (odd.folder / "server.log").read_text()


@pytest.mark.parametrize("pieces", [0, 1, 300])
def test_file_is_sent_whole(odd: Odd, pieces: int) -> None:
    """Static files too go this way."""
    answer = odd.get(f"file/{pieces}")

    assert answer.content == PIECE * pieces
    assert answer.headers["content-length"] == str(len(PIECE) * pieces)


def test_static_file_is_served(odd: Odd) -> None:
    """The admin's style sheet, with nothing collected."""
    with odd.client() as client:
        answer = client.get("/static/admin/css/base.css")

    assert answer.headers["content-type"] == 'text/css; charset="utf-8"'
    assert len(answer.content) == int(answer.headers["content-length"])


@pytest.mark.own_session
def test_export_from_a_database_cursor_is_sent_whole(odd: Odd) -> None:
    """Where the view ran: the cursor belongs to that thread's connection."""
    expected = b"".join(f"{number}\n".encode() * 10 for number in range(1, ROWS + 1))

    with ThreadPoolExecutor(THREADS) as clients:
        answers = list(clients.map(odd.get, ["rows/0"] * THREADS))

    assert [answer.content for answer in answers] == [expected] * THREADS


@pytest.mark.parametrize("path", ["rows/2000", "stream/broken"])
def test_stream_that_fails_is_cut(odd: Odd, path: str) -> None:
    """Nobody must take a part for the whole; what went wrong is for the log."""
    with odd.client() as client, pytest.raises(httpx2.RemoteProtocolError):
        client.get(ODD + path)

    answer = exchange(
        odd,
        f"GET /api/odd/{path} HTTP/1.1\nHost: localhost\nX-Forwarded-Proto: https\n"
        "Connection: close\n\n",
    )
    assert b"secret" not in answer
    assert "a secret of the server" in (odd.folder / "server.log").read_text()


def test_stream_that_ends_is_complete(odd: Odd) -> None:
    """And the connection is good for the next request."""
    with odd.client() as client:
        assert client.get(ODD + "stream/short").content == b"7\n8\n"
        assert client.get(ODD + "stream/short").content == b"7\n8\n"


def test_streams_hold_no_thread(odd: Odd) -> None:
    """Many more phones listen than there are threads, and pushes go on."""
    links = []
    try:
        for _ in range(THREADS * 5):
            links.append(begin(odd, "stream/polite"))
            read_until(links[-1], b"7\n")
        assert odd.get("mirror").status_code == 200
    finally:
        for link in links:
            link.close()


@pytest.mark.parametrize("manners", ["polite", "deaf", "fast"])
def test_stream_is_closed_when_its_client_has_gone(odd: Odd, manners: str) -> None:
    """Also one that stands because nobody reads."""
    link = begin(odd, f"stream/{manners}")
    read_until(link, b"\r\n\r\n")
    link.close()

    odd.wait_for(f"{manners}-closed")


def test_stream_is_made_no_faster_than_it_is_read(odd: Odd) -> None:
    """Memory stays flat when a phone with a weak link asks for everything."""
    link = begin(odd, "stream/fast")
    with closing(link):
        seen = ""
        for _ in range(200):  # it comes to stand when all buffers between us are full
            odd.get("mirror")
            now = (odd.folder / "pieces").read_text() if (odd.folder / "pieces").exists() else ""
            if seen == now != "":
                break
            seen = now

        assert seen == now != ""
    odd.wait_for("fast-closed")


def test_held_request_is_made_again(odd: Odd) -> None:
    """When something has happened; it holds no thread until then."""
    with ThreadPoolExecutor(THREADS * 3) as clients:
        waiting = []
        for number in range(THREADS * 3):
            waiting.append(clients.submit(odd.get, f"hold/{number}"))
            odd.wait_for(f"holding-{number}")
        assert odd.get("mirror").status_code == 200
        odd.tell("news")
        answers = [each.result().json() for each in waiting]

    assert answers == [{"held": True, "news": True}] * (THREADS * 3)


def test_hold_that_fails_is_over(odd: Odd) -> None:
    """Redis away, say: the phone gets an answer, and asks again later."""
    odd.tell("fail")
    odd.tell("news")

    assert odd.get("hold/1").json() == {"held": True, "news": True}
    assert "its hold failed" in (odd.folder / "server.log").read_text()


def test_hold_ends_when_its_client_has_gone(odd: Odd) -> None:
    """Else a restless phone would leave one behind with every request."""
    link = begin(odd, "hold/1")
    odd.wait_for("holding-1")
    link.close()

    odd.wait_for("hold-cancelled")


def test_request_beyond_the_queue_is_told_when_to_come_back(odd: Odd) -> None:
    """At once, while it can still go elsewhere; not all at the same time."""
    with ExitStack() as cleanup:
        with odd.threads_taken(1):
            served = [cleanup.enter_context(begin(odd, "wait/1")) for _ in range(THREADS)]
            odd.wait_until_standing(THREADS, 1)
            served += [cleanup.enter_context(link) for link in fill_queue(odd)]
            refused = [odd.get("mirror") for _ in range(20)]
            client = cleanup.enter_context(odd.client())
            giant = client.post(ODD + "mirror", content=b"x" * 3 * MIB)
        heads = [read_until(link, b"\r\n\r\n") for link in served]
        again = client.post(ODD + "mirror", content=b"x")

    assert [head.split()[1] for head in heads] == [b"200"] * (THREADS + QUEUE)
    assert (giant.status_code, again.status_code) == (503, 200)
    for answer in refused:
        assert answer.status_code == 503
        assert answer.json()["code"] == "temporarily_unavailable"
        assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert len({answer.headers["retry-after"] for answer in refused}) > 1
    assert {int(answer.headers["retry-after"]) for answer in refused} <= {1, 2, 3, 4, 5}


def test_upload_that_ends_when_the_queue_is_full_is_refused(odd: Odd) -> None:
    """It had no place while it came in: a slow link would keep one from those who are quick."""
    with ExitStack() as cleanup:
        slow = cleanup.enter_context(connect(odd))
        slow.sendall(
            b"POST /api/odd/mirror HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n"
            b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        )
        read_until(slow, b"100 Continue\r\n\r\n")
        with odd.threads_taken(3):
            served = [cleanup.enter_context(begin(odd, "wait/3")) for _ in range(THREADS)]
            odd.wait_until_standing(THREADS, 3)
            served += [cleanup.enter_context(link) for link in fill_queue(odd)]
            slow.sendall(b"x")

            assert read_until(slow, b"\r\n\r\n").split()[1] == b"503"


def test_answer_that_nobody_waits_for_is_dropped(odd: Odd) -> None:
    """The work goes on to its end, and its thread to the next."""
    with odd.threads_taken(2):
        links = [begin(odd, "wait/2") for _ in range(THREADS)]
        odd.wait_until_standing(THREADS, 2)
        for link in links:
            link.close()

    assert [odd.get("mirror").status_code for _ in range(THREADS)] == [200] * THREADS
