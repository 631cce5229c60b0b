"""Any bytes at all, in every place where a stranger or a broken app can put some.

A real server is asked over a socket. Whatever it is asked, it never fails; what it refuses it
refuses with a problem document of its own, or, where it is no HTTP, as HTTP says.
"""

from __future__ import annotations

import string

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.hostile.target import Heard, Target, problem_of

REFUSED = frozenset({400, 401, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 422, 428, 431})
ours = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Any byte that HTTP lets stand in a header's value, and those of text that looks like something.
values = st.one_of(
    st.binary(max_size=300).map(
        lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127)
    ),
    st.text(string.printable, max_size=80).map(
        lambda text: text.replace("\r", "").replace("\n", "").replace("\x0b", "")
        .replace("\x0c", "").encode()
    ),
)  # fmt: skip
NAMES = (
    *(b"Accept", b"Accept-Encoding", b"Accept-Language", b"Content-Encoding", b"Content-Type"),
    *(b"Cookie", b"Expect", b"If-Match", b"If-None-Match", b"If-Modified-Since", b"Origin"),
    *(b"Idempotency-Key", b"Range", b"Referer", b"X-App-Version", b"X-Client-Time"),
    *(b"X-Forwarded-For", b"X-HTTP-Method-Override", b"X-Outbox-Rows", b"X-Request-ID"),
)
json_like = st.recursive(
    st.one_of(
        st.sampled_from([b"null", b"true", b"NaN", b'""', b"1e999", b"-0", b'"\\ud800"', b"[", b"}"]),
        st.integers().map(lambda number: str(number).encode()),
        st.text(max_size=8).map(lambda text: b'"' + text.encode("utf-8", "surrogatepass") + b'"'),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: b"[" + b",".join(parts) + b"]"),
        st.lists(
            st.tuples(
                st.sampled_from([b"mutations", b"op", b"id", b"collection", b"data", b"policy", b"x"]),
                inner,
            ),
            max_size=4,
        ).map(
            lambda pairs: b"{" + b",".join(b'"' + k + b'":' + v for k, v in pairs) + b"}"
        ),
    ),
    max_leaves=20,
)  # fmt: skip


def check_refused_or_served(heard: Heard) -> None:
    """An answer, and no failure; a refusal says why, in the shape that docs/errors.md names."""
    assert heard.status in REFUSED | {200, 304}, heard
    if heard.status in REFUSED:
        problem_of(heard)


@ours
@given(body=st.one_of(st.binary(max_size=2_000), json_like))
def test_any_body_of_a_push(target: Target, body: bytes) -> None:
    """Nothing of it is applied, unless it is a push."""
    check_refused_or_served(target.push(body))


@ours
@given(body=st.binary(max_size=500), encoding=st.sampled_from([b"gzip", b"zstd", b"br", b"x"]))
def test_any_packed_body_of_a_push(target: Target, body: bytes, encoding: bytes) -> None:
    """What does not unpack is refused; so is what nobody can unpack."""
    check_refused_or_served(target.push(body, Content_Encoding=encoding))


@ours
@given(headers=st.dictionaries(st.sampled_from(NAMES), values, max_size=5))
def test_any_headers(target: Target, headers: dict[bytes, bytes]) -> None:
    """Of a push and of a pull."""
    given_ = {name.decode().replace("-", "_"): value for name, value in headers.items()}
    body = b'{"policy":"per_row","mutations":[]}'
    check_refused_or_served(target.push(body, **given_))
    check_refused_or_served(target.pull(b"?limit=1", **given_))


@ours
@given(token=values)
def test_any_token(target: Target, token: bytes) -> None:
    """Whoever cannot be known is told to log in."""
    heard = target.pull(Authorization=b"Bearer " + token)

    assert heard.status in {400, 401}
    check_refused_or_served(heard)


@ours
@given(
    query=st.text(
        "".join(sorted(set(string.printable) - set(string.whitespace) - {"#"})), max_size=200
    )
)
def test_any_query(target: Target, query: str) -> None:
    """Cursor, limit and collections of a pull, or none of them."""
    for name in ("cursor", "limit", "collections", "wait", ""):
        check_refused_or_served(target.pull(f"?{name}={query}".encode()))


@ours
@given(
    name=st.sampled_from(["token", "refresh", "logout"]),
    body=st.one_of(st.binary(max_size=400), json_like),
)
def test_any_login(target: Target, name: str, body: bytes) -> None:
    """Without a token, from anybody."""
    headers = {b"Content-Type": b"application/json", b"Content-Length": str(len(body)).encode()}
    heard = target.send(b"POST", f"/api/v1/auth/{name}".encode(), headers, body)

    assert heard.status in REFUSED | {429}
    problem_of(heard)


@ours
@given(request=st.binary(max_size=600))
def test_any_bytes_in_place_of_a_request(target: Target, request: bytes) -> None:
    """Closed, or told that it is no HTTP; nobody else notices."""
    assert target.send_raw(request + b"\r\n\r\n", hangs_up=True).status in REFUSED | {
        0,
        200,
        501,
        505,
    }


@pytest.fixture(autouse=True, scope="module")
def _afterwards(target: Target):  # type: ignore[no-untyped-def]
    yield
    target.check_well()
