"""A tenant's end: every row of it is deleted, beside the traffic of others, and that is verified.

    suspended -> rows, each before what it refers to, a chunk a transaction -> people -> counted

One that is killed has done part of the work, and two at once share it; so it is run again. Who was
a member of nothing else is deleted with their membership, unless they are staff. What the admin
noted of a row's edits goes with the row, since it has its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

from backend.accounts.models import Membership, Tenant, User
from backend.tenants.tables import MEMBERSHIPS, PEOPLE, Table, count_rows, list_tables

if TYPE_CHECKING:
    from uuid import UUID

CHUNK_ROWS: Final = 1_000  # rows a transaction: locks and write-ahead log of some milliseconds
ROUNDS_MAX: Final = 5  # a push that had begun before the suspension may leave rows behind us

_DELETE: Final = """
DELETE FROM "{name}" WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM "{name}" AS t WHERE {condition} {only} LIMIT %(rows)s FOR UPDATE SKIP LOCKED))
RETURNING {returned}
"""
# What nobody of the same table names any more.
_LEAF: Final = """
AND NOT EXISTS (SELECT FROM "{name}" c WHERE c.tenant_id = t.tenant_id AND c.{parent} = t.id)
"""


class NotSuspended(Exception):
    """The tenant is open: its phones would go on to send."""

    def __init__(self) -> None:
        super().__init__("it is open")


class NotGone(Exception):
    """Rows of the tenant are still there."""


def delete_tenant(
    tenant: Tenant,
    on_progress: Callable[[str, int], None] = lambda _, __: None,
    chunk_rows: int = CHUNK_ROWS,
) -> dict[str, int]:
    """Delete a suspended tenant for good; return how many rows of each table went.

    `on_progress` is told after each chunk the table, and how many rows of it are gone.

    Raises:
        NotSuspended: nothing was done.
        NotGone: after several rounds there are still rows; run it again.
    """
    if Tenant.objects.filter(pk=tenant.pk, is_active=True).exists():
        raise NotSuspended
    tables = [table for table in list_tables() if table.name != PEOPLE]
    gone = {table.name: 0 for table in tables}
    for _ in range(ROUNDS_MAX):
        for table in reversed(tables):
            while deleted := _delete_chunk(table, tenant.pk, chunk_rows):
                gone[table.name] += deleted
                on_progress(table.name, gone[table.name])
        left = {name: rows for name, rows in count_rows(tables, tenant.pk).items() if rows}
        if not left:
            return gone
    message = f"still there: {left}"
    raise NotGone(message)


def _delete_chunk(table: Table, tenant_id: UUID, chunk_rows: int) -> int:
    has_id = "id" in table.columns
    sql = _DELETE.format(
        name=table.name,
        condition=table.condition,
        only=_LEAF.format(name=table.name, parent=table.parent) if table.parent else "",
        returned="user_id" if table.name == MEMBERSHIPS else "id" if has_id else "NULL",
    )
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(sql, {"tenant": tenant_id, "rows": chunk_rows})
            found = [value for (value,) in cursor.fetchall()]
        if table.name == MEMBERSHIPS:
            _delete_people(found)
        elif has_id:
            _delete_notes(table, found)
    return len(found)


def _delete_people(user_ids: list[Any]) -> None:
    others = Membership.objects.filter(user_id__in=user_ids).values("user_id")
    User.objects.filter(pk__in=user_ids, is_staff=False).exclude(pk__in=others).delete()


def _delete_notes(table: Table, ids: list[Any]) -> None:
    of_model = ContentType.objects.get_for_model(table.model)
    LogEntry.objects.filter(
        content_type=of_model, object_id__in=[str(row_id) for row_id in ids]
    ).delete()
