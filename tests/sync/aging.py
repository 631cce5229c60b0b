"""Time that passes: changes become older, and what is too old is pruned."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import partial
from itertools import islice
from uuid import UUID

from django.db import transaction
from django.db.models import F

from sync import changelog, retention, tombstones
from sync.clock import utc_now
from sync.models import ChangeRow, Entry, Stream

DAY = dt.timedelta(days=1)


def let_pass(tenant_id: UUID, days: float, *, until: int | None = None) -> None:
    """Make the changes that many days older; those up to a seq, or all that there are now."""
    changes = ChangeRow.objects.filter(tenant_id=tenant_id)
    if until is not None:
        changes = changes.filter(seq__lte=until)
    with transaction.atomic():
        changelog.lock_stream(tenant_id)  # as all who write changes do, or they wait in a circle
        changes.update(changed_at=F("changed_at") - days * DAY)


def prune(tenant_id: UUID, *, chunk_rows: int = 1_000, chunks: int | None = None) -> int:
    """Prune a tenant's tombstones as the command does, or stop after some chunks; return its floor."""
    for _ in islice(pruning(tenant_id, chunk_rows), chunks):
        pass
    return stream(tenant_id).floor


def pruning(tenant_id: UUID, chunk_rows: int) -> Iterator[int]:
    """Prune a tenant's tombstones, chunk by chunk."""
    before = retention.cutoff("tombstones", utc_now())
    found = [
        retention.Portion(rows=old.lines, prune=partial(tombstones.prune, old))
        for old in tombstones.list_old(before)
        if old.tenant_id == tenant_id
    ]
    return retention.prune(found, chunk_rows)


def stream(tenant_id: UUID) -> Stream:
    return Stream.objects.get(tenant_id=tenant_id)


def told(tenant_id: UUID) -> set[int]:
    """Return the seqs under which the feed tells of rows that are gone."""
    entries = Entry.objects.filter(tenant_id=tenant_id).exclude(op="upsert")
    changes = ChangeRow.objects.filter(tenant_id=tenant_id, op="delete")
    return {*entries.values_list("seq", flat=True), *changes.values_list("seq", flat=True)}
