"""The engine's own tables.

    Stream    one row a tenant: head, the whole state of its feed
    ChangeRow the newest state of each row, rendered once
    Entry     who may see it: one narrow line per row and scope
    ScopeSet  what devices see with, for cursors to name
    Receipt   idempotency keys and the answers given for them
    ParkedMutation  what was refused and is kept for a supervisor

Everything is keyed by tenant first. No foreign key points at a stream: it is the hottest row.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models

from sync.tenancy import TenantPolicy, TenantPrimaryKey
from sync.types import ChangeOp, ParkedState

# As plain text: migrations must not depend on the code of today.
_UPSERT = ChangeOp.UPSERT.value
_OPEN = ParkedState.OPEN.value
_SETTLED = [ParkedState.APPLIED.value, ParkedState.DISCARDED.value]


class Stream(models.Model):
    """A tenant's feed: `head` is the seq of its newest change, `floor` that of the last pruned.

    `moves` counts the transactions in which a row with heirs changed scopes (see `batch`).
    """

    tenant_id = models.UUIDField(primary_key=True)
    epoch = models.UUIDField(default=uuid.uuid4)
    head = models.BigIntegerField(default=0)
    floor = models.BigIntegerField(default=0)
    moves = models.BigIntegerField(default=0)

    class Meta:
        db_table = "sync_stream"
        constraints = [
            TenantPolicy(name="sync_stream_tenant"),
            models.CheckConstraint(
                condition=models.Q(head__gte=models.F("floor"), floor__gte=0),
                name="sync_stream_floor_below_head",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} at {self.head}"


class ChangeRow(models.Model):
    """The newest change of one row; `payload` is its JSON as it goes on the wire."""

    pk = models.CompositePrimaryKey("tenant_id", "collection", "row_id")
    tenant_id = models.UUIDField()
    collection = models.CharField(max_length=64)
    row_id = models.CharField(max_length=64)
    seq = models.BigIntegerField()
    op = models.CharField(max_length=12)
    version = models.BigIntegerField()
    payload = models.TextField(null=True)  # noqa: DJ001  # a tombstone has none, not an empty one
    digest = models.BigIntegerField()
    scopes = ArrayField(models.CharField(max_length=80))
    device_id = models.UUIDField(null=True)
    changed_at = models.DateTimeField()

    class Meta:
        db_table = "sync_change"
        constraints = [
            TenantPolicy(name="sync_change_tenant"),
            models.CheckConstraint(
                condition=models.Q(payload__isnull=False, op="upsert")
                | models.Q(payload__isnull=True, op="delete"),
                name="sync_change_payload_fits_op",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.op} {self.collection}/{self.row_id}@{self.version}"


class Entry(models.Model):
    """A row's line in one scope of the feed; `op` scope_exit says that it left that scope.

    `digest` is that of the row and `bucket` the one that its id falls into, so that what a device
    holds is summed up from the lines of its scopes alone.
    """

    pk = models.CompositePrimaryKey("tenant_id", "scope", "collection", "row_id")
    tenant_id = models.UUIDField()
    scope = models.CharField(max_length=80)
    collection = models.CharField(max_length=64)
    row_id = models.CharField(max_length=64)
    seq = models.BigIntegerField()
    op = models.CharField(max_length=12)
    digest = models.BigIntegerField()
    bucket = models.SmallIntegerField()

    class Meta:
        db_table = "sync_entry"
        constraints = [TenantPolicy(name="sync_entry_tenant")]
        indexes = [
            models.Index(fields=["tenant_id", "scope", "seq"], name="sync_entry_feed"),
            models.Index(
                fields=["tenant_id", "seq"],
                condition=~models.Q(op=_UPSERT),
                name="sync_entry_prunable",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.seq} {self.op} {self.collection}/{self.row_id}"


class ScopeSet(models.Model):
    """What a cursor was read with, under its own hash: scopes, and collections if it named some.

    It is written when a device first reads with it, and never changed.
    """

    pk = models.CompositePrimaryKey("tenant_id", "digest")
    tenant_id = models.UUIDField()
    digest = models.BinaryField(max_length=16)
    scopes = ArrayField(models.CharField(max_length=80))
    collections = ArrayField(models.CharField(max_length=64), null=True)  # none: all of them

    class Meta:
        db_table = "sync_scope_set"
        constraints = [TenantPolicy(name="sync_scope_set_tenant")]

    def __str__(self) -> str:
        return f"{len(self.scopes)} scopes of {self.tenant_id}"


class Receipt(models.Model):
    """One idempotency key of one holder (a device, or a user without one) and its answer.

    `status` is null only inside the transaction that carries the push out.
    """

    tenant_id = models.UUIDField()
    holder_id = models.UUIDField()
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    status = models.SmallIntegerField(null=True)
    answer = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "sync_request"
        constraints = [
            TenantPrimaryKey(fields=("tenant_id", "id"), name="sync_request_tenant_id"),
            TenantPolicy(name="sync_request_tenant"),
            models.UniqueConstraint(
                fields=["tenant_id", "holder_id", "key"], name="sync_request_key_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} -> {self.status}"


class ParkedMutation(models.Model):
    """One refused mutation as it was sent, why it was refused, and what a reviewer did with it.

    `scopes` say who may see it. `digest` names the mutation and its holder: while one is open, the
    same again is not kept twice. `edit` is what the reviewer changed before applying it.
    """

    id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    device_id = models.UUIDField(null=True)
    user_id = models.UUIDField(null=True)
    key = models.CharField(max_length=255)
    collection = models.CharField(max_length=64)
    row_id = models.CharField(max_length=64)
    op = models.CharField(max_length=12)
    base_version = models.BigIntegerField(null=True)
    group = models.CharField(max_length=64, blank=True)
    data = models.JSONField()
    size_bytes = models.BigIntegerField()  # of what has no bound of its own: data, errors, edit
    outcome = models.CharField(max_length=32)
    code = models.TextField()
    detail = models.TextField()
    errors = models.JSONField()
    args = models.JSONField()
    scopes = ArrayField(models.TextField())
    digest = models.CharField(max_length=32)
    created_at = models.DateTimeField()
    state = models.CharField(max_length=12)
    settled_at = models.DateTimeField(null=True)
    settled_by = models.UUIDField(null=True)
    reason = models.CharField(max_length=500, blank=True)
    edit = models.JSONField(null=True)

    class Meta:
        db_table = "sync_quarantine"
        indexes = [
            models.Index(fields=["tenant_id", "state", "id"], name="sync_quarantine_list"),
            models.Index(fields=["tenant_id", "digest"], name="sync_quarantine_same"),
        ]
        constraints = [
            TenantPrimaryKey(fields=("tenant_id", "id"), name="sync_quarantine_tenant_id"),
            TenantPolicy(name="sync_quarantine_tenant"),
            models.UniqueConstraint(
                fields=["tenant_id", "digest"],
                condition=models.Q(state=_OPEN),
                name="sync_quarantine_open_once",
            ),
            models.CheckConstraint(
                condition=models.Q(state=_OPEN, settled_at__isnull=True)
                | models.Q(
                    state__in=_SETTLED,
                    settled_at__isnull=False,
                ),
                name="sync_quarantine_settled_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.op} {self.collection}/{self.row_id}: {self.outcome}"


class Conflict(ParkedMutation):
    """A parked mutation that was refused for somebody else's edit: the same rows, seen apart."""

    class Meta:
        proxy = True
        verbose_name = "conflict"
