"""Verdict: what an answer means for whoever asked.

    check_answer       Answer -> the same Answer, or an error of `errors`
    find_lost_cursor   whether it says that a cursor is of no use any more

Answers that the protocol gives a meaning of their own pass: 200, 304, 409 and 422 with results,
410, 413. Anything that a Fieldsync server would not write is a transport failure: the page of a
captive portal, a cut body, a proxy's error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldsync.errors import (
    AuthRequired,
    FieldsyncError,
    RateLimited,
    ServerBug,
    TransportFailure,
    UpgradeRequired,
)
from fieldsync.transport import OK
from fieldsync.wire import Problem, Unreadable, parse_problem

if TYPE_CHECKING:
    from fieldsync.transport import Answer

NOT_MODIFIED = 304
UNAUTHORIZED = 401
BAD_REQUEST = 400
NOT_FOUND = 404
NOT_ACCEPTABLE = 406
GONE = 410
TOO_LARGE = 413
REPORTS = frozenset({409, 422})  # may carry the results of a push
BUSY = frozenset({429, 503})
GATEWAY = frozenset({408, 502, 504})  # written by what stands between
UPGRADE = 426
FORBIDDEN = 403
CURSOR_INVALID = "cursor_invalid"
UPGRADE_CODES = frozenset({"upgrade_required", "app_version_too_old"})
IN_FLIGHT_WAIT_S = 1.0  # the protocol's Retry-After, should it be missing


def check_answer(answer: Answer) -> Answer:
    """`answer`, when it has a meaning for the caller.

    Raises: TransportFailure, RateLimited, AuthRequired, UpgradeRequired, ServerBug.
    """
    if answer.status == TOO_LARGE:  # also from a proxy: either way it was not applied
        return answer
    if answer.status == NOT_MODIFIED or answer.stream is not None:
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
    if _is_lost_cursor(answer.status, problem.code):
        return answer
    if answer.status in REPORTS and problem.results is not None:
        return answer
    raise _error(answer, problem)


def find_lost_cursor(answer: Answer) -> str | None:
    """The code by which the server refuses a cursor for good; None when it does not.

    Another server, to which the tenant has moved, or one with other keys, knows no cursor at all.
    """
    if answer.status not in {GONE, BAD_REQUEST}:
        return None
    code = _problem(answer).code
    return code if _is_lost_cursor(answer.status, code) else None


def _is_lost_cursor(status: int, code: str) -> bool:
    return status == GONE or (status == BAD_REQUEST and code == CURSOR_INVALID)


def _problem(answer: Answer) -> Problem:
    try:
        return parse_problem(answer.body)
    except Unreadable as error:
        raise TransportFailure(f"unreadable: {error}", status=answer.status) from error


def _error(answer: Answer, problem: Problem) -> FieldsyncError:
    status, code = answer.status, problem.code
    detail = problem.detail or problem.title
    if code == "request_in_flight":
        wait_s = answer.retry_after_s
        return RateLimited(
            status=status,
            code=code,
            retry_after_s=IN_FLIGHT_WAIT_S if wait_s is None else wait_s,
        )
    if status == UPGRADE or code in UPGRADE_CODES:
        return UpgradeRequired(code=code or "upgrade_required", status=status, detail=detail)
    if status in {UNAUTHORIZED, FORBIDDEN}:
        return AuthRequired(code=code or "auth", status=status, detail=detail)
    return ServerBug(
        code=code or "unexpected_status",
        status=status,
        detail=detail,
        request_id=problem.request_id,
    )
