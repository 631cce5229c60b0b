"""Local rows: what the app reads and edits, with or without a link.

    edit -> changed fields -> pending entry of the row -> local view

An edit is complete when the call returns: it is on the disk and in the local view.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fieldsync.errors import RowExists, RowNotFound, UnsendableValue
from fieldsync.merge import Edit, changed_fields, coalesce, local_view
from fieldsync.outbox import Entry
from fieldsync.store import IssueRecord
from fieldsync.wire import (
    Op,
    canonical_id,
    find_unsendable_name,
    new_row_id,
    normalize,
    parse_object,
    render_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from fieldsync.outbox import Outbox
    from fieldsync.store import Store

NO_GROUPS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as the app sees it: the server's state with this device's edits on top.

    `version` is the server's, None before the row was pulled for the first time. `is_pending`
    says that an edit of it has no answer yet.
    """

    collection: str
    id: str
    version: int | None
    data: dict[str, Any]
    is_pending: bool


class Local:
    """The rows, edits and issues of one store."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        *,
        now: Callable[[], datetime],
        on_edit: Callable[[], None],
    ) -> None:
        self.store = store
        self.outbox = outbox
        self._now = now
        self._on_edit = on_edit

    # reading

    def get(self, collection: str, row_id: str) -> Row | None:
        """The row, or None when this device does not hold it (or has deleted it)."""
        with self.store.transaction():
            server = self.store.get_row(collection, row_id)
            view = self.view(collection, row_id)
            if view is None:
                return None
            is_pending = self._is_waiting(collection, row_id)
        return Row(
            collection=collection,
            id=row_id,
            version=server.version if server else None,
            data=view,
            is_pending=is_pending,
        )

    def _is_waiting(self, collection: str, row_id: str) -> bool:
        return bool(
            self.outbox.get_pending(collection, row_id) or self.outbox.get_sent(collection, row_id)
        )

    def all(self, collection: str) -> list[Row]:
        """All rows of the collection in the local view, by id."""
        with self.store.transaction():
            server = {row.row_id: row for row in self.store.list_rows(collection)}
            edits = self.outbox.list_collection_edits(collection)
        rows = []
        for row_id in sorted(server.keys() | edits.keys()):
            pulled, own = server.get(row_id), edits.get(row_id, [])
            view = local_view(pulled.data if pulled else None, [edit for edit, _ in own])
            if view is not None:
                row = Row(
                    collection=collection,
                    id=row_id,
                    version=pulled.version if pulled else None,
                    data=view,
                    is_pending=any(is_waiting for _, is_waiting in own),
                )
                rows.append(row)
        return rows

    def view(self, collection: str, row_id: str) -> dict[str, Any] | None:
        """The row's fields in the local view."""
        server = self.store.get_row(collection, row_id)
        return local_view(
            server.data if server else None, self.outbox.list_edits(collection, row_id)
        )

    # editing

    def create(
        self,
        collection: str,
        data: Mapping[str, Any],
        *,
        row_id: str | None = None,
        groups: frozenset[str] = NO_GROUPS,
    ) -> str:
        """Queue a new row and return its id. Raises: RowExists, UnsendableValue."""
        now_ms = int(self._now().timestamp() * 1000)
        row_id = canonical_id(
            row_id or new_row_id(now_ms=now_ms, random_bytes=secrets.token_bytes(10))
        )
        data = normal_fields(collection, row_id, data)
        edit = Edit(op=Op.CREATE, data=data, groups=groups)
        with self.store.transaction():
            # A deleted row's id stays taken: until the delete is echoed, its server row is here.
            is_known = self.store.get_row(collection, row_id) is not None
            if is_known or self.outbox.list_edits(collection, row_id):
                raise RowExists(collection, row_id)
            self.enqueue(collection, row_id, edit, base=None)
        return row_id

    def update(
        self,
        collection: str,
        row_id: str,
        fields: Mapping[str, Any],
        *,
        groups: frozenset[str] = NO_GROUPS,
    ) -> None:
        """Queue those of `fields` that differ from the local view.

        Raises: RowNotFound, UnsendableValue.
        """
        with self.store.transaction():
            view = self._existing(collection, row_id)
            changed = changed_fields(view, normal_fields(collection, row_id, fields))
            if changed:
                basis = self.basis(collection, row_id)
                edit = Edit(op=Op.UPDATE, data=changed, base_version=basis, groups=groups)
                self.enqueue(collection, row_id, edit, base=view)

    def delete(self, collection: str, row_id: str, *, groups: frozenset[str] = NO_GROUPS) -> None:
        """Queue the deletion of the row. Raises: RowNotFound."""
        with self.store.transaction():
            view = self._existing(collection, row_id)
            basis = self.basis(collection, row_id)
            edit = Edit(op=Op.DELETE, data={}, base_version=basis, groups=groups)
            self.enqueue(collection, row_id, edit, base=view)

    def _existing(self, collection: str, row_id: str) -> dict[str, Any]:
        view = self.view(collection, row_id)
        if view is None:
            raise RowNotFound(collection, row_id)
        return view

    def basis(self, collection: str, row_id: str) -> int | None:
        """The newest version that an edit made now is known to build on.

        Behind an edit on its way this is only that edit's base; its ack moves it on.
        """
        sent = self.outbox.get_sent(collection, row_id)
        if sent is not None:
            return sent.edit.base_version
        server = self.store.get_row(collection, row_id)
        known = [ack.basis for ack in self.outbox.list_acks(collection, row_id)]
        known.append(server.version if server else None)
        return max((version for version in known if version is not None), default=None)

    def enqueue(
        self, collection: str, row_id: str, edit: Edit, *, base: Mapping[str, Any] | None
    ) -> None:
        """Put `edit` behind the row's pending edit, or make it the pending edit."""
        self.store.after_commit(self._on_edit)
        pending = self.outbox.get_pending(collection, row_id)
        if pending is None:
            sent = self.outbox.get_sent(collection, row_id)
            entry = Entry(
                collection=collection,
                row_id=row_id,
                revision=sent.revision + 1 if sent else 1,
                edit=edit,
                base=None if base is None else render_json(base),
                created_at=self._now().isoformat(),
            )
            self.outbox.add(entry)
            return
        joined = coalesce(pending.edit, edit)
        if joined is None:
            self.outbox.remove(pending)
        else:
            self.outbox.replace_edit(pending, joined, revision=pending.revision + 1)

    def enqueue_first(
        self, collection: str, row_id: str, edit: Edit, *, base: Mapping[str, Any] | None
    ) -> None:
        """Put `edit` before the row's pending edit: that one was made later, and wins."""
        pending = self.outbox.get_pending(collection, row_id)
        if pending is None:
            self.enqueue(collection, row_id, edit, base=base)
            return
        later = pending.edit
        if edit.op is Op.UPDATE and later.base_version is not None:
            # The older base: better one conflict too many than an overwritten edit.
            oldest = min(edit.base_version or later.base_version, later.base_version)
            edit = replace(edit, base_version=oldest)
        joined = coalesce(later, edit) if edit.op is Op.DELETE else coalesce(edit, later)
        if joined is None:
            self.outbox.remove(pending)
        else:
            self.outbox.replace_edit(pending, joined, revision=pending.revision + 1)

    # refusing

    def refuse(self, entry: Entry, edit: Edit, **said: Any) -> None:
        """Turn an entry that left the queue into an issue. `said` is what the server said."""
        issue = {
            "code": None,
            "detail": "",
            "fields": [],
            "version": None,
            "theirs": None,
            "errors": [],
            "blocked_by": None,
            **said,
        }
        self.store.add_issue(
            IssueRecord(
                id=0,
                collection=entry.collection,
                row_id=entry.row_id,
                op=edit.op,
                base_version=edit.base_version,
                mine=dict(edit.data),
                base=None if entry.base is None else parse_object(entry.base),
                groups=sorted(edit.groups),
                created_at=self._now().isoformat(),
                **issue,
            )
        )


def normal_fields(collection: str, row_id: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` as it will come back from the store and the wire.

    Raises: UnsendableValue for what would spoil a whole push.
    """
    try:
        normal = normalize(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnsendableValue(collection, row_id, str(error)) from error
    for name in (collection, row_id):
        reason = find_unsendable_name(name)
        if reason is not None:
            raise UnsendableValue(collection, row_id, reason)
    return normal
