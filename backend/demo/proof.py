"""The proof: what the tables hold, against every replica, every ledger and the feed.

    truth      all rows of the tenant, read from the model tables, with scopes worked out from them
    replicas   each device holds exactly the rows of its scopes, field by field
    refusals   whatever was refused waits on its device, with a reason, or was resolved there
    accounts   edits that the tables count = edits that the devices were told are applied
    figures    what the server counted for Prometheus = what the devices were told
    digests    what the server says each device holds = what comes of the truth by SHA-256 and XOR
    feed       versions dense, seqs unique and below the head, the log as the tables

Nothing of it reads the feed to check the feed.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from sync import digests, storage
from sync.models import ChangeRow, Stream
from sync.registry import ranked_collections
from sync.types import Actor, RowKey, RowState
from sync.wire import decode, render_payload

APPLIED = ("created", "updated", "merged", "deleted")  # outcomes that count up a version
KEPT = (*APPLIED, "unchanged")  # what the server has now; all other outcomes are refusals


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What one device holds, and the scopes that its user has."""

    name: str
    scopes: frozenset[str]
    rows: Mapping[RowKey, tuple[int | None, Mapping[str, Any]]]  # version, data


def read_truth(tenant_id: UUID) -> dict[RowKey, RowState]:
    """Return every row of the tenant as the tables have it, with the scopes that follow."""
    truth: dict[RowKey, RowState] = {}
    for name, collection in ranked_collections().items():
        for row_id, state in storage.read(collection, tenant_id).items():
            scopes = frozenset(collection.own_scopes(state.data))
            parent = state.data.get(collection.parent) if collection.parent else None
            if parent is not None and collection.parent_collection is not None:
                scopes |= truth[RowKey(collection.parent_collection, parent)].scopes
            truth[RowKey(name, row_id)] = replace(state, scopes=scopes)
    return truth


def count_edits(truth: Mapping[RowKey, RowState], tenant_id: UUID) -> int:
    """Return how many edits the server has applied ever: versions, and those of tombstones."""
    tombstones = ChangeRow.objects.filter(tenant_id=tenant_id, op="delete")
    return sum(state.version for state in truth.values()) + sum(
        tombstones.values_list("version", flat=True)
    )


def check_replica(replica: Replica, truth: Mapping[RowKey, RowState]) -> Iterator[str]:
    """Yield every difference between a device and the server."""
    expected = {key for key, state in truth.items() if state.scopes & replica.scopes}
    for key in sorted(expected - replica.rows.keys()):
        yield f"{replica.name} lacks {key.collection}/{key.id}"
    for key in sorted(replica.rows.keys() - expected):
        yield f"{replica.name} holds {key.collection}/{key.id}, which is not there for it"
    for key in sorted(expected & replica.rows.keys()):
        version, data = replica.rows[key]
        state = truth[key]
        row = f"{replica.name} {key.collection}/{key.id}"
        if version != state.version:
            yield f"{row} is at version {version}, the server at {state.version}"
        for field in sorted(state.data.keys() | data.keys()):
            if state.data.get(field) != data.get(field):
                ours, theirs = data.get(field), state.data.get(field)
                yield f"{row} {field}: {ours!r}, the server has {theirs!r}"


def check_digest(
    replica: Replica, truth: Mapping[RowKey, RowState], tenant_id: UUID, now: datetime.datetime
) -> Iterator[str]:
    """Yield the buckets of which the server's digest for the device is not that of the tables."""
    actor = Actor(tenant_id=tenant_id, scopes=replica.scopes)
    answer = digests.read_digest(
        actor, cursor=None, collections=(), is_known=lambda _: False, now=now
    )
    told = {
        (name, int(number)): (bucket["count"], int(bucket["checksum"], 16))
        for name, collection in decode(answer.body or b"{}")["collections"].items()
        for number, bucket in collection["buckets"].items()
    }
    computed = _sum_up({k: v for k, v in truth.items() if v.scopes & replica.scopes})
    for bucket in sorted(told.keys() | computed.keys()):
        if told.get(bucket) != computed.get(bucket):
            yield f"{replica.name} is told another digest of {bucket[0]}, bucket {bucket[1]}"


def _sum_up(rows: Mapping[RowKey, RowState]) -> dict[tuple[str, int], tuple[int, int]]:
    """Return count and checksum of each bucket, computed as a device would."""
    sums: dict[tuple[str, int], tuple[int, int]] = {}
    for (collection, row_id), state in rows.items():
        text = b"%b\n%d\n%b" % (row_id.encode(), state.version, render_payload(state.data))
        bucket = collection, hashlib.sha256(row_id.encode()).digest()[0]
        count, checksum = sums.get(bucket, (0, 0))
        row = int.from_bytes(hashlib.sha256(text).digest()[:8])
        sums[bucket] = count + 1, checksum ^ row
    return sums


def check_accounts(
    *, made: int, outcomes: Counter[str], edits_before: int, edits_after: int
) -> Iterator[str]:
    """Yield what was lost or doubled on the way."""
    answered = outcomes.total()
    if answered != made:
        yield f"{made} mutations were made, {answered} were answered for"
    applied = sum(outcomes[outcome] for outcome in APPLIED)
    if applied != edits_after - edits_before:
        yield (
            f"devices were told of {applied} applied edits, "
            f"the server has made {edits_after - edits_before}"
        )


def check_watched(counted: Counter[str], outcomes: Counter[str]) -> Iterator[str]:
    """Yield where the server's own figures are not those of the devices: rows by outcome."""
    for outcome in sorted({*counted, *outcomes}):
        if counted[outcome] != outcomes[outcome]:
            yield (
                f"/metrics counts {counted[outcome]} rows as {outcome}, "
                f"devices were told of {outcomes[outcome]}"
            )


def check_feed(truth: Mapping[RowKey, RowState], tenant_id: UUID) -> Iterator[str]:
    """Yield where the log and the tables disagree."""
    head = Stream.objects.get(tenant_id=tenant_id).head
    logged: dict[RowKey, int] = {}
    seqs: Counter[int] = Counter()
    lines = ChangeRow.objects.filter(tenant_id=tenant_id)
    for collection, row_id, seq, op, version in lines.values_list(
        "collection", "row_id", "seq", "op", "version"
    ):
        seqs[seq] += 1
        if op == "upsert":
            logged[RowKey(collection, row_id)] = version
    yield from (f"seq {seq} is there {count} times" for seq, count in seqs.items() if count > 1)
    yield from (f"seq {seq} is beyond the head {head}" for seq in seqs if seq > head)
    for key in sorted(truth.keys() ^ logged.keys()):
        where = "the log" if key in truth else "the tables"
        yield f"{key.collection}/{key.id} is missing in {where}"
    for key in sorted(truth.keys() & logged.keys()):
        yield from _check_versions(key, truth[key], logged[key])


def check_outboxes(states: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Yield devices with work that the server has not confirmed."""
    for name, state in states:
        if state.pending or state.sent or state.acked_unseen:
            yield (
                f"{name} has {state.pending} pending, {state.sent} sent "
                f"and {state.acked_unseen} unseen rows left"
            )


def check_refusals(
    devices: Iterable[tuple[str, Counter[str], int, Sequence[Any]]],
) -> Iterator[str]:
    """Yield work that was refused and is nowhere: not an open issue, and not resolved either.

    Of each device: its name, the outcomes that it was told, how many issues it resolved, and
    those that are open.
    """
    for name, outcomes, resolved, issues in devices:
        refused = sum(count for outcome, count in outcomes.items() if outcome not in KEPT)
        if refused != resolved + len(issues):
            yield (
                f"{name} was refused {refused} mutations, "
                f"resolved {resolved} and has {len(issues)} issues"
            )
        for issue in issues:
            if not (issue.code and issue.detail):
                yield f"{name} was given no reason for {issue.collection}/{issue.row_id}"


def _check_versions(key: RowKey, state: RowState, logged: int) -> Iterator[str]:
    row = f"{key.collection}/{key.id}"
    if state.version != logged:
        yield f"{row} is at version {state.version}, the log at {logged}"
    late = {f: v for f, v in state.field_versions.items() if not 1 < v <= state.version}
    if late:
        yield f"{row} at version {state.version} has fields changed by {late}"
