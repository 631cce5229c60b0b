"""Which scopes a request holds, and what finding out costs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory, force_authenticate

from backend.accounts.models import Membership, User
from backend.accounts.selectors import load_session
from backend.fieldwork.access import resolve_actor
from sync import local_edits
from sync.types import Actor
from tests.phones import Phone, World, new_id

TREE = {"wales": None, "south": "wales", "cardiff": "south", "newport": "south", "north": "wales"}
HOLDS = [  # role, own territories, territories held
    ("technician", "south",         "south"),
    ("technician", "cardiff north", "cardiff north"),
    ("technician", "",              ""),
    ("supervisor", "south",         "south cardiff newport"),
    ("supervisor", "cardiff north", "cardiff north"),
    ("supervisor", "wales",         "wales south cardiff newport north"),
    ("supervisor", "",              ""),
    ("dispatcher", "",              "wales south cardiff newport north A B"),
    ("admin",      "",              "wales south cardiff newport north A B"),
    ("auditor",    "",              "wales south cardiff newport north A B"),
]  # fmt: skip


@pytest.fixture
def tree(wales: World, northwind: World) -> dict[str, str]:
    """Return the ids of a tree of territories, and of the two (A, B) that stand beside it."""
    ids = {name: new_id() for name in TREE}
    creates = [
        local_edits.create(
            "territories", {"name": name, "parent": ids.get(parent or "")}, ids[name]
        )
        for name, parent in TREE.items()
    ]
    local_edits.apply(wales.tenant.pk, creates)
    return ids | {"A": wales.cardiff, "B": wales.newport}


@pytest.mark.parametrize(("role", "own", "held"), HOLDS)
@pytest.mark.parametrize("is_device", [True, False])
def test_member_holds(
    wales: World, tree: dict[str, str], role: str, own: str, held: str, is_device: bool
) -> None:
    """Read from the database at each request, in one query at most."""
    phone = wales.hire(role, [tree[name] for name in own.split()])
    request = device_request(phone) if is_device else office_request(phone)

    with CaptureQueriesContext(connection) as queries:
        actor = resolve_actor(request)

    assert actor == Actor(
        tenant_id=wales.tenant.pk,
        user_id=phone.user_id,
        device_id=phone.device_id if is_device else None,
        role=role,
        scopes=frozenset(
            {"tenant", f"user:{phone.user_id}"}
            | {f"territory:{tree[name]}" for name in held.split()}
        ),
        may_review=role in {"supervisor", "dispatcher", "admin"},
        sees_most=role in {"dispatcher", "admin", "auditor"},
        home_scopes=frozenset(f"territory:{tree[name]}" for name in held.split()),
    )
    assert len(queries) == (0 if is_device and role == "technician" else 1)


def test_promoted_technician_holds_more_at_once(wales: World, tree: dict[str, str]) -> None:
    """The token says nothing of it."""
    phone = wales.hire("technician", [tree["south"]])
    Membership.objects.filter(user_id=phone.user_id).update(role="supervisor")

    actor = resolve_actor(device_request(phone))

    assert f"territory:{tree['cardiff']}" in actor.scopes


@pytest.mark.parametrize("why", ["none", "several", "inactive", "closed", "nobody"])
def test_office_user_without_exactly_one_membership_is_refused(
    wales: World, northwind: World, why: str
) -> None:
    """Which tenant is meant must never be a guess."""
    phone = wales.hire()
    user = User.objects.get(pk=phone.user_id)
    if why == "none":
        Membership.objects.filter(user=user).delete()
    elif why == "several":
        Membership.objects.create(tenant=northwind.tenant, user=user, role="auditor")
    elif why == "inactive":
        Membership.objects.filter(user=user).update(is_active=False)
    elif why == "closed":
        type(wales.tenant).objects.filter(pk=wales.tenant.pk).update(is_active=False)
    request = office_request(phone)
    if why == "nobody":
        request.user = AnonymousUser()

    with pytest.raises(PermissionDenied):
        resolve_actor(request)


def device_request(phone: Phone) -> Request:
    session = load_session(
        user_id=phone.user_id, tenant_id=phone.tenant_id, device_id=UUID(str(phone.device_id))
    )
    return _request(session.user, session)


def office_request(phone: Phone) -> Request:
    return _request(User.objects.get(pk=phone.user_id), None)


def _request(user: User, auth: Any) -> Request:
    http = APIRequestFactory().get("/")
    force_authenticate(http, user=user, token=auth)
    request = Request(http)
    request.user, request.auth = user, auth
    return request
