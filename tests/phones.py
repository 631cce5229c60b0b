"""The people and phones of the stories that the tests tell.

A `Phone` speaks the protocol as plain HTTP with a token of its own. Every answer it gets is searched
for other tenants' canaries: a text that stands in all of a tenant's rows and must never travel.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from rest_framework.test import APIClient

from backend.accounts import api_keys
from backend.accounts.models import Device, Membership, Role, Tenant, User
from backend.accounts.selectors import load_session
from backend.accounts.tokens import make_access
from sync import local_edits
from sync.clock import utc_now
from sync.ids import uuid7
from sync.row_security import for_tenant

PUSH, PULL = "/api/v1/sync/push", "/api/v1/sync/pull"
PAGES_MAX = 1_000  # a pull that has not ended by then loops

canaries: dict[UUID, str] = {}  # tenant -> the text in all of its rows


def new_id() -> str:
    return str(uuid7())


def create(
    collection: str, row_id: str | None = None, group: str | None = None, **data: Any
) -> dict[str, Any]:
    mutation = {"op": "create", "collection": collection, "id": row_id or new_id(), "data": data}
    return mutation | ({"group": group} if group else {})


def update(collection: str, row_id: str, base: int | None, **data: Any) -> dict[str, Any]:
    mutation = {"op": "update", "collection": collection, "id": row_id, "data": data}
    return mutation | ({} if base is None else {"base_version": base})


def delete(collection: str, row_id: str, base: int) -> dict[str, Any]:
    return {"op": "delete", "collection": collection, "id": row_id, "base_version": base}


@dataclasses.dataclass
class Phone:
    """One device of one person, with the replica that its pulls add up to."""

    tenant_id: UUID
    token: str
    user_id: UUID
    device_id: UUID
    cursor: str | None = None
    rows: dict[tuple[str, str], tuple[int, dict[str, Any]]] = dataclasses.field(
        default_factory=dict
    )

    def send(self, method: str, url: str, body: Any = None, **headers: str) -> Any:
        """Send one request; `body` may be bytes, to say something that is no JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        client: Any = APIClient(raise_request_exception=False)
        answer = client.generic(
            method, url, raw if body is not None else b"", content_type="application/json",
            headers={"Authorization": f"Bearer {self.token}", **headers},
        )  # fmt: skip
        for tenant_id, canary in canaries.items():
            assert tenant_id == self.tenant_id or canary.encode() not in answer.content, url
        assert answer.status_code < 500 or answer.status_code == 503, answer.content
        return answer

    def push_raw(self, body: Any, key: str | None = None) -> Any:
        headers = {} if key == "" else {"Idempotency-Key": key or str(uuid.uuid4())}
        return self.send("POST", PUSH, body, **headers)

    def push(
        self, *mutations: dict[str, Any], key: str | None = None, policy: str = "per_row"
    ) -> list[dict[str, Any]]:
        """Push and return the results; the push itself must be understood."""
        answer = self.push_raw({"policy": policy, "mutations": list(mutations)}, key)
        assert answer.status_code in {200, 409, 422}, answer.content
        results: list[dict[str, Any]] = answer.json()["results"]
        assert [line["index"] for line in results] == list(range(len(mutations)))
        return results

    def pull_page(self, limit: int = 1_000) -> dict[str, Any]:
        """Pull one page, apply it to the replica, and return it."""
        cursor = f"&cursor={self.cursor}" if self.cursor else ""
        answer = self.send("GET", f"{PULL}?limit={limit}{cursor}")
        assert answer.status_code == 200, answer.content
        page: dict[str, Any] = answer.json()
        for change in page["changes"]:
            key = change["collection"], change["id"]
            if change["op"] == "upsert":
                self.rows[key] = change["version"], change["data"]
            else:
                self.rows.pop(key, None)
        self.cursor = page["cursor"]
        return page

    def pull(self, limit: int = 1_000) -> list[dict[str, Any]]:
        """Pull to the end; return all changes."""
        changes: list[dict[str, Any]] = []
        for _ in range(PAGES_MAX):
            page = self.pull_page(limit)
            changes += page["changes"]
            if not page["has_more"]:
                return changes
        raise AssertionError("the pages of this pull never end")

    def version(self, collection: str, row_id: str) -> int:
        return self.rows[collection, row_id][0]

    def row(self, collection: str, row_id: str) -> dict[str, Any]:
        return self.rows[collection, row_id][1]


@dataclasses.dataclass
class World:
    """One tenant with two territories, a site in each, and a way to hire people."""

    tenant: Tenant
    canary: str
    cardiff: str
    newport: str
    site: str
    other_site: str
    _count: Iterator[int] = dataclasses.field(default_factory=lambda: iter(range(10_000)))

    def hire(self, role: str = Role.TECHNICIAN, territories: list[str] | None = None) -> Phone:
        """Return the phone of a new person; a technician holds Cardiff unless told otherwise."""
        name = f"{self.tenant.slug}-{next(self._count)}"
        user = User.objects.create(username=name)
        held = [self.cardiff] if territories is None else territories
        Membership.objects.create(
            tenant=self.tenant, user=user, role=role, territories=[UUID(t) for t in held]
        )
        return self.phone_of(user)

    def phone_of(self, user: User, install_id: str = "phone") -> Phone:
        """Return another phone of the same person."""
        device_id, token = make_session(user, self.tenant, install_id)
        return Phone(tenant_id=self.tenant.pk, token=token, user_id=user.pk, device_id=device_id)

    def order(self, **data: Any) -> dict[str, Any]:
        """Return the data of a work order that is all right."""
        return {"kind": "repair", "site": self.site, "title": f"{self.canary} pump"} | data


def make_world(slug: str) -> World:
    """Make a tenant with its canary, and write its first rows through the office's door."""
    tenant = Tenant.objects.create(slug=slug, name=slug.title())
    canary = canaries.setdefault(tenant.pk, f"canary-{uuid.uuid4().hex[:12]}")
    ids = [new_id() for _ in range(4)]
    cardiff, newport, site, other = ids
    local_edits.apply(
        tenant.pk,
        [
            local_edits.create("territories", {"name": f"{canary} Cardiff"}, cardiff),
            local_edits.create("territories", {"name": f"{canary} Newport"}, newport),
            local_edits.create("sites", {"name": f"{canary} A", "territory": cardiff}, site),
            local_edits.create("sites", {"name": f"{canary} B", "territory": newport}, other),
        ],
    )
    return World(
        tenant=tenant, canary=canary, cardiff=cardiff, newport=newport, site=site, other_site=other
    )


def make_session(user: User, tenant: Tenant, install_id: str) -> tuple[UUID, str]:
    """Log in without the cost of a password; return the device's id and an access token."""
    device = Device.objects.create(
        tenant=tenant, user=user, install_id=install_id, platform="test", app_version="1",
        created_at=utc_now(),
        last_seen_at=utc_now(),
    )  # fmt: skip
    session = load_session(user_id=user.pk, tenant_id=tenant.pk, device_id=device.pk)
    return device.pk, make_access(session)


def make_api_key(admin: Phone, **may: list[str]) -> str:
    """Return the text of an API key that an admin has made; `may` are its `reads` and `writes`."""
    session = load_session(
        user_id=admin.user_id, tenant_id=admin.tenant_id, device_id=admin.device_id
    )
    with for_tenant(admin.tenant_id):
        _, text = api_keys.make(session, name="key", expires_at=None, now=utc_now(), **may)
    return text
