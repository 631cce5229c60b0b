"""Problem documents: whatever a request ends in, a client can read it."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.core.exceptions import (
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    ValidationError as DjangoValidationError,
)
from django.db import InterfaceError, OperationalError, connection
from django.http import Http404, HttpResponse, UnreadablePostError
from django.test import override_settings
from django.urls import path, re_path
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.views import APIView
from rest_framework_simplejwt.exceptions import InvalidToken

from backend import error_pages
from backend.accounts.errors import TenantRequired
from sync import errors as sync_errors
from sync.api.exception_handler import flatten, problem

if TYPE_CHECKING:
    from django.http import HttpRequest
    from rest_framework.request import Request
    from rest_framework.test import APIClient

pytestmark = pytest.mark.urls(__name__)
raised: list[Exception] = []


class RaisingView(APIView):
    """Raises what a test has put into `raised`."""

    permission_classes = (AllowAny,)

    def get(self, request: Request) -> None:  # noqa: ARG002
        """Raise it."""
        raise raised[0]


class ClosedView(APIView):
    """A view with the project's default door."""

    def get(self, request: Request) -> None:
        """Never reached by a request without credentials."""


class LostConnectionView(RaisingView):
    """Loses its database in the middle of the work."""

    def get(self, request: Request) -> None:  # noqa: ARG002
        """Have the database end our connection."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def plain(request: HttpRequest) -> HttpResponse:
    """Raise outside of REST framework."""
    raise raised[0]


urlpatterns = [
    path("api/raise", RaisingView.as_view()),
    path("api/closed", ClosedView.as_view()),
    path("api/lost", LostConnectionView.as_view()),
    path("api/plain", plain),
    path("plain", plain),
    re_path(r"^api/", error_pages.unknown_address),
]
handler400 = error_pages.bad_request
handler403 = error_pages.permission_denied
handler404 = error_pages.not_found
handler500 = error_pages.server_error


@pytest.fixture(autouse=True)
def _nothing_raised() -> None:
    raised.clear()


def answer_to(api: APIClient, exc: Exception, address: str = "/api/raise") -> Any:
    """Get the answer of a view that raises `exc`."""
    raised[:] = [exc]
    return api.get(address)


EXPIRED = {"messages": [{"message": "Token is expired"}]}
CASES: list[tuple[Exception, int, str, str | None]] = [
    (sync_errors.CursorInvalid(),                      400, "cursor_invalid",             None),
    (sync_errors.KeyReused(),                          422, "idempotency_key_reused",     None),
    (sync_errors.CursorExpired(),                      410, "cursor_expired",             None),
    (sync_errors.RequestInFlight(),                    409, "request_in_flight",          "1"),
    (sync_errors.Unavailable(),                        503, "temporarily_unavailable",    "2"),
    (sync_errors.BypassesFeed("x", "y"),               500, "internal_error",             None),
    (OperationalError("gone"),                         503, "temporarily_unavailable",    "2"),
    (InterfaceError("closed"),                         503, "temporarily_unavailable",    "2"),
    (exceptions.ParseError(),                          400, "body_malformed",             None),
    (exceptions.ValidationError("no"),                 400, "validation_failed",          None),
    (DjangoValidationError("no"),                      400, "validation_failed",          None),
    (exceptions.NotAuthenticated(),                    401, "not_authenticated",          None),
    (exceptions.AuthenticationFailed(),                401, "authentication_failed",      None),
    (InvalidToken(),                                   401, "token_invalid",              None),
    (InvalidToken(EXPIRED),                            401, "token_expired",              None),
    (exceptions.PermissionDenied(),                    403, "permission_denied",          None),
    (PermissionDenied(),                               403, "permission_denied",          None),
    (exceptions.NotFound(),                            404, "not_found",                  None),
    (Http404("no such page"),                          404, "not_found",                  None),
    (exceptions.MethodNotAllowed("GET"),               405, "method_not_allowed",         None),
    (exceptions.NotAcceptable(),                       406, "not_acceptable",             None),
    (RequestDataTooBig(),                              413, "limit_exceeded",             None),
    (UnreadablePostError(),                            400, "body_malformed",             None),
    (DisallowedHost(),                                 400, "request_malformed",          None),
    (exceptions.UnsupportedMediaType("text/csv"),      415, "unsupported_media_type",     None),
    (exceptions.Throttled(wait=2.1),                   429, "throttled",                  "3"),
    (exceptions.Throttled(wait=0),                     429, "throttled",                  "1"),
    (exceptions.Throttled(),                           429, "throttled",                  "1"),
    (exceptions.APIException("inner secret"),          500, "internal_error",             None),
    (KeyError("inner secret"),                         500, "internal_error",             None),
    (RecursionError("inner secret"),                   500, "internal_error",             None),
]  # fmt: skip
STANDARD = {"type", "title", "status", "detail", "code", "errors", "request_id"}


@pytest.mark.parametrize(("exc", "status", "code", "retry_after"), CASES)
def test_every_error_is_a_problem_document(
    api: APIClient, exc: Exception, status: int, code: str, retry_after: str | None
) -> None:
    """An app reads one kind of document, and decides by its `code`."""
    answer = answer_to(api, exc)

    body = answer.json()
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.get("Retry-After") == retry_after
    assert body.keys() >= STANDARD
    assert (body["code"], body["status"], body["type"]) == (code, status, f"/errors/{code}")
    assert body["title"]
    assert "inner secret" not in str(body)
    assert answer.get("WWW-Authenticate") == ('Bearer realm="api"' if status == 401 else None)


def test_closed_door_says_how_to_open_it(api: APIClient) -> None:
    """`WWW-Authenticate` is what makes HTTP libraries refresh their token."""
    answer = api.get("/api/closed")

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


def test_unexpected_error_tells_only_its_request_id(
    api: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the rest, under the same id."""
    with caplog.at_level(logging.ERROR, logger="sync.api"):
        answer = answer_to(api, KeyError("inner secret"))

    body = answer.json()
    logged = [each for each in caplog.records if each.name == "sync.api.exception_handler"]
    assert body == {
        "type": "/errors/internal_error",
        "title": "Something went wrong here",
        "status": 500,
        "detail": "Something went wrong here",
        "code": "internal_error",
        "errors": [],
        "request_id": answer["X-Request-Id"],
    }
    assert [answer["X-Request-Id"] in each.getMessage() for each in logged] == [True]
    assert logged[0].exc_info is not None


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("trace-0123.abc_DEF", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("short", False),
        ("two words and more", False),
        ("line\tforged-entry", False),
        ("", False),
    ],
)
def test_request_id_of_the_client_is_kept_if_sane(
    api: APIClient,
    given: str,
    is_kept: bool,
) -> None:
    """So that one id follows a request through phone, proxy and server."""
    raised[:] = [Http404()]

    answer = api.get("/api/raise", headers={"X-Request-Id": given})

    found = answer["X-Request-Id"]
    assert answer.json()["request_id"] == found
    assert (found == given) is is_kept
    assert is_kept or uuid.UUID(found).version == 4


def test_log_lines_carry_the_request_id(api: APIClient, caplog: pytest.LogCaptureFixture) -> None:
    """Those of the request's code, and Django's own after it."""
    answer = answer_to(api, KeyError("x"))

    logged = {each.name: getattr(each, "request_id", None) for each in caplog.records}
    assert logged == {
        "backend.logs.access": answer["X-Request-Id"],
        "sync.api.exception_handler": answer["X-Request-Id"],
        "django.request": answer["X-Request-Id"],
    }
    assert "%(request_id)s" in str(settings.LOGGING["formatters"])


@pytest.mark.django_db(transaction=True)
def test_lost_database_asks_to_try_again(api: APIClient) -> None:
    """A restart of the database is a pause, and no fault of the request."""
    answer = api.get("/api/lost")
    connection.close()

    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert answer["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("exc", "status", "code"),
    [
        (Http404(),               404, "not_found"),
        (PermissionDenied(),      403, "permission_denied"),
        (DisallowedHost(),        400, "request_malformed"),
        (RequestDataTooBig(),     413, "limit_exceeded"),
        (OperationalError(),      503, "temporarily_unavailable"),
        (KeyError("inner secret"), 500, "internal_error"),
    ],
)  # fmt: skip
def test_errors_outside_of_views_are_documents_too(
    api: APIClient, exc: Exception, status: int, code: str
) -> None:
    """Under /api/ no client ever has to read a page; elsewhere people do."""
    answer = answer_to(api, exc, "/api/plain")
    page = answer_to(api, exc, "/plain")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["request_id"] == answer["X-Request-Id"]
    assert "inner secret" not in answer.content.decode()
    assert page["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("is_debug", [False, True])
@pytest.mark.parametrize("method", ["get", "post"])
def test_unknown_address_is_a_document_also_with_debug(
    api: APIClient,
    method: str,
    is_debug: bool,
) -> None:
    """A developer meets this first, with DEBUG on."""
    with override_settings(DEBUG=is_debug):
        answer = getattr(api, method)("/api/v1/nothing")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_limits_are_named(api: APIClient) -> None:
    """The SDK halves its batch by them."""
    answer = answer_to(api, sync_errors.LimitExceeded("push_rows_max", 1_000))

    assert answer.status_code == 413
    assert (answer.json()["limit"], answer.json()["maximum"]) == ("push_rows_max", 1_000)


def test_field_errors_of_sync_stand_in_errors(api: APIClient) -> None:
    """In the same place as those of a form."""
    answer = answer_to(api, sync_errors.ParameterInvalid("limit", "not a number"))

    assert answer.json()["errors"] == [
        {"path": "limit", "code": "invalid", "detail": "not a number", "args": {}}
    ]


class TaskSerializer(serializers.Serializer[Any]):
    """A nested child."""

    text = serializers.CharField(max_length=3)


class OrderSerializer(serializers.Serializer[Any]):
    """A parent with children, a list of numbers, and a rule about the whole."""

    title = serializers.CharField()
    tasks = TaskSerializer(many=True, required=False)
    marks = serializers.ListField(child=serializers.IntegerField(), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse one title as a whole."""
        if attrs["title"] == "whole":
            raise serializers.ValidationError("not so", code="whole")
        return attrs


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({},                                                          [("title", "required")]),
        ({"title": "whole"},                                          [("", "whole")]),
        ({"title": "x", "tasks": [{"text": "ok"}, {"text": "long"}]}, [("tasks.1.text", "max_length")]),
        ({"title": "x", "tasks": "no"},                               [("tasks", "not_a_list")]),
        ({"title": "x", "marks": [1, "b"]},                           [("marks.1", "invalid")]),
        ({"title": "x", "tasks": [{}, "no"]},                         [("tasks.0.text", "required"), ("tasks.1", "invalid")]),
        ("no",                                                        [("", "invalid")]),
    ],
)  # fmt: skip
def test_nested_errors_get_dotted_paths(data: Any, found: list[tuple[str, str]]) -> None:
    """So that an app can show each one beside its field."""
    serializer = OrderSerializer(data=data)
    assert not serializer.is_valid()

    errors = flatten(serializer.errors)

    assert [(each["path"], each["code"]) for each in errors] == found
    assert all(each.keys() == {"path", "code", "detail", "args"} for each in errors)


def test_errors_of_a_list_start_with_their_place() -> None:
    """A bulk request has one body and many rows."""
    serializer = OrderSerializer(data=[{"title": "x"}, {}], many=True)
    assert not serializer.is_valid()

    assert [each["path"] for each in flatten(serializer.errors)] == ["1.title"]


def test_problem_helper_carries_members_beside_the_standard_ones() -> None:
    """A rejected push is a problem document with its results; they cannot hide the status."""
    answer = problem(
        status=409,
        code="push_rejected",
        title="Rejected",
        members={"results": [{"id": uuid.UUID(int=7)}], "status": "rejected"},
        request_id="trace-0001",
    )

    answer.render()
    assert answer.data["status"] == 409
    assert b'"results":[{"id":"00000000-0000-0000-0000-000000000007"}]' in answer.content
    assert answer.data["request_id"] == "trace-0001"


def test_account_errors_carry_their_members(api: APIClient) -> None:
    """The app shows the tenants to choose from."""
    answer = answer_to(api, TenantRequired(["a", "b"]))

    assert (answer.status_code, answer.json()["tenants"]) == (400, ["a", "b"])
