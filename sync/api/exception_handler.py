"""Errors on the wire: whatever a request ends in becomes one kind of document (RFC 9457).

    exception -> Problem (status, code, title, detail, errors, members) -> application/problem+json

A `SyncError` says itself what it is; an `APIException` too, if it has a `title`; the errors of
Django and DRF are in `FRAMEWORK_ERRORS`. Anything else is logged and becomes a 500 that says
nothing but its request id. `docs/errors.md` lists every code.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
from django.conf import settings
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError as DjangoValidationError,
)
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions
from rest_framework.fields import get_error_detail
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import set_rollback

from sync import transactions
from sync.api.versions import version_of
from sync.errors import LimitExceeded, SyncError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_DEFAULT_S = 1  # a 429 or 503 always says when, also where its cause does not know
INTERNAL = "internal_error"


class FrameworkError(NamedTuple):
    """An error that is raised outside our own tree, as the wire knows it."""

    status: int
    title: str


FRAMEWORK_ERRORS = {
    "body_malformed": FrameworkError(400, "The body cannot be read"),
    "validation_failed": FrameworkError(400, "Some values are not acceptable"),
    "request_malformed": FrameworkError(400, "The request cannot be understood"),
    "not_authenticated": FrameworkError(401, "Log in first"),
    "authentication_failed": FrameworkError(401, "The credentials are not acceptable"),
    "token_invalid": FrameworkError(401, "The token is not one of ours"),
    "token_expired": FrameworkError(401, "The token has expired"),
    "permission_denied": FrameworkError(403, "This is not allowed to you"),
    "not_found": FrameworkError(404, "There is nothing here"),
    "method_not_allowed": FrameworkError(405, "The address does not take this method"),
    "not_acceptable": FrameworkError(406, "The answer cannot be had in that form"),
    "unsupported_media_type": FrameworkError(415, "The body is of a type that is not taken"),
    "throttled": FrameworkError(429, "Too many requests"),
    INTERNAL: FrameworkError(500, "Something went wrong here"),
}
# What the frameworks call them -> one word per thing on the wire.
RENAMED = {
    "parse_error": "body_malformed",
    "invalid": "validation_failed",
    "bad_authorization_header": "token_invalid",
    "token_not_valid": "token_invalid",
    "error": INTERNAL,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem document before it is rendered."""

    status: int
    code: str
    title: str
    detail: str = ""
    errors: Sequence[Mapping[str, Any]] = ()
    members: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    retry_after_s: int | None = None


class ProblemResponse(Response):
    """Renders itself, whatever renderers the view has, so that it also works outside of views."""

    @property
    def rendered_content(self) -> bytes:  # type: ignore[override]  # DRF returns bytes too
        """The document as JSON."""
        return msgspec.json.encode(self.data, enc_hook=str)


def problem(  # noqa: PLR0913  # the members of the document
    *,
    status: int,
    code: str,
    title: str,
    detail: str = "",
    errors: Sequence[Mapping[str, Any]] = (),
    members: Mapping[str, Any] | None = None,
    retry_after_s: int | None = None,
    request_id: str | None = None,
) -> Response:
    """Return a problem document as a response; `members` are added beside the standard ones."""
    if retry_after_s is None and status in {429, 503}:
        retry_after_s = RETRY_AFTER_DEFAULT_S
    document = {
        **(members or {}),
        "type": f"/errors/{code}",
        "title": title,
        "status": status,
        "detail": detail or title,
        "code": code,
        "errors": list(errors),
        "request_id": request_id or str(uuid.uuid4()),
    }
    headers = {"Content-Type": MEDIA_TYPE}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    return ProblemResponse(document, status=status, headers=headers)


def problem_response(exc: Exception, context: Mapping[str, Any]) -> Response:
    """Return the answer for any exception that a view raised (DRF's `EXCEPTION_HANDLER`)."""
    set_rollback()
    request_id = getattr(context.get("request"), "request_id", None) or str(uuid.uuid4())
    found = _in_version(describe(exc), context)
    if found.code == INTERNAL:
        log.error("request %s failed", request_id, exc_info=exc)
    elif transactions.is_away(exc):
        log.warning("request %s: the database is not there", request_id, exc_info=exc)
        transactions.reconnect()
    response = problem(**_fields(found), request_id=request_id)
    auth_header = getattr(exc, "auth_header", None)  # DRF puts it on 401s
    if auth_header:
        response["WWW-Authenticate"] = auth_header
    return response


def _in_version(found: Problem, context: Mapping[str, Any]) -> Problem:
    """Return the problem as the version of the request's address has it."""
    request, collection = context.get("request"), getattr(context.get("view"), "collection", None)
    version = version_of(request)
    if version.is_inner:
        return found
    members = dict(found.members)
    if "result" in members:
        members["result"] = version.up_result(members["result"])
    if collection is None:
        return dataclasses.replace(found, members=members)
    about = {"collection": collection.name, "errors": found.errors, **members}
    shown = version.up_result(about)
    shown.pop("collection")
    return dataclasses.replace(found, errors=shown.pop("errors"), members=shown)


def describe(exc: Exception) -> Problem:
    """Return what the wire says of `exc`."""
    match exc:
        case SyncError() if exc.status < HTTPStatus.INTERNAL_SERVER_ERROR or exc.retryable:
            return _from_sync(exc)
        case exceptions.ValidationError():
            return framework_problem("validation_failed", errors=flatten(exc.detail))
        case exceptions.APIException():
            return _from_api(exc)
        case DjangoValidationError():
            return framework_problem("validation_failed", errors=flatten(get_error_detail(exc)))
        case _ if transactions.is_away(exc):
            return _from_sync(Unavailable())
        case _:
            return _from_django(exc)


def framework_problem(
    code: str,
    detail: str = "",
    errors: Sequence[Mapping[str, Any]] = (),
    retry_after_s: int | None = None,
) -> Problem:
    """Return the problem of one of `FRAMEWORK_ERRORS`."""
    status, title = FRAMEWORK_ERRORS[code]
    return Problem(
        status=status,
        code=code,
        title=title,
        detail=detail,
        errors=errors,
        retry_after_s=retry_after_s,
    )


def flatten(detail: Any, path: str = "") -> list[dict[str, Any]]:
    """Return DRF's nested error detail as field errors with dotted paths (`tasks.0.text`)."""
    return list(_flatten(detail, path))


def _flatten(detail: Any, path: str) -> Iterator[dict[str, Any]]:
    match detail:
        case dict():
            for key, inner in detail.items():
                is_about_all = key == api_settings.NON_FIELD_ERRORS_KEY
                yield from _flatten(inner, path if is_about_all else _join(path, key))
        case list() | tuple():
            for index, inner in enumerate(detail):
                is_leaf = isinstance(inner, str)
                yield from _flatten(inner, path if is_leaf else _join(path, index))
        case _:
            code = getattr(detail, "code", "invalid")
            yield {"path": path, "code": code, "detail": str(detail), "args": {}}


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _from_sync(exc: SyncError) -> Problem:
    members = dict(exc.members)
    return Problem(
        status=exc.status,
        code=exc.code,
        title=exc.title,
        detail=str(exc),
        errors=members.pop("errors", ()),
        members=members,
        retry_after_s=exc.retry_after_s,
    )


def _from_api(exc: exceptions.APIException) -> Problem:
    code, detail = _code_and_detail(exc)
    wait_s: int | None = getattr(exc, "wait", None)  # of a Throttled: DRF has rounded it up
    retry_after_s = None if wait_s is None else max(RETRY_AFTER_DEFAULT_S, wait_s)
    title = getattr(exc, "title", None)
    if title is None and code in FRAMEWORK_ERRORS:
        title = FRAMEWORK_ERRORS[code].title
    return Problem(
        status=exc.status_code,
        code=code,
        title=title or HTTPStatus(exc.status_code).phrase,
        detail="" if code == INTERNAL else detail,
        members=getattr(exc, "members", {}),
        retry_after_s=retry_after_s,
    )


def _code_and_detail(exc: exceptions.APIException) -> tuple[str, str]:
    """Return the wire's code, and the text; simplejwt's errors carry both inside a dict."""
    if isinstance(exc.detail, dict):
        code, detail = str(exc.detail.get("code", exc.default_code)), exc.detail.get("detail", "")
        if code == "token_not_valid" and "expired" in str(exc.detail.get("messages", "")):
            code = "token_expired"
    else:
        code, detail = cast("str", exc.get_codes()), exc.detail
    return RENAMED.get(code, code), str(detail)


def _from_django(exc: Exception) -> Problem:
    match exc:
        case Http404():
            return framework_problem("not_found")
        case PermissionDenied():
            return framework_problem("permission_denied")
        case RequestDataTooBig():
            bytes_max = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            return _from_sync(LimitExceeded("body_bytes_max", bytes_max))
        case UnreadablePostError():
            return framework_problem("body_malformed", "The body ended early.")
        case SuspiciousOperation():
            return framework_problem("request_malformed")
        case _:
            return framework_problem(INTERNAL)


def _fields(found: Problem) -> dict[str, Any]:
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
