"""Quarantine: what was refused and waits on the server for a supervisor. Owns sync_quarantine.

    park   refused mutations of a push -> one INSERT; the same again while open keeps its id
    take   lock one that is open -> (carry it out, see `review`) -> settle
    prune  delete what was settled long ago; what is open stays, however old

`not_applied` is not parked: nothing is wrong with it, and its device sends it again with the rest.
Who may see a parked mutation is said by scopes: those of the row that it is about, of the row that
it would hang below, or of whoever made it.

Locks: a parked mutation before the rows that it is about. A push never waits for one that is being
looked at (DO NOTHING does not), only for one being settled, after which only the stream is locked.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import F, QuerySet
from msgspec.structs import replace

from sync import changelog
from sync.conf import sync_settings
from sync.errors import QuarantineMissing, QuarantineSettled
from sync.ids import uuid7
from sync.models import ParkedMutation
from sync.registry import get_collection
from sync.types import Actor, Mutation, Op, Outcome, ParkedState, Result, RowKey, Wire
from sync.wire import canonical_id, encode

if TYPE_CHECKING:
    import datetime

ANCESTORS_MAX = 16  # rows looked up the line of parents; a circle ends here too
ERRORS_MAX = 100  # field errors kept of one mutation: more than anybody reads

_COLUMNS = (
    'id, collection, row_id, op, base_version, "group", data, size_bytes, outcome, code, detail, '
    "errors, args, scopes, digest"
)
_PARK = f"""
INSERT INTO sync_quarantine ({_COLUMNS}, tenant_id, device_id, user_id, key, created_at, state,
                             reason)
SELECT {_COLUMNS}, %(tenant)s, %(device)s, %(user)s, %(key)s, %(now)s, 'open', ''
FROM json_to_recordset(%(lines)s::json) AS given(
    id uuid, collection text, row_id text, op text, base_version bigint, "group" text,
    data jsonb, size_bytes bigint, outcome text, code text, detail text, errors jsonb,
    args jsonb, scopes text[], digest text)
ORDER BY digest
ON CONFLICT (tenant_id, digest) WHERE state = 'open' DO NOTHING
RETURNING digest, id
"""  # noqa: S608  # constants; two pushes that park the same wait for each other in one order

# Also those settled a moment ago: the push then comes before the reviewer, who had not seen it.
_SAME = """
SELECT DISTINCT ON (digest) digest, id FROM sync_quarantine
WHERE tenant_id = %s AND digest = ANY(%s) ORDER BY digest, id DESC
"""
_WAIT = "SELECT set_config('lock_timeout', %s, true)"
_PRUNE = """
DELETE FROM sync_quarantine WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM sync_quarantine WHERE state <> 'open' AND settled_at < %s
    ORDER BY settled_at LIMIT %s FOR UPDATE SKIP LOCKED))
"""  # by places, as receipts are: no plan deletes beyond what is locked


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some parked mutations, oldest first, and whether more follow."""

    parked: list[ParkedMutation]
    has_more: bool


def park(
    actor: Actor,
    key: str,
    mutations: Sequence[Mutation],
    results: list[Result],
    now: datetime.datetime,
) -> list[Result]:
    """Keep what was refused, as it was sent in `mutations`; return the results, which now say so.

    Call it inside the push's transaction. Costs nothing when nothing was refused, and else a
    number of queries that does not depend on how much was.
    """
    refused = [result for result in results if _is_parked(result)]
    if not actor.has_quarantine or not refused:
        return results
    sent = {mutation.index: mutation for mutation in mutations}
    digests = {r.mutation.index: _digest(actor, sent[r.mutation.index]) for r in refused}
    scopes = _scopes(actor, mutations, [sent[result.mutation.index] for result in refused])
    ids = sorted(uuid7() for _ in refused)  # in the order of the push
    lines = {  # of the same mutation twice in one push, the first
        digests[result.mutation.index]: {
            **_line(sent[result.mutation.index], result),
            "id": new_id,
            "scopes": scopes[result.mutation.index],
            "digest": digests[result.mutation.index],
        }
        for new_id, result in zip(reversed(ids), reversed(refused), strict=True)
    }
    kept = _insert(actor, key, lines, now)
    return [
        replace(result, quarantine_id=kept[digests[result.mutation.index]])
        if result.mutation.index in digests
        else result
        for result in results
    ]


def find(reviewer: Actor, parked_id: UUID) -> ParkedMutation:
    """Return a parked mutation that `reviewer` may see, settled or not.

    Raises:
        QuarantineMissing: there is none, as far as they are concerned.
    """
    return _found(_visible(reviewer), parked_id)


def read_page(
    reviewer: Actor, state: ParkedState, *, after: UUID | None, rows_max: int, bytes_max: int
) -> Page:
    """Return the next parked mutations behind `after`, one at least and `bytes_max` at most."""
    rows = _visible(reviewer).filter(state=state).order_by("id")
    if after is not None:
        rows = rows.filter(id__gt=after)
    sizes = list(rows.values_list("id", "size_bytes")[: rows_max + 1])
    chosen: list[UUID] = []
    total_bytes = 0
    for parked_id, size_bytes in sizes[:rows_max]:
        total_bytes += size_bytes
        if chosen and total_bytes > bytes_max:
            break
        chosen.append(parked_id)
    return Page(
        parked=list(rows.filter(id__in=chosen)) if chosen else [],
        has_more=len(chosen) < len(sizes),
    )


def take(reviewer: Actor, parked_id: UUID) -> ParkedMutation:
    """Lock an open parked mutation until COMMIT and return it.

    Raises:
        QuarantineMissing: there is none, as far as `reviewer` is concerned.
        QuarantineSettled: it is not open any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAIT, [f"{sync_settings().lock_wait_ms}ms"])
    parked = _found(_visible(reviewer).select_for_update(no_key=True), parked_id)
    if parked.state != ParkedState.OPEN:
        raise QuarantineSettled(ParkedState(parked.state))
    return parked


def settle(
    parked: ParkedMutation,
    state: ParkedState,
    *,
    by: UUID | None,
    now: datetime.datetime,
    reason: str = "",
    edit: Wire | None = None,
) -> None:
    """Write down what became of a parked mutation that `take` has locked."""
    parked.state, parked.settled_at, parked.settled_by = state, now, by
    parked.reason, parked.edit = reason, edit
    ParkedMutation.objects.filter(tenant_id=parked.tenant_id, id=parked.pk).update(
        state=state,
        settled_at=now,
        settled_by=by,
        reason=reason,
        edit=edit,
        size_bytes=F("size_bytes") + (len(encode(edit)) if edit else 0),
    )


def list_open(device: Actor, row_id: str) -> list[ParkedMutation]:
    """Return what a device sent about rows of that id and nobody has settled, oldest first."""
    return list(
        ParkedMutation.objects.filter(
            tenant_id=device.tenant_id,
            device_id=device.device_id,
            row_id=row_id,
            state=ParkedState.OPEN,
        ).order_by("id")
    )


def count_settled(before: datetime.datetime) -> int:
    """Return how many parked mutations were settled before `before`."""
    return ParkedMutation.objects.filter(settled_at__lt=before).count()  # none of them is open


def prune(before: datetime.datetime, rows_max: int) -> int:
    """Delete up to `rows_max` parked mutations that were settled before `before`; return how many.

    One that waits for a reviewer is kept, however old: it is somebody's work.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE, [before, rows_max])
        return int(cursor.rowcount)


def _is_parked(result: Result) -> bool:
    return result.refusal is not None and result.outcome is not Outcome.NOT_APPLIED


def _insert(
    actor: Actor, key: str, lines: Mapping[str, Wire], now: datetime.datetime
) -> dict[str, UUID]:
    """Keep `lines`, which are named by their digests; return the id of each, new or not."""
    parameters: dict[str, Any] = {
        "tenant": actor.tenant_id,
        "device": actor.device_id,
        "user": actor.user_id,
        "key": key,
        "now": now,
        "lines": encode(list(lines.values())).decode(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_PARK, parameters)
        kept: dict[str, UUID] = dict(cursor.fetchall())
        if len(kept) < len(lines):
            cursor.execute(_SAME, [actor.tenant_id, [d for d in lines if d not in kept]])
            kept |= dict(cursor.fetchall())
    return kept


def _line(mutation: Mutation, result: Result) -> Wire:
    refusal = result.refusal
    errors = refusal.errors[:ERRORS_MAX] if refusal else ()
    return {
        "collection": mutation.collection,
        "row_id": mutation.id,
        "op": mutation.op,
        "base_version": mutation.base_version,
        "group": mutation.group or "",
        "data": mutation.data,
        "size_bytes": len(encode([mutation.data, errors])),
        "outcome": result.outcome,
        "code": refusal.code if refusal else "",
        "detail": refusal.detail if refusal else "",
        "errors": errors,
        "args": refusal.args if refusal else {},
    }


def _digest(actor: Actor, mutation: Mutation) -> str:
    """Return the name of what `actor`'s device asked for, whatever the push that it came in."""
    content = [
        actor.device_id or actor.user_id,
        mutation.collection,
        mutation.id,
        mutation.op,
        mutation.base_version,
        mutation.data,
    ]
    text = msgspec.json.encode(content, order="sorted")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _scopes(
    actor: Actor, mutations: Iterable[Mutation], refused: Sequence[Mutation]
) -> dict[int, list[str]]:
    """Return who is to see each refused mutation, by index, as scopes; one query.

    An edit is where its row is. A create is where the row is that it hangs below, which may come
    in the same push: its own id may be taken by a row that has nothing to do with it.
    """
    parents: dict[RowKey, RowKey] = {}
    for mutation in mutations:  # a row's first mutation says where it is, or was to be
        parent = _parent_key(mutation)
        if parent is not None:
            parents.setdefault(mutation.key, parent)
    keys = {mutation.key for mutation in refused} | set(parents.values())
    facts = changelog.read_facts(actor.tenant_id, keys)
    home = sorted(actor.home_scopes or actor.scopes)
    found = {}
    for mutation in refused:
        key = parents.get(mutation.key) if mutation.op is Op.CREATE else mutation.key
        found[mutation.index] = _scopes_above(key, parents, facts) or home
    return found


def _scopes_above(
    key: RowKey | None, parents: Mapping[RowKey, RowKey], facts: changelog.Facts
) -> list[str]:
    """Return the scopes of the first row that the log knows, from `key` up; none if it knows none.

    A deleted row is still in the scopes that it was in.
    """
    for _ in range(ANCESTORS_MAX):
        if key is None:
            break
        fact = facts.rows.get(key)
        if fact is not None and fact.scopes:
            return sorted(fact.scopes)
        key = parents.get(key)
    return []


def _parent_key(mutation: Mutation) -> RowKey | None:
    """Return the row that the mutation's row hangs below; what was sent may be anything."""
    collection = get_collection(mutation.collection)
    if collection is None or collection.parent is None or collection.parent_collection is None:
        return None
    target = mutation.data.get(collection.parent)
    if not isinstance(target, str):
        return None
    return RowKey(collection.parent_collection, canonical_id(target))


def _visible(reviewer: Actor) -> QuerySet[ParkedMutation]:
    rows = ParkedMutation.objects.filter(tenant_id=reviewer.tenant_id)
    return rows if reviewer.is_system else rows.filter(scopes__overlap=sorted(reviewer.scopes))


def _found(rows: QuerySet[ParkedMutation], parked_id: UUID) -> ParkedMutation:
    parked = rows.filter(id=parked_id).first()
    if parked is None:
        raise QuarantineMissing
    return parked
