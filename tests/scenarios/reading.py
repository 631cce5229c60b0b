"""What the stories look at: outcomes of a report, and what a write would have changed."""

from __future__ import annotations

from typing import Any

from sync.models import Receipt, Stream
from tests.phones import World


def outcomes(results: list[dict[str, Any]]) -> list[str]:
    return [line["outcome"] for line in results]


def state_of(world: World) -> tuple[int, int]:
    """Return what a write would change: the feed's head and the number of receipts."""
    head = Stream.objects.get(tenant_id=world.tenant.pk).head
    return head, Receipt.objects.filter(tenant_id=world.tenant.pk).count()
