"""Transport: one HTTP request, one answer, and what a bad answer means.

    Request -> [ httpx2 ] -> Answer -> check_answer -> the same Answer, or an error of `errors`

Answers that the protocol gives a meaning of their own pass: 200, 409 and 422 with results, 410,
413. Anything that a Fieldsync server would not write is a transport failure: the page of a
captive portal, a cut body, a proxy's error. No retry here, no state, no store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx2

from fieldsync.errors import (
    AuthRequired,
    FieldsyncError,
    RateLimited,
    ServerBug,
    TransportFailure,
    UpgradeRequired,
)
from fieldsync.wire import API_PATH, Problem, Unreadable, parse_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OK = 200
UNAUTHORIZED = 401
GONE = 410
TOO_LARGE = 413
REPORTS = frozenset({409, 422})  # may carry the results of a push
BUSY = frozenset({429, 503})
GATEWAY = frozenset({408, 502, 504})  # written by what stands between
UPGRADE = 426
FORBIDDEN = 403
UPGRADE_CODES = frozenset({"upgrade_required", "app_version_too_old"})
IN_FLIGHT_WAIT_S = 1.0  # the protocol's Retry-After, should it be missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request below the API's path. `headers` come on top of those of every request."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime

    @property
    def is_json(self) -> bool:
        """Whether it claims to be JSON, plain or a problem document."""
        kind = self.headers.get("content-type", "").split(";")[0].strip().lower()
        return kind == "application/json" or kind.endswith("+json")

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
        try:
            until = parsedate_to_datetime(text)
        except ValueError:
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max((until - self.received_at).total_seconds(), 0.0)


class Transport:
    """Sends requests to one server."""

    def __init__(
        self,
        url: str,
        *,
        http: httpx2.Client | None,
        timeout_s: float,
        user_agent: str,
        now: Callable[[], datetime],
    ) -> None:
        self._url = url.rstrip("/") + API_PATH
        self._http = http or httpx2.Client()
        self._is_own = http is None
        self._timeout_s = timeout_s
        self._user_agent = user_agent
        self._now = now

    def send(self, request: Request, *, access: str | None = None) -> Answer:
        """The answer to `request`, complete but unchecked. Raises: TransportFailure."""
        headers = {
            "Accept": "application/json, application/problem+json",
            "User-Agent": self._user_agent,
            "X-Client-Time": self._now().isoformat().replace("+00:00", "Z"),
            **request.headers,
        }
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if access is not None:
            headers["Authorization"] = f"Bearer {access}"
        try:
            response = self._http.request(
                request.method,
                self._url + request.path,
                params=dict(request.params) or None,
                content=request.body,
                headers=headers,
                timeout=self._timeout_s,
                follow_redirects=False,
            )
        except httpx2.HTTPError as error:
            raise TransportFailure(f"{type(error).__name__}: {error}") from error
        return Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=response.content,
            received_at=self._now(),
        )

    def close(self) -> None:
        """Close the connections, unless they came from outside."""
        if self._is_own:
            self._http.close()


def check_answer(answer: Answer) -> Answer:
    """`answer`, when it has a meaning for the caller.

    Raises: TransportFailure, RateLimited, AuthRequired, UpgradeRequired, ServerBug.
    """
    if answer.status == TOO_LARGE:  # also from a proxy: either way it was not applied
        return answer
    if answer.status in BUSY:
        raise RateLimited(status=answer.status, code="busy", retry_after_s=answer.retry_after_s)
    if not answer.is_json or answer.status in GATEWAY or answer.status // 100 == 3:  # noqa: PLR2004
        kind = answer.headers.get("content-type", "no content type")
        reason = f"status {answer.status}, {kind}"
        raise TransportFailure(reason, status=answer.status)
    if answer.status == OK:
        return answer
    problem = _problem(answer)
    if answer.status == GONE or (answer.status in REPORTS and problem.results is not None):
        return answer
    raise _error(answer, problem)


def _problem(answer: Answer) -> Problem:
    try:
        return parse_problem(answer.body)
    except Unreadable as error:
        raise TransportFailure(f"unreadable: {error}", status=answer.status) from error


def _error(answer: Answer, problem: Problem) -> FieldsyncError:
    status = answer.status
    detail = problem.detail or problem.title
    if problem.code == "request_in_flight":
        wait_s = answer.retry_after_s
        return RateLimited(
            status=status,
            code=problem.code,
            retry_after_s=IN_FLIGHT_WAIT_S if wait_s is None else wait_s,
        )
    if status == UPGRADE or problem.code in UPGRADE_CODES:
        return UpgradeRequired(
            code=problem.code or "upgrade_required", status=status, detail=detail
        )
    if status in {UNAUTHORIZED, FORBIDDEN}:
        return AuthRequired(code=problem.code or "auth", status=status, detail=detail)
    return ServerBug(
        code=problem.code or "unexpected_status",
        status=status,
        detail=detail,
        request_id=problem.request_id,
    )
