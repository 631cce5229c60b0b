"""Every address and method of the API, asked by every kind of person.

The table says what each is answered. An address or a method that is not in it fails the build, and
so does a line that no address has any more. The stranger is another tenant's dispatcher, who knows
the ids; whatever is answered them is searched for what is not theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from backend.accounts.models import Role
from backend.versions import CHAIN
from sync import local_edits
from sync.api.versions import Version
from sync.registry import ranked_collections
from tests.filterless import no_filter
from tests.phones import Phone, World, canaries, make_api_key, new_id

PEOPLE = (
    *("nobody", "technician", "supervisor", "dispatcher", "admin", "auditor", "stranger"),
    *("reader", "writer"),  # API keys, for all collections
)
# In the order of PEOPLE. A list of rows that stands or falls as a whole is 422 where one is forbidden.
# There are no events under a test client, which is no server that can wait: 404.
TABLE = """
GET    api/docs/                            302 302 302 302 302 302 302 302 302
GET    api/docs/v1/                         200 200 200 200 200 200 200 200 200
GET    api/docs/v2/                         200 200 200 200 200 200 200 200 200
GET    api/schema/                          302 302 302 302 302 302 302 302 302
GET    api/schema/v1/                         200 200 200 200 200 200 200 200 200
GET    api/schema/v2/                         200 200 200 200 200 200 200 200 200
GET    api/v1/assets/                       401 200 200 200 200 200 200 200 200
POST   api/v1/assets/                       401 201 201 201 201 403 400 403 201
POST   api/v1/assets/bulk/                  401 200 200 200 200 422 422 403 200
PATCH  api/v1/assets/bulk/                  401 200 200 200 200 422 422 403 200
DELETE api/v1/assets/bulk/                  401 422 200 200 200 422 422 403 200
GET    api/v1/assets/export/                401 200 200 200 200 200 200 200 200
GET    api/v1/assets/{id}/                  401 200 200 200 200 200 404 200 200
PUT    api/v1/assets/{id}/                  401 200 200 200 200 403 404 403 200
PATCH  api/v1/assets/{id}/                  401 200 200 200 200 403 404 403 200
DELETE api/v1/assets/{id}/                  401 403 204 204 204 403 404 403 204
GET    api/v1/auth/devices/                   401 200 200 200 200 200 200 403 403
GET    api/v1/auth/devices/{id}/              401 200 404 404 200 404 404 403 403
PATCH  api/v1/auth/devices/{id}/              401 200 404 404 200 404 404 403 403
POST   api/v1/auth/devices/{id}/revoke/       401 200 404 404 200 404 404 403 403
POST   api/v1/auth/logout                     401 204 204 204 204 204 204 401 401
POST   api/v1/auth/refresh                  400 400 400 400 400 400 400 400 400
POST   api/v1/auth/token                    400 400 400 400 400 400 400 400 400
GET    api/v1/auth/keys/                      401 403 403 403 200 403 403 403 403
POST   api/v1/auth/keys/                      401 403 403 403 201 403 403 403 403
GET    api/v1/auth/keys/{id}/                 401 403 403 403 404 403 403 403 403
POST   api/v1/auth/keys/{id}/revoke/          401 403 403 403 404 403 403 403 403
GET    api/v1/inspections/                  401 200 200 200 200 200 200 200 200
POST   api/v1/inspections/                  401 201 201 201 201 403 400 403 201
POST   api/v1/inspections/bulk/             401 200 200 200 200 422 422 403 200
PATCH  api/v1/inspections/bulk/             401 200 200 200 200 422 422 403 200
DELETE api/v1/inspections/bulk/             401 422 200 200 200 422 422 403 200
GET    api/v1/inspections/export/           401 200 200 200 200 200 200 200 200
GET    api/v1/inspections/{id}/             401 200 200 200 200 200 404 200 200
PUT    api/v1/inspections/{id}/             401 200 200 200 200 403 404 403 200
PATCH  api/v1/inspections/{id}/             401 200 200 200 200 403 404 403 200
DELETE api/v1/inspections/{id}/             401 403 204 204 204 403 404 403 204
GET    api/v1/notes/                        401 200 200 200 200 200 200 200 200
POST   api/v1/notes/                        401 201 201 201 201 403 400 403 201
POST   api/v1/notes/bulk/                   401 200 200 200 200 422 422 403 200
PATCH  api/v1/notes/bulk/                   401 422 422 422 422 422 422 403 422
DELETE api/v1/notes/bulk/                   401 422 422 422 422 422 422 403 422
GET    api/v1/notes/export/                 401 200 200 200 200 200 200 200 200
GET    api/v1/notes/{id}/                   401 200 200 200 200 200 404 200 200
PUT    api/v1/notes/{id}/                   401 403 403 403 403 403 404 403 403
PATCH  api/v1/notes/{id}/                   401 403 403 403 403 403 404 403 403
DELETE api/v1/notes/{id}/                   401 403 403 403 403 403 404 403 403
GET    api/v1/parts-used/                   401 200 200 200 200 200 200 200 200
POST   api/v1/parts-used/                   401 201 201 201 201 403 400 403 201
POST   api/v1/parts-used/bulk/              401 200 200 200 200 422 422 403 200
PATCH  api/v1/parts-used/bulk/              401 422 422 422 422 422 422 403 422
DELETE api/v1/parts-used/bulk/              401 422 422 422 422 422 422 403 422
GET    api/v1/parts-used/export/            401 200 200 200 200 200 200 200 200
GET    api/v1/parts-used/{id}/              401 200 200 200 200 200 404 200 200
PUT    api/v1/parts-used/{id}/              401 403 403 403 403 403 404 403 403
PATCH  api/v1/parts-used/{id}/              401 403 403 403 403 403 404 403 403
DELETE api/v1/parts-used/{id}/              401 403 403 403 403 403 404 403 403
GET    api/v1/sites/                        401 200 200 200 200 200 200 200 200
POST   api/v1/sites/                        401 403 201 201 201 403 400 403 201
POST   api/v1/sites/bulk/                   401 422 200 200 200 422 422 403 200
PATCH  api/v1/sites/bulk/                   401 422 200 200 200 422 422 403 200
DELETE api/v1/sites/bulk/                   401 422 200 200 200 422 422 403 200
GET    api/v1/sites/export/                 401 200 200 200 200 200 200 200 200
GET    api/v1/sites/{id}/                   401 200 200 200 200 200 404 200 200
PUT    api/v1/sites/{id}/                   401 403 200 200 200 403 404 403 200
PATCH  api/v1/sites/{id}/                   401 403 200 200 200 403 404 403 200
DELETE api/v1/sites/{id}/                   401 403 204 204 204 403 404 403 204
GET    api/v1/sync/digest                   401 200 200 200 200 200 200 200 200
GET    api/v1/sync/events                   401 404 404 404 404 404 404 404 404
GET    api/v1/sync/limits                   401 200 200 200 200 200 200 200 200
GET    api/v1/sync/pull                     401 200 200 200 200 200 200 200 200
POST   api/v1/sync/push                     401 200 200 200 200 200 200 200 200
GET    api/v1/sync/quarantine/              401 403 200 200 200 403 200 403 403
GET    api/v1/sync/quarantine/{id}/         401 403 404 404 404 403 404 403 403
POST   api/v1/sync/quarantine/{id}/apply/   401 403 404 404 404 403 404 403 403
POST   api/v1/sync/quarantine/{id}/discard/ 401 403 404 404 404 403 404 403 403
GET    api/v1/sync/receipts/{id}            401 404 404 404 404 404 404 404 404
GET    api/v1/sync/rows                     401 200 200 200 200 200 200 200 200
GET    api/v1/territories/                  401 200 200 200 200 200 200 200 200
POST   api/v1/territories/                  401 403 403 201 201 403 201 403 201
POST   api/v1/territories/bulk/             401 422 422 200 200 422 200 403 200
PATCH  api/v1/territories/bulk/             401 422 422 200 200 422 422 403 200
DELETE api/v1/territories/bulk/             401 422 422 200 200 422 422 403 200
GET    api/v1/territories/export/           401 200 200 200 200 200 200 200 200
GET    api/v1/territories/{id}/             401 200 200 200 200 200 404 200 200
PUT    api/v1/territories/{id}/             401 403 403 200 200 403 404 403 200
PATCH  api/v1/territories/{id}/             401 403 403 200 200 403 404 403 200
DELETE api/v1/territories/{id}/             401 403 403 204 204 403 404 403 204
GET    api/v1/work-orders/                  401 200 200 200 200 200 200 200 200
POST   api/v1/work-orders/                  401 201 201 201 201 403 400 403 201
POST   api/v1/work-orders/bulk/             401 200 200 200 200 422 422 403 200
PATCH  api/v1/work-orders/bulk/             401 200 200 200 200 422 422 403 200
DELETE api/v1/work-orders/bulk/             401 422 200 200 200 422 422 403 200
GET    api/v1/work-orders/export/           401 200 200 200 200 200 200 200 200
GET    api/v1/work-orders/summary/          401 200 200 200 200 200 200 200 200
GET    api/v1/work-orders/{id}/             401 200 200 200 200 200 404 200 200
PUT    api/v1/work-orders/{id}/             401 200 200 200 200 403 404 403 200
PATCH  api/v1/work-orders/{id}/             401 200 200 200 200 403 404 403 200
DELETE api/v1/work-orders/{id}/             401 403 204 204 204 403 404 403 204
POST   api/v1/work-orders/{id}/approve/     401 403 200 200 200 403 404 403 200
POST   api/v1/work-orders/{id}/assign/      401 200 200 200 200 403 404 403 200
POST   api/v1/work-orders/{id}/cancel/      401 200 200 200 200 403 404 403 200
POST   api/v1/work-orders/{id}/complete/    401 200 200 200 200 403 404 403 200
POST   api/v1/work-orders/{id}/start/       401 200 200 200 200 403 404 403 200
"""
Who = Phone | str | None  # a phone, the text of an API key, nobody
LINES = [line.split() for line in TABLE.strip().splitlines() if line.strip()]
CASES = {(method, route): [int(each) for each in wanted] for method, route, *wanted in LINES}
DJANGO_VIEWS = {"GET"}  # of what is no view of REST framework's


def addresses() -> Iterator[tuple[str, str]]:
    """Yield (method, route) of all that answers below /api/, but for what is not found there."""
    for route, callback in walk(get_resolver().url_patterns, ""):
        if not route.startswith("api/") or callback.__name__ == "unknown_address":
            continue
        for method in methods_of(callback):
            yield method, route


def in_first_version(route: str) -> str:
    """Return the route of the first version: the others have the same addresses."""
    return re.sub(r"^api/v\d+/", "api/v1/", route)


def walk(patterns: Any, before: str) -> Iterator[tuple[str, Any]]:
    for each in patterns:
        route = before + re.sub(r"<(?:\w+:)?\w+>", "{id}", str(each.pattern))
        if isinstance(each, URLResolver):
            yield from walk(each.url_patterns, route)
        elif isinstance(each, URLPattern):
            yield route, each.callback


def methods_of(callback: Any) -> set[str]:
    if actions := getattr(callback, "actions", None):
        return {method.upper() for method in actions} - {"HEAD"}
    view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    if view is None:
        return DJANGO_VIEWS
    return {
        name.upper()
        for name in view.http_method_names
        if name not in {"options", "head", "trace"} and hasattr(view, name)
    }


class Asked:
    """One request of the table, and the rows that it is about: new for everybody who asks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.order = self.make("work_orders", world.order())
        self.asset = self.make("assets", {"site": world.site, "category": world.canary})

    def make(self, collection: str, data: dict[str, Any]) -> str:
        row_id = new_id()
        local_edits.apply(self.world.tenant.pk, [local_edits.create(collection, data, row_id)])
        return row_id

    def data(self, collection: str) -> dict[str, Any]:
        """Return a good row of a collection."""
        world = self.world
        text = {"work_order": self.order, "text": world.canary}
        part = {"work_order": self.order, "sku": world.canary, "quantity": "1", "unit": "pc"}
        return {
            "territories": {"name": world.canary},
            "sites": {"name": world.canary, "territory": world.cardiff},
            "assets": {"site": world.site, "category": world.canary},
            "work_orders": world.order(),
            "inspections": {"asset": self.asset, "template_code": world.canary},
            "notes": text,
            "parts_used": part,
        }[collection]

    def sent(self, collection: str) -> dict[str, Any]:
        """Return the same in other words, so that it is an edit, and nobody is told a canary."""
        text = json.dumps(self.data(collection)).replace(self.world.canary, "other")
        found: dict[str, Any] = json.loads(text)
        return found

    def request(self, method: str, route: str, technician: Phone) -> tuple[str, Any]:
        """Return the path and the body."""
        parts = in_first_version(route).removeprefix("api/v1/").split("/")
        collection = parts[0].replace("-", "_")
        if collection in {"api", "auth", "sync"} or parts[0] in {"sync", "auth"}:
            return self.other_request(route, technician)
        if "bulk" in parts:
            return f"/{route}", self.bulk(method, collection)
        if "{id}" not in parts:
            return f"/{route}", self.sent(collection) if method == "POST" else None
        data = self.data(collection)
        if "work_orders" in collection and "assign" in parts:
            return self.at(route, collection, data), {"assignee": str(technician.user_id)}
        status = {"start": "assigned", "complete": "in_progress", "approve": "done"}
        if parts[2] in status:
            return self.at(route, collection, data | {"status": status[parts[2]]}), {}
        edit = None if method in {"GET", "DELETE"} else self.sent(collection)
        return self.at(route, collection, data), edit

    def at(self, route: str, collection: str, data: dict[str, Any]) -> str:
        return "/" + route.replace("{id}", self.make(collection, data))

    def bulk(self, method: str, collection: str) -> list[dict[str, Any]]:
        if method == "POST":
            return [{"id": new_id(), **self.sent(collection)}]
        row = {"id": self.make(collection, self.data(collection)), "base_version": 1}
        return [row | (self.sent(collection) if method == "PATCH" else {})]

    def other_request(self, route: str, technician: Phone) -> tuple[str, Any]:
        one = str(technician.device_id) if "devices" in route else new_id()
        path = "/" + route.replace("{id}", one)
        if route.endswith("sync/rows"):
            path += "?collection=work_orders&bucket=1"
        if route.endswith("keys/"):
            return path, {"name": "key", "reads": ["sites"]}
        return path, {"mutations": []} if route.endswith("push") else {}


@pytest.fixture
def people(wales: World, northwind: World) -> dict[str, Who]:
    hired: dict[str, Who] = {role: wales.hire(role) for role in Role.values}
    supervisor = wales.hire("supervisor", [wales.cardiff])
    admin = wales.hire("admin")
    return hired | {
        "nobody": None,
        "supervisor": supervisor,
        "stranger": northwind.hire("dispatcher"),
        "reader": make_api_key(admin, reads=[*ranked_collections()], writes=[]),
        "writer": make_api_key(admin, reads=[], writes=[*ranked_collections()]),
    }


def ask(who: Who, method: str, path: str, body: Any) -> Any:
    client: Any = APIClient(raise_request_exception=False)
    headers = {"If-Match": "*", "Idempotency-Key": new_id()}
    match who:
        case Phone():
            headers["Authorization"] = f"Bearer {who.token}"
        case str():
            headers["Authorization"] = f"Api-Key {who}"
        case None:
            pass
    raw = b"" if body is None or method == "GET" else json.dumps(body).encode()
    return client.generic(method, path, raw, content_type="application/json", headers=headers)


def test_table_has_every_address() -> None:
    found = {(method, in_first_version(route)) for method, route in addresses()}

    assert found - CASES.keys() == set()
    assert CASES.keys() - found == set()


def in_version(route: str, body: Any) -> Any:
    """Return a body of the first version as the route's has it."""
    _, version, place, *_ = f"{route}///".split("/")
    collection = place.replace("-", "_")
    if isinstance(body, list):
        return [VERSIONS[version].up(collection, row) for row in body]
    return VERSIONS[version].up(collection, body) if body else body


VERSIONS = {"v1": Version(()), "v2": Version(CHAIN["v2"])}
ASKED = [
    *(pytest.param(m, r, nullcontext, id=f"{m}-{r}") for m, r in sorted(set(addresses()))),
    # Once more with the application's own tenant filter patched out: policies alone.
    *(
        pytest.param(m, r, no_filter, id=f"{m}-{r}-policies alone")
        for m, r in sorted(set(addresses()))
        if r.startswith("api/v1/")
    ),
]


@pytest.mark.parametrize(("method", "route", "filtered"), ASKED)
def test_everybody_is_answered_as_the_table_says(
    filtered: Any, wales: World, people: dict[str, Who], method: str, route: str
) -> None:
    wanted = dict(zip(PEOPLE, CASES[method, in_first_version(route)], strict=True))

    found = {}
    for name in PEOPLE:
        who = people[name]
        technician = people["technician"]
        assert isinstance(technician, Phone)
        path, body = Asked(wales).request(method, route, technician)
        with filtered():
            answer = ask(who, method, path, in_version(route, body))
        found[name] = answer.status_code
        if name in {"nobody", "stranger"} and not answer.streaming:
            assert canaries[wales.tenant.pk].encode() not in answer.content

    assert found == wanted, f"{method} {route} " + " ".join(str(found[name]) for name in PEOPLE)
