"""Local: what the app edits, with or without a link.

    edit -> changed fields -> pending entry of the row -> local view

An edit is complete when the call returns: it is on the disk and in the local view.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping  # at run time: fields of a struct
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from fieldsync.children import holds
from fieldsync.errors import AlreadySent, RowExists, RowNotFound, UnsendableValue
from fieldsync.listeners import Cause
from fieldsync.merge import (
    FIRST_VERSION,
    NO_VERSION,
    Edit,
    changed_fields,
    coalesce,
    local_view,
    on_older_base,
)
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
    from collections.abc import Callable
    from datetime import datetime

    from fieldsync.outbox import Outbox
    from fieldsync.store import Store

NO_GROUPS: frozenset[str] = frozenset()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A row as somebody saw it who edits it now: its fields, and the server's version."""

    data: Mapping[str, Any]
    version: int | None


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """An edit that was given up: what it was to do, and the fields that it was to write."""

    op: Op
    data: Mapping[str, Any]


class Local:
    """The edits of one store."""

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
        row_id = canonical_id(row_id or self.new_id())
        data = normal_fields(collection, row_id, data)
        edit = Edit(op=Op.CREATE, data=data, groups=groups)
        with self.store.transaction(Cause.EDIT):
            # A deleted row's id stays taken: until the delete is echoed, its server row is here.
            is_known = self.store.get_row(collection, row_id) is not None
            if is_known or self.outbox.list_edits(collection, row_id):
                raise RowExists(collection, row_id)
            self.enqueue(collection, row_id, edit, base=None)
        return row_id

    def new_id(self) -> str:
        """An id for a row or a child of one."""
        now_ms = int(self._now().timestamp() * 1000)
        return new_row_id(now_ms=now_ms, random_bytes=secrets.token_bytes(10))

    def update(
        self,
        collection: str,
        row_id: str,
        fields: Mapping[str, Any],
        *,
        groups: frozenset[str] = NO_GROUPS,
        seen: Seen | None = None,
    ) -> None:
        """Queue those of `fields` that differ from the local view.

        `seen` is the row as it was when the edit began, if that was before this call: what
        others changed since is not overwritten unasked. Raises: RowNotFound, UnsendableValue.
        """
        with self.store.transaction(Cause.EDIT):
            view = self._existing(collection, row_id)
            changed = changed_fields(view, normal_fields(collection, row_id, fields))
            if changed:
                basis = self.basis(collection, row_id)
                if seen is not None and basis is not None and _has_moved(seen, view, changed):
                    basis = min(basis, seen.version or FIRST_VERSION)
                edit = Edit(op=Op.UPDATE, data=changed, base_version=basis, groups=groups)
                self.enqueue(collection, row_id, edit, base=view)

    def delete(self, collection: str, row_id: str, *, groups: frozenset[str] = NO_GROUPS) -> None:
        """Queue the deletion of the row. Raises: RowNotFound."""
        with self.store.transaction(Cause.EDIT):
            view = self._existing(collection, row_id)
            basis = self.basis(collection, row_id)
            edit = Edit(op=Op.DELETE, data={}, base_version=basis, groups=groups)
            self.enqueue(collection, row_id, edit, base=view)

    def undo(self, collection: str, row_id: str) -> Undone | None:
        """Give up the row's pending edit, and return it; None when there is none.

        Raises: AlreadySent when the row's only unsettled edit is on its way to the server.
        """
        with self.store.transaction(Cause.EDIT):
            pending = self.outbox.get_pending(collection, row_id)
            if pending is not None:
                self.outbox.remove(pending)
                return Undone(op=pending.edit.op, data=pending.edit.data)
            if self.outbox.get_sent(collection, row_id) is not None:
                raise AlreadySent(collection, row_id)
        return None

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
        joined = coalesce(on_older_base(pending.edit, edit), edit)
        if joined is None:
            joined = self._delete_of_what_is_there(pending)
        self._replace(pending, joined)

    def _delete_of_what_is_there(self, created: Entry) -> Edit | None:
        """The delete of a row whose create waits, but which a pull has brought all the same.

        A store that was put back or copied sends its creates again. What else is there now than
        was created lies hidden below the create: that delete must be asked about.
        """
        server = self.store.get_row(created.collection, created.row_id)
        if server is None:
            return None
        is_hidden = changed_fields(server.data, created.edit.data)
        base = NO_VERSION if is_hidden else server.version
        return replace(created.edit, op=Op.DELETE, data={}, base_version=base)

    def _replace(self, pending: Entry, joined: Edit | None) -> None:
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
        edit = on_older_base(edit, later)
        joined = coalesce(later, edit) if edit.op is Op.DELETE else coalesce(edit, later)
        self._replace(pending, joined)

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


def _has_moved(seen: Seen, view: Mapping[str, Any], changed: Mapping[str, Any]) -> bool:
    """Whether a field that is being written is not any more what its author saw."""
    return any(not holds(view.get(name), seen.data[name]) for name in changed if name in seen.data)


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
