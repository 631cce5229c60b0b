"""The project as a server: its entry, its pages and its static files."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.test import Client, override_settings

from backend.asgi import application

if TYPE_CHECKING:
    from collections.abc import Iterable

Message = dict[str, Any]


async def _call(scope: Message, received: Iterable[Message]) -> list[Message]:
    sent: list[Message] = []
    waiting = iter(received)

    async def receive() -> Message:
        return next(waiting)

    async def send(message: Message) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent


def _http(path: str) -> Message:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }


def test_asgi_entry_answers_and_echoes_the_request_id() -> None:
    """What uvicorn serves is the whole project."""
    sent = asyncio.run(
        _call(_http("/api/nothing"), [{"type": "http.request", "body": b"", "more_body": False}])
    )

    headers = dict(sent[0]["headers"])
    body = json.loads(b"".join(message.get("body", b"") for message in sent))
    assert sent[0]["status"] == 404
    assert headers[b"content-type"] == b"application/problem+json"
    assert body["request_id"].encode() == headers[b"x-request-id"]


def test_query_that_is_no_text_is_a_400() -> None:
    """Servers that let it through get the same answer as those that do not."""
    scope = _http("/api/nothing") | {"query_string": b"\xff"}
    sent = asyncio.run(_call(scope, [{"type": "http.request", "body": b"", "more_body": False}]))

    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["code"] == "request_malformed"


def test_asgi_entry_starts_and_stops() -> None:
    """Uvicorn tells an application so; one that does not answer is reported as broken."""
    sent = asyncio.run(
        _call({"type": "lifespan"}, [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    )

    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


@pytest.fixture
def browser(db: None) -> Client:  # closing an answer looks at the connections
    """Return a browser that nobody is logged in to."""
    return Client()


def test_api_page_needs_no_internet(browser: Client) -> None:
    """It is read on ships and in cellars, and must tell nobody that it is."""
    page = browser.get("/api/docs/", follow=True).content.decode()

    assets = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert re.findall(r"https?://[^\s\"']+", page) == []
    assert len(assets) >= 4
    for address in assets:
        assert re.match(r"/(?!/)", address), address
        answer = browser.get(address)
        assert answer.status_code == 200, address
        answer.close()
    assert '"validatorUrl": null' in page


@pytest.mark.parametrize("asset", ["admin/css/base.css", "admin/js/core.js"])
def test_admin_has_its_assets(browser: Client, asset: str) -> None:
    """Also with DEBUG off and nothing collected: the demo and production serve the same way."""
    assert not settings.DEBUG

    answer = browser.get(f"/static/{asset}")

    assert answer.status_code == 200
    answer.close()


def test_api_is_described_as_openapi_31(browser: Client) -> None:
    """Client generators read it; logging in is open, the rest needs the device's token."""
    accept = {"Accept": "application/json"}
    schema = browser.get("/api/schema/", headers=accept, follow=True).json()

    login = schema["paths"]["/api/v2/auth/token"]["post"]
    assert schema["openapi"].startswith("3.1")
    assert login.get("security", [{}]) == [{}]
    assert schema["components"]["securitySchemes"]["deviceToken"]["scheme"] == "bearer"


@pytest.mark.parametrize("address", ["/api/docs", "/api/schema"])
def test_forgotten_slash_is_forgiven(browser: Client, address: str) -> None:
    """People type these two."""
    assert browser.get(address).headers["Location"] == f"{address}/"


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("address", ["/api/nothing", "/api/v1/auth/token/x"])
def test_unknown_address_is_a_document_also_with_debug(
    browser: Client, method: str, address: str
) -> None:
    """Where Django would show a page of its own, or fail over a missing slash."""
    with override_settings(DEBUG=True):
        answer = getattr(browser, method)(address)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_front_door_leads_to_the_api_page(browser: Client) -> None:
    """Who opens the server's address finds what it can do."""
    assert browser.get("/").headers["Location"] == "/api/docs/"


def test_admin_asks_for_a_login(browser: Client) -> None:
    """And is there at all."""
    assert browser.get("/admin/").headers["Location"].startswith("/admin/login/")
