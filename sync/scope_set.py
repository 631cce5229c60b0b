"""What a device reads with: the scopes it holds, narrowed to some collections. Pure.

    a row is seen  =  it is in one of the scopes, and of one of the collections

A cursor names sets by their hash. When a device holds another set than before, `lost` and `gained`
say which slices of the tenant are to be looked through.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib

DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Slice:
    """Entries to look through: those of `scopes`, of `collections` only unless it is None."""

    scopes: tuple[str, ...]
    collections: frozenset[str] | None

    def __bool__(self) -> bool:
        return bool(self.scopes) and self.collections != frozenset()


@dataclasses.dataclass(frozen=True)
class ScopeSet:
    """Scopes, and the collections that were asked for; None for all of them."""

    scopes: frozenset[str]
    collections: frozenset[str] | None = None

    @functools.cached_property
    def digest(self) -> bytes:
        """16 bytes that tell sets apart."""
        collections = ["all"] if self.collections is None else ["of", *sorted(self.collections)]
        text = "\0".join([*sorted(self.scopes), "", *collections]).encode()
        return hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()

    @property
    def slice(self) -> Slice:
        """All of it."""
        return Slice(tuple(sorted(self.scopes)), self.collections)

    def meet(self, other: ScopeSet) -> ScopeSet:
        """Return what is in both."""
        if self.collections is None or other.collections is None:
            collections = other.collections if self.collections is None else self.collections
        else:
            collections = self.collections & other.collections
        return ScopeSet(self.scopes & other.scopes, collections)

    def lost(self, to: ScopeSet) -> Slice:
        """Return where rows are that this set sees and `to` may not see."""
        narrowed = _beyond(self.collections, to.collections)
        if narrowed == frozenset():
            return Slice(tuple(sorted(self.scopes - to.scopes)), self.collections)
        return self.slice

    def gained(self, to: ScopeSet) -> Slice:
        """Return where rows are that `to` sees and this set may not see."""
        widened = _beyond(to.collections, self.collections)
        if widened == frozenset():
            return Slice(tuple(sorted(to.scopes - self.scopes)), to.collections)
        if to.scopes <= self.scopes:
            return Slice(tuple(sorted(to.scopes)), widened)
        return to.slice


def _beyond(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """Return the collections of `one` that `other` has not; None where they cannot be listed."""
    if other is None:
        return frozenset()
    return None if one is None else one - other
