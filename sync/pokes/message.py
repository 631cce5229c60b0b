"""A poke: somebody of this tenant may have something to pull. Pure.

    Poke --render--> at most BYTES_MAX of JSON --parse--> Poke, or None for what is not one

It carries no row: a tenant, how far its feed goes, and whom it is for. Whoever can write to the
channel can at most make devices look for what is not there.
"""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

import msgspec

BYTES_MAX = 7_500  # PostgreSQL takes less than 8,000 in a NOTIFY
NAMES_MAX = 64  # scopes, and users: one that touches more is for everybody

T = TypeVar("T")
Scopes = frozenset[str]
Users = frozenset[UUID]
NOBODY: frozenset[UUID] = frozenset()


class Poke(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """News of one tenant's feed, which goes up to `head` now.

    `scopes` are those that the changes enter or leave; None is all of them. `users` are those who
    may hold other scopes than before, or none any more; None is everybody.
    """

    tenant_id: UUID
    head: int = 0
    scopes: Scopes | None = frozenset()
    users: Users | None = NOBODY

    def __or__(self, other: Poke) -> Poke:
        """Return one that says what both say; they are of one tenant."""
        return Poke(
            tenant_id=self.tenant_id,
            head=max(self.head, other.head),
            scopes=_merge(self.scopes, other.scopes),
            users=_merge(self.users, other.users),
        )


def render(poke: Poke) -> bytes:
    """Return `poke` as it travels; one that would be too long is for everybody."""
    data = msgspec.json.encode(poke)
    if len(data) <= BYTES_MAX:
        return data
    return msgspec.json.encode(msgspec.structs.replace(poke, scopes=None, users=None))


def parse(data: bytes | str) -> Poke | None:
    """Return the poke that `data` is, or None if it is none."""
    if len(data) > BYTES_MAX:
        return None
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeError):
        return None


_DECODER = msgspec.json.Decoder(Poke)


def _merge(one: frozenset[T] | None, other: frozenset[T] | None) -> frozenset[T] | None:
    if one is None or other is None:
        return None
    both = one | other
    return both if len(both) <= NAMES_MAX else None
