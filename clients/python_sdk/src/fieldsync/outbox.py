"""Outbox: edits that wait for the server, batches on their way, and acks not yet echoed.

    edit --add/replace--> pending --freeze--> sent in a batch --answer--> acked --pulled--> nothing
                             ^                     |                        |
                             |                     +--refused--> an issue   +--restored server
                             +----------------------------------------------+   (put back)

A row has at most one pending and one sent entry; an edit made while the row is on its way becomes
or joins the pending one. A batch's key and bytes are stored by `freeze`, before anything is sent,
and never change. Works inside the caller's transaction; called by the engine only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fieldsync.merge import Candidate, Edit, find_cut
from fieldsync.trees import list_overlays, parse_edit
from fieldsync.wire import Mutation, Op, parse_push_body, render_json, render_push

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fieldsync.connections import Writer

MUTATION_BYTES = 250  # around its data, at most: names, ids, a group
VERSION_MAX = 2**63 - 1  # SQLite's largest integer
ENTRY = (
    "seq, collection, row_id, revision, op, data, base_version, base, groups, created_at, position"
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One edit in the outbox. `base` is the JSON of the row that it was made on."""

    seq: int = 0  # given by the outbox
    collection: str
    row_id: str
    revision: int = 1
    edit: Edit
    base: str | None
    created_at: str
    position: int | None = None  # in its batch, once sent


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen push: the same key and bytes at every try."""

    seq: int
    key: str
    body: bytes


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """An applied mutation that no pull has shown yet.

    `version` is the one that will show it; `basis` the one that a new edit may claim to know.
    """

    collection: str
    row_id: str
    edit: Edit
    version: int
    basis: int | None


class Outbox:
    """The three tables of unsent, sent and acked work."""

    def __init__(self, writer: Writer, touch: Callable[[str, str], None]) -> None:
        self._writer = writer
        self._touch = touch  # says which rows are not as they were

    # pending and sent entries

    def get_pending(self, collection: str, row_id: str) -> Entry | None:
        """The row's entry that is not yet in a batch."""
        return self._get("batch IS NULL", collection, row_id)

    def get_sent(self, collection: str, row_id: str) -> Entry | None:
        """The row's entry that is frozen in a batch."""
        return self._get("batch IS NOT NULL", collection, row_id)

    def _get(self, where: str, collection: str, row_id: str) -> Entry | None:
        found = self._writer.first(
            f"SELECT {ENTRY} FROM outbox WHERE collection = ? AND row_id = ? AND {where}",  # noqa: S608  # constants
            (collection, row_id),
        )
        return None if found is None else _entry(found)

    def add(self, entry: Entry) -> int:
        """Queue `entry` behind all others; returns its `seq`."""
        edit = entry.edit
        self._touch(entry.collection, entry.row_id)
        return self._writer.insert(
            "INSERT INTO outbox (collection, row_id, revision, op, data, base_version, base,"
            " groups, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(entry.collection, entry.row_id, entry.revision, edit.op, render_json(edit.data)),
                *(edit.base_version, entry.base, _groups(edit), entry.created_at),
            ),
        )

    def replace_edit(self, entry: Entry, edit: Edit, *, revision: int) -> None:
        """Give a pending entry another content, at its place in the queue."""
        self._touch(entry.collection, entry.row_id)
        self._writer.execute(
            "UPDATE outbox SET op = ?, data = ?, base_version = ?, groups = ?, revision = ?"
            " WHERE seq = ? AND batch IS NULL",
            (
                *(edit.op, render_json(edit.data), edit.base_version, _groups(edit)),
                *(revision, entry.seq),
            ),
        )

    def remove(self, entry: Entry) -> None:
        """Take out exactly this revision of the entry: a later edit is another entry."""
        self._touch(entry.collection, entry.row_id)
        self._writer.execute(
            "DELETE FROM outbox WHERE seq = ? AND revision = ?", (entry.seq, entry.revision)
        )

    def list_candidates(self) -> list[Candidate]:
        """Everything pending, in order."""
        rows = self._writer.execute(
            "SELECT seq, row_id, length(CAST(data AS BLOB)), op, data, base_version, groups"
            " FROM outbox WHERE batch IS NULL ORDER BY seq"
        )
        return [
            Candidate(seq=seq, row_id=row_id, edit=parse_edit(*parts), bytes=size + MUTATION_BYTES)
            for seq, row_id, size, *parts in rows
        ]

    def list_names(self) -> set[tuple[str, str]]:
        """(collection, id) of every row that has an edit here: pending, sent or acked."""
        rows = self._writer.execute(
            "SELECT collection, row_id FROM outbox UNION SELECT collection, row_id FROM acked"
        )
        return set(rows)

    def list_pending(self) -> list[Entry]:
        """The entries that are in no batch yet, in order."""
        rows = self._writer.execute(
            f"SELECT {ENTRY} FROM outbox WHERE batch IS NULL ORDER BY seq"  # noqa: S608  # a constant
        )
        return [_entry(row) for row in rows]

    def count_pending(self) -> int:
        """Entries not yet in a batch."""
        return self._count("outbox WHERE batch IS NULL")

    def count_sent(self) -> int:
        """Entries in batches whose answer is not known."""
        return self._count("outbox WHERE batch IS NOT NULL")

    def oldest_unsent_at(self) -> str | None:
        """When the oldest edit was made that waits, as RFC 3339."""
        found: str | None = self._writer.value("SELECT min(created_at) FROM outbox")
        return found

    # batches

    def freeze(self, chosen: Sequence[tuple[Candidate, str | None]], *, key: str) -> None:
        """Store a batch of `chosen` pending edits under `key`, each with its group's name."""
        entries = [(self._by_seq(candidate.seq), group) for candidate, group in chosen]
        self._store_batch(entries, key=key)

    def add_batch(self, key: str, body: bytes, entries: Sequence[Entry]) -> None:
        """Take over a batch that another store froze: behind the others, as it is.

        None of its rows may have an entry here.
        """
        seqs = [self.add(entry) for entry in entries]
        self._put_batch(seqs, key=key, body=body)

    def has_batch(self, key: str) -> bool:
        """Whether the batch with this key waits for its answer."""
        query = "SELECT 1 FROM batch WHERE key = ?"
        return self._writer.first(query, (key,)) is not None

    def _by_seq(self, seq: int) -> Entry:
        (found,) = self._writer.execute(
            f"SELECT {ENTRY} FROM outbox WHERE seq = ?",  # noqa: S608  # a constant
            (seq,),
        )
        return _entry(found)

    def _store_batch(
        self, entries: Sequence[tuple[Entry, str | None]], *, key: str, place: float | None = None
    ) -> None:
        body = render_push([_mutation(entry, group) for entry, group in entries])
        self._put_batch([entry.seq for entry, _ in entries], key=key, body=body, place=place)

    def _put_batch(
        self, seqs: Sequence[int], *, key: str, body: bytes, place: float | None = None
    ) -> None:
        """Put entries into a new batch; behind all others, unless it has a `place`."""
        batch_seq = self._writer.insert(
            "INSERT INTO batch (place, key, body) VALUES"
            " (coalesce(?, (SELECT coalesce(max(place), 0) + 1 FROM batch)), ?, ?)",
            (place, key, body),
        )
        self._writer.executemany(
            "UPDATE outbox SET batch = ?, position = ? WHERE seq = ?",
            [(batch_seq, position, seq) for position, seq in enumerate(seqs)],
        )

    def split(self, batch: Batch, *, keys: tuple[str, str]) -> bool:
        """Freeze the two halves of `batch` in its place; False when it cannot be parted.

        Only for a batch that was surely not applied: the halves have new keys.
        """
        groups = [mutation.group for mutation in parse_push_body(batch.body).mutations]
        cut = find_cut(groups)
        if cut is None:
            return False
        entries = list(zip(self.list_sent(batch), groups, strict=True))
        here, after = self._places(batch)
        # Out of the way, and its entries straight into the halves: set free in between, they would
        # be pending beside the edits that were made since.
        self._writer.execute("UPDATE batch SET place = -1 WHERE seq = ?", (batch.seq,))
        self._store_batch(entries[:cut], key=keys[0], place=here)
        self._store_batch(entries[cut:], key=keys[1], place=(here + after) / 2)
        self.remove_batch(batch)
        return True

    def _places(self, batch: Batch) -> tuple[float, float]:
        """The place of `batch`, and that of the next one."""
        here = self._writer.value("SELECT place FROM batch WHERE seq = ?", (batch.seq,))
        after = self._writer.value(
            "SELECT coalesce(min(place), ? + 1) FROM batch WHERE place > ?", (here, here)
        )
        return here, after

    def first_batch(self) -> Batch | None:
        """The frozen batch to send next."""
        return next(iter(self.list_batches(limit=1)), None)

    def list_batches(self, *, limit: int = -1) -> list[Batch]:
        """The frozen batches, in the order of sending."""
        rows = self._writer.execute(
            "SELECT seq, key, body FROM batch ORDER BY place LIMIT ?", (limit,)
        )
        return [Batch(seq=seq, key=key, body=body) for seq, key, body in rows]

    def list_sent(self, batch: Batch) -> list[Entry]:
        """The entries of a batch in the order of its mutations; none once it is settled."""
        rows = self._writer.execute(
            f"SELECT {ENTRY} FROM outbox WHERE batch = ? ORDER BY position",  # noqa: S608  # a constant
            (batch.seq,),
        )
        return [_entry(row) for row in rows]

    def count_batch(self, batch: Batch) -> int:
        """How many mutations a batch has, until it is settled."""
        number = self._writer.value("SELECT count(*) FROM outbox WHERE batch = ?", (batch.seq,))
        return int(number)

    def remove_batch(self, batch: Batch) -> None:
        """Forget a batch whose entries are all settled."""
        self._writer.execute("DELETE FROM batch WHERE seq = ?", (batch.seq,))

    # acks

    def add_ack(self, ack: Ack, *, generation: int) -> None:
        """Remember an applied mutation until a pull shows it."""
        edit = ack.edit
        self._touch(ack.collection, ack.row_id)
        self._writer.execute(
            "INSERT INTO acked (collection, row_id, op, data, base_version, groups, version,"
            " basis, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(ack.collection, ack.row_id, edit.op, render_json(edit.data)),
                *(edit.base_version, _groups(edit), ack.version, ack.basis, generation),
            ),
        )

    def list_acks(self, collection: str, row_id: str) -> list[Ack]:
        """The row's unseen acks, oldest first."""
        return self._acks("WHERE collection = ? AND row_id = ?", (collection, row_id))

    def list_acked(self, collection: str) -> set[str]:
        """The ids of a collection's rows that have an unseen ack."""
        rows = self._writer.execute(
            "SELECT DISTINCT row_id FROM acked WHERE collection = ?", (collection,)
        )
        return {row_id for (row_id,) in rows}

    def list_unseen_acks(self) -> list[Ack]:
        """All acks that no pull has shown, oldest first."""
        return self._acks("", ())

    def take_acks(self) -> list[Ack]:
        """Remove and return all unseen acks, oldest first."""
        acks = self.list_unseen_acks()
        for ack in acks:
            self._touch(ack.collection, ack.row_id)
        self._writer.execute("DELETE FROM acked")
        return acks

    def _acks(self, where: str, values: tuple[object, ...]) -> list[Ack]:
        rows = self._writer.execute(
            "SELECT collection, row_id, version, basis, op, data, base_version, groups"  # noqa: S608  # constants
            f" FROM acked {where} ORDER BY seq",
            values,
        )
        return [
            Ack(
                collection=collection,
                row_id=row_id,
                version=version,
                basis=basis,
                edit=parse_edit(*parts),
            )
            for collection, row_id, version, basis, *parts in rows
        ]

    def clear_acks(self, collection: str, row_id: str, *, up_to: int | None = None) -> None:
        """Forget the row's acks that a pull has shown: up to a version, or all."""
        self._touch(collection, row_id)
        self._writer.execute(
            "DELETE FROM acked WHERE collection = ? AND row_id = ? AND version <= ?",
            (collection, row_id, VERSION_MAX if up_to is None else up_to),
        )

    def clear_acks_before(self, generation: int) -> None:
        """Forget acks older than a fresh pull that is now complete: what it lacks is gone."""
        for name in self._writer.execute(
            "SELECT collection, row_id FROM acked WHERE generation < ?", (generation,)
        ):
            self._touch(*name)
        self._writer.execute("DELETE FROM acked WHERE generation < ?", (generation,))

    def keep_acks(self, collections: Sequence[str]) -> None:
        """Forget acks of all other collections: no pull will show them any more."""
        others = f"FROM acked WHERE collection NOT IN ({', '.join('?' * len(collections))})"
        for name in self._writer.execute(
            f"SELECT collection, row_id {others}", tuple(collections)
        ):
            self._touch(*name)
        self._writer.execute(f"DELETE {others}", tuple(collections))

    def count_acks(self) -> int:
        """Acked mutations that no pull has shown."""
        return self._count("acked")

    # the local view

    def list_edits(self, collection: str, row_id: str) -> list[Edit]:
        """Everything to lay over the row's server tree: acked, then sent, then pending."""
        return [edit for edit, _ in list_overlays(self._writer, collection, row_id)]

    def _count(self, table: str) -> int:
        number = self._writer.value(f"SELECT count(*) FROM {table}")  # noqa: S608  # constants
        return int(number)


def _groups(edit: Edit) -> str:
    return render_json(sorted(edit.groups))


def _entry(found: tuple[Any, ...]) -> Entry:
    seq, collection, row_id, revision, op, data, base_version, *rest = found
    base, groups, created_at, position = rest
    return Entry(
        seq=seq,
        collection=collection,
        row_id=row_id,
        revision=revision,
        edit=parse_edit(op, data, base_version, groups),
        base=base,
        created_at=created_at,
        position=position,
    )


def _mutation(entry: Entry, group: str | None) -> Mutation:
    edit = entry.edit
    return Mutation(
        op=edit.op,
        collection=entry.collection,
        id=entry.row_id,
        base_version=None if edit.op is Op.CREATE else edit.base_version,
        data=None if edit.op is Op.DELETE else dict(edit.data),
        group=group,
    )
