"""What a reviewer does at a desk: look through what was refused and kept, and settle it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from backend.accounts.models import Tenant
from tests.phones import Phone, World

QUARANTINE = "/api/v1/sync/quarantine/"


def turn_on(world: World) -> World:
    """From now on the tenant keeps what is refused."""
    Tenant.objects.filter(pk=world.tenant.pk).update(has_quarantine=True)
    return world


def page(reviewer: Phone, **query: Any) -> dict[str, Any]:
    answer = reviewer.send("GET", f"{QUARANTINE}?{urlencode(query)}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def kept(reviewer: Phone, **query: Any) -> list[dict[str, Any]]:
    """Return the parked mutations that the reviewer is shown."""
    parked: list[dict[str, Any]] = page(reviewer, **query)["parked"]
    return parked


def settle(reviewer: Phone, parked_id: str, verb: str, body: Any = None) -> Any:
    return reviewer.send("POST", f"{QUARANTINE}{parked_id}/{verb}/", body)


def apply(reviewer: Phone, parked_id: str, **edit: Any) -> dict[str, Any]:
    """Apply a parked mutation, which must succeed; return its result."""
    answer = settle(reviewer, parked_id, "apply", edit or None)
    assert answer.status_code == 200, answer.content
    line: dict[str, Any] = answer.json()
    return line


def state_of_parked(reviewer: Phone, parked_id: str) -> str:
    answer = reviewer.send("GET", f"{QUARANTINE}{parked_id}/")
    assert answer.status_code == 200, answer.content
    state: str = answer.json()["state"]
    return state
