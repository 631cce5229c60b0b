"""Carry: unsent work, from one store to another of the same user.

export   [ one transaction: read ] -> sign -> file        the work stays here as well
import   file -> is it signed, and whose? -> [ one transaction: `takeover` ]
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from fieldsync.engine.report import CarryReport
from fieldsync.engine.takeover import Takeover
from fieldsync.errors import AuthRequired, WorkOfAnother, WorkUnreadable
from fieldsync.workfile import (
    FILE_BYTES_MAX,
    SALT_BYTES,
    CarriedAck,
    CarriedBatch,
    CarriedEdit,
    Work,
    seal,
    unseal,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fieldsync.engine.local import Local
    from fieldsync.outbox import Ack, Entry


class Carry:
    """The unsent work of one store as a file, and back."""

    def __init__(self, local: Local, *, now: Callable[[], datetime]) -> None:
        self._local = local
        self._store = local.store
        self._outbox = local.outbox
        self._now = now

    # out

    def export(self, path: Path, passphrase: str) -> CarryReport:
        """Write a file that only its owner can read. Raises: AuthRequired, ValueError, OSError."""
        with self._store.transaction():
            work = self._gather()
        _write(path, seal(work, passphrase, salt=secrets.token_bytes(SALT_BYTES)))
        return CarryReport(
            sent=sum(len(batch.edits) for batch in work.batches),
            pending=len(work.pending),
            acked_unseen=len(work.acked),
            issues=len(work.issues),
        )

    def _gather(self) -> Work:
        user, tenant = self._owner()
        return Work(
            user=user,
            username=self._store.get_meta("username") or user,
            tenant=tenant,
            tenant_slug=self._store.get_meta("tenant") or tenant,
            device=self._store.get_meta("device") or "",
            exported_at=self._now().isoformat(),
            batches=[
                CarriedBatch(
                    key=batch.key,
                    body=batch.body.decode(),
                    edits=[_carried(entry) for entry in self._outbox.list_sent(batch)],
                )
                for batch in self._outbox.list_batches()
            ],
            pending=[_carried(entry) for entry in self._outbox.list_pending()],
            acked=[_carried_ack(ack) for ack in self._outbox.list_unseen_acks()],
            issues=[asdict(issue) for issue in self._store.list_issues()],
        )

    def _owner(self) -> tuple[str, str]:
        """The ids of the user and the tenant. Raises: AuthRequired when there was no login."""
        user, tenant = self._store.get_meta("user_id"), self._store.get_meta("tenant_id")
        if user is None or tenant is None:
            raise AuthRequired(
                code="not_logged_in",
                detail="log in first: work belongs to a user, and this store to nobody yet",
            )
        return user, tenant

    # in

    def take(self, path: Path, passphrase: str) -> CarryReport:
        """Take over the work of a file: all of it or nothing.

        Raises: WorkUnreadable, WorkOfAnother, UpgradeRequired, AuthRequired, OSError.
        """
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise WorkUnreadable("it is too large")
        work, signature = unseal(content, passphrase)
        report = CarryReport()
        with self._store.transaction():
            if (work.user, work.tenant) != self._owner():
                raise WorkOfAnother(owner=work.username, tenant=work.tenant_slug)
            # A second time would bring back the issues that were settled since.
            mark = f"imported {signature}"
            if self._store.get_meta(mark) is not None:
                report.known = _count(work)
                return report
            self._store.set_meta(**{mark: self._now().isoformat()})
            Takeover(self._local, report).take(work)
        return report


def _count(work: Work) -> int:
    batched = sum(len(batch.edits) for batch in work.batches)
    return batched + len(work.pending) + len(work.acked) + len(work.issues)


def _carried(entry: Entry) -> CarriedEdit:
    edit = entry.edit
    return CarriedEdit(
        collection=entry.collection,
        row_id=entry.row_id,
        revision=entry.revision,
        op=edit.op,
        data=dict(edit.data),
        base_version=edit.base_version,
        base=entry.base,
        groups=sorted(edit.groups),
        created_at=entry.created_at,
    )


def _carried_ack(ack: Ack) -> CarriedAck:
    return CarriedAck(
        collection=ack.collection,
        row_id=ack.row_id,
        op=ack.edit.op,
        data=dict(ack.edit.data),
        base_version=ack.edit.base_version,
        groups=sorted(ack.edit.groups),
        version=ack.version,
    )


def _write(path: Path, content: bytes) -> None:
    """The whole file or none of it, readable by its owner only."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
