"""Pokes: whoever waits hears at once that there is something to pull. A hint, never the truth.

    COMMIT -> announce -> publisher ~~ line (Redis, NOTIFY) ~~> listener -> hub -> who waits
                                                the database <--asked for heads--+

    message     what a poke says                     publisher   the writers' side
    lines       what it travels on                   hub         the waiters' side
    listener    the threads that feed the hub

A poke may be lost, late, doubled or forged: devices then pull later, or for nothing. Each process
with waiters also asks the database now and then how far the feeds go.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from sync.conf import sync_settings
from sync.pokes.message import NAMES_MAX, NOBODY, Poke, Users
from sync.pokes.publisher import publisher
from sync.registry import ranked_collections

if TYPE_CHECKING:
    from uuid import UUID

    from sync.types import Change


def announce(tenant_id: UUID, changes: Iterable[Change], head: int) -> None:
    """After COMMIT, poke those who see one of `changes`; the feed goes up to `head` then."""
    if not sync_settings().poke_url:
        return
    collections = ranked_collections()
    touched: set[str] = set()
    users: Users | None = NOBODY
    for change in changes:
        touched |= change.scopes | change.left
        if collections[change.key.collection].grants_scopes:
            users = None
    scopes = frozenset(touched) if len(touched) <= NAMES_MAX else None
    _put(Poke(tenant_id=tenant_id, head=head, scopes=scopes, users=users))


def announce_access(tenant_id: UUID, user_ids: Iterable[UUID] | None) -> None:
    """After COMMIT, have streams look again at what these users may see; None is everybody.

    For the project, where memberships, users and devices are written. Without it a stream finds
    out within `STREAM_RECHECK_S`; other requests ask each time.
    """
    if not sync_settings().poke_url:
        return
    users = None if user_ids is None else frozenset(user_ids)
    if users is not None and len(users) > NAMES_MAX:
        users = None
    _put(Poke(tenant_id=tenant_id, users=users))


def _put(poke: Poke) -> None:
    transaction.on_commit(partial(publisher.put, poke), robust=True)
