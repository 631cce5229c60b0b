"""Login: the token pair of the store's user, and where it is kept.

in the store     changes in the transaction that changes the user
elsewhere        one secret with the user's name on it: if the process dies between the two,
                 the secret fits nobody here, and the next request asks for a login
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fieldsync.wire import TokenPair

if TYPE_CHECKING:
    from fieldsync.store import Store
    from fieldsync.tokens import TokenStore

ELSEWHERE = "elsewhere"


class _Secret(TokenPair, frozen=True, kw_only=True):
    """What is kept elsewhere: a pair and whose it is."""

    user: str
    tenant: str


class LoginKeeper:
    """The pair of one store's user."""

    def __init__(self, store: Store, elsewhere: TokenStore | None) -> None:
        self._store = store
        self._elsewhere = elsewhere

    def get(self) -> TokenPair | None:
        """The pair of the user whose store this is."""
        access, refresh = self._store.get_meta("access"), self._store.get_meta("refresh")
        if access is None or refresh is None:
            return self._find_elsewhere()
        pair = TokenPair(access=access, refresh=refresh)
        if self._elsewhere is not None:  # the store was used without, until now
            self.put(pair)
        return pair

    def _find_elsewhere(self) -> TokenPair | None:
        name = self._store.get_meta("install_id")
        if self._elsewhere is None or name is None or not self.is_logged_in:
            return None
        kept = self._elsewhere.get(name)
        if kept is None:
            return None
        try:
            secret = msgspec.json.decode(kept, type=_Secret)
        except msgspec.MsgspecError:
            return None
        return secret if (secret.user, secret.tenant) == self._owner() else None

    def _owner(self) -> tuple[str | None, str | None]:
        return self._store.get_meta("user_id"), self._store.get_meta("tenant_id")

    def put(self, pair: TokenPair) -> None:
        """Keep `pair` for the store's user: before anybody uses it."""
        name, (user, tenant) = self._store.get_meta("install_id"), self._owner()
        if self._elsewhere is None or name is None:
            self._store.set_meta(access=pair.access, refresh=pair.refresh, tokens=None)
            return
        secret = _Secret(
            access=pair.access, refresh=pair.refresh, user=str(user), tenant=str(tenant)
        )
        self._elsewhere.set(name, msgspec.json.encode(secret).decode())
        self._store.set_meta(access=None, refresh=None, tokens=ELSEWHERE)

    def forget(self) -> None:
        """Keep no pair any more; whose store it is stays known."""
        self._store.set_meta(access=None, refresh=None, tokens=None)
        name = self._store.get_meta("install_id")
        if self._elsewhere is not None and name is not None:
            self._elsewhere.delete(name)

    @property
    def is_logged_in(self) -> bool:
        """Whether there is a pair, as far as the store says."""
        return (
            self._store.get_meta("access") is not None
            or self._store.get_meta("tokens") == ELSEWHERE
        )

    @property
    def is_kept_elsewhere(self) -> bool:
        """Whether the pair is somewhere that this client was not told of."""
        return self._elsewhere is None and self._store.get_meta("tokens") == ELSEWHERE
