"""Transport: one HTTP request, one answer.

    Request -> [ httpx2 ] -> Answer -> what it means: `verdict`
                               `- stream -> piece by piece, where one was opened

No retry here, no state, no store.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import WeakSet

import msgspec
from msgspec.structs import replace

from fieldsync.errors import (
    TransportFailure,
)
from fieldsync.wire import API_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import httpx2

H = TypeVar("H")
OK = 200


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request below the API's path. `headers` come on top of those of every request."""

    method: str
    path: str
    params: Mapping[str, str | int] = msgspec.field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes  # empty where there is a `stream`
    received_at: datetime
    stream: Stream | AsyncStream | None = None
    took_s: float = 0.0  # from the request to the end of the answer

    @property
    def kind(self) -> str:
        """Its media type, without parameters."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Whether it claims to be JSON, plain or a problem document."""
        return self.kind == "application/json" or self.kind.endswith("+json")

    @property
    def is_replay(self) -> bool:
        """Whether the server had this answer from before."""
        return self.headers.get("idempotency-replayed", "").lower() == "true"

    @property
    def retry_after_s(self) -> float | None:
        """Seconds of `Retry-After`, which may also be a date. Source: RFC 9110, 10.2.3."""
        text = self.headers.get("retry-after", "").strip()
        if text.isdecimal():
            return float(text)
        from email.utils import parsedate_to_datetime  # slow to import, and rare

        try:
            until = parsedate_to_datetime(text)
        except ValueError:
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max((until - self.received_at).total_seconds(), 0.0)


class Stream:
    """An answer that is read piece by piece; unpacked, as it comes."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._pieces = response.iter_bytes()

    def read(self) -> bytes:
        """The next piece; nothing at the end. Raises: TransportFailure."""
        with _failing():
            piece = next(self._pieces, b"")
        if not piece:
            self._response.close()
        return piece

    def close(self) -> None:
        """Read no more of it."""
        self._response.close()

    def shut(self) -> None:
        """End its link, from another thread: who reads there fails at once, and closes it."""
        network = self._response.extensions.get("network_stream")
        link = network and network.get_extra_info("socket")
        if link is None:
            self._response.close()
            return
        # Closing alone would not wake a thread that waits for what comes.
        with suppress(OSError):  # it has ended by itself
            link.shutdown(socket.SHUT_RDWR)


class AsyncStream:
    """The same on an event loop."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._pieces = response.aiter_bytes()

    async def read(self) -> bytes:
        """The next piece; nothing at the end. Raises: TransportFailure."""
        with _failing():
            piece = await anext(self._pieces, b"")
        if not piece:
            await self._response.aclose()
        return piece

    async def close(self) -> None:
        """Read no more of it."""
        await self._response.aclose()


class Wording(msgspec.Struct, frozen=True, kw_only=True):
    """How requests are put: what both transports have in common. `url` is the server's root."""

    url: str
    timeout_s: float
    user_agent: str
    now: Callable[[], datetime]
    app_version: str = ""  # so that an app that was updated is known by it without a new login

    def arguments(self, request: Request, access: str | None) -> dict[str, Any]:
        """What httpx2 wants to know of `request`."""
        headers = {
            "Accept": "application/json, application/problem+json",
            "User-Agent": self.user_agent,
            "X-Client-Time": self.now().isoformat().replace("+00:00", "Z"),
            **request.headers,
        }
        if self.app_version.isascii() and self.app_version.isprintable() and self.app_version:
            headers["X-App-Version"] = self.app_version
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if access is not None:
            headers["Authorization"] = f"Bearer {access}"
        return {
            "method": request.method,
            "url": self.url.rstrip("/") + API_PATH + request.path,
            "params": dict(request.params) or None,
            "content": request.body,
            "headers": headers,
        }

    def time_out(self, quiet_s: float | None = None) -> httpx2.Timeout:
        """The longest waits; for a stream, `quiet_s` between two of its pieces."""
        import httpx2  # here and below: see `Lazy`

        return httpx2.Timeout(self.timeout_s, read=quiet_s or self.timeout_s)

    def answer(
        self, response: httpx2.Response, stream: Stream | AsyncStream | None = None
    ) -> Answer:
        """The answer that has come."""
        return Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=b"" if stream else response.content,
            received_at=self.now(),
            stream=stream,
        )


class Lazy(Generic[H]):
    """The connections of a transport: those that were `given`, or some of its own.

    Its own are made for the first request: httpx2 and certificates take long to load, and an app
    that starts may have no link.
    """

    def __init__(self, given: H | None, make: Callable[[], H]) -> None:
        self._given = given
        self._make = make
        self._own: H | None = None
        self._is_ended = False
        self._lock = threading.Lock()

    def get(self) -> H:
        """The connections. Raises: TransportFailure when they are closed."""
        with self._lock:
            if self._is_ended:
                raise TransportFailure("the client is closed")
            if self._given is None and self._own is None:
                self._own = self._make()
            return cast("H", self._given or self._own)

    def end(self) -> H | None:
        """Give out no more of them; returns what has to be closed."""
        with self._lock:
            self._is_ended = True
            return self._own


def _make_client() -> httpx2.Client:
    import httpx2

    return httpx2.Client()


def _make_async_client() -> httpx2.AsyncClient:
    import httpx2

    return httpx2.AsyncClient()


class Transport:
    """Sends requests to one server."""

    def __init__(self, wording: Wording, http: httpx2.Client | None = None) -> None:
        self._wording = wording
        self._http = Lazy(http, _make_client)
        self._streams: WeakSet[Stream] = WeakSet()

    def send(self, request: Request, *, access: str | None = None) -> Answer:
        """The answer to `request`, complete but unchecked. Raises: TransportFailure."""
        arguments = self._wording.arguments(request, access)
        began = time.monotonic()
        with _failing():
            response = self._http.get().request(
                **arguments, timeout=self._wording.time_out(), follow_redirects=False
            )
        return replace(self._wording.answer(response), took_s=time.monotonic() - began)

    def open(
        self, request: Request, *, access: str | None, quiet_s: float | None = None
    ) -> Answer:
        """The same, but a 200 is a stream to read. Raises: TransportFailure."""
        arguments = self._wording.arguments(request, access)
        with _failing():
            http = self._http.get()
            response = http.send(
                http.build_request(**arguments, timeout=self._wording.time_out(quiet_s)),
                stream=True,
                follow_redirects=False,
            )
            if response.status_code == OK:
                stream = Stream(response)
                self._streams.add(stream)
                return self._wording.answer(response, stream)
            response.read()
        return self._wording.answer(response)

    def shut_streams(self) -> None:
        """Read no stream any more; whoever reads one fails."""
        for stream in list(self._streams):
            stream.shut()

    def close(self) -> None:
        """Close the connections, unless they came from outside."""
        if (own := self._http.end()) is not None:
            own.close()


class AsyncTransport:
    """The same on an event loop."""

    def __init__(self, wording: Wording, http: httpx2.AsyncClient | None = None) -> None:
        self._wording = wording
        self._http = Lazy(http, _make_async_client)

    async def send(self, request: Request, *, access: str | None = None) -> Answer:
        """The answer to `request`, complete but unchecked. Raises: TransportFailure."""
        arguments = self._wording.arguments(request, access)
        began = time.monotonic()
        with _failing():
            response = await self._http.get().request(
                **arguments, timeout=self._wording.time_out(), follow_redirects=False
            )
        return replace(self._wording.answer(response), took_s=time.monotonic() - began)

    async def open(
        self, request: Request, *, access: str | None, quiet_s: float | None = None
    ) -> Answer:
        """The same, but a 200 is a stream to read. Raises: TransportFailure."""
        arguments = self._wording.arguments(request, access)
        with _failing():
            http = self._http.get()
            response = await http.send(
                http.build_request(**arguments, timeout=self._wording.time_out(quiet_s)),
                stream=True,
                follow_redirects=False,
            )
            if response.status_code == OK:
                return self._wording.answer(response, AsyncStream(response))
            await response.aread()
        return self._wording.answer(response)

    async def close(self) -> None:
        """Close the connections, unless they came from outside."""
        if (own := self._http.end()) is not None:
            await own.aclose()


@contextmanager
def _failing() -> Iterator[None]:
    """Whatever the link does wrong inside is a TransportFailure."""
    import httpx2

    try:
        yield
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise TransportFailure(f"{type(error).__name__}: {error}") from error
