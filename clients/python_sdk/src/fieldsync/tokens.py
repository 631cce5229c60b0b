"""Tokens: places for the secret that keeps a client logged in, other than its store.

    Client(url, store="phone.db")                              in the store, readable by its owner
    Client(url, store="phone.db", tokens=KeyringTokens())      in the keyring of the system
    Client(url, store="phone.db", tokens=Vault())              anywhere: three methods

A secret is one text, replaced as a whole. It says whose it is, so that a store whose user has
changed meanwhile never uses another user's.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from fieldsync.errors import AuthRequired

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keyring.backend import KeyringBackend

SERVICE = "fieldsync"


class TokenStore(Protocol):
    """A place for secrets by name; a name stands for one store. May be called from any thread.

    What it raises reaches the caller of the client; an `AuthRequired` counts as being logged out.
    """

    def get(self, name: str) -> str | None:
        """The secret kept under `name`."""

    def set(self, name: str, secret: str) -> None:
        """Keep `secret`; it is safe once this returns, also if the machine stops then."""

    def delete(self, name: str) -> None:
        """Forget the secret, if there is one."""


class KeyringTokens:
    """The keyring of the system, by the package `keyring`: `pip install "fieldsync[keyring]"`.

    `keyring` is one of its backends, if not the one that it would choose itself.
    """

    def __init__(self, service: str = SERVICE, *, keyring: KeyringBackend | None = None) -> None:
        from keyring import get_keyring

        self._service = service
        self._keyring = keyring or get_keyring()

    def get(self, name: str) -> str | None:
        """The secret kept under `name`. Raises: AuthRequired when the keyring is locked."""
        with _unlocked():
            return self._keyring.get_password(self._service, name)

    def set(self, name: str, secret: str) -> None:
        """Keep `secret`. Raises: AuthRequired when the keyring is locked, or there is none."""
        with _unlocked():
            self._keyring.set_password(self._service, name, secret)

    def delete(self, name: str) -> None:
        """Forget the secret. Raises: AuthRequired when the keyring is locked."""
        with _unlocked():
            if self._keyring.get_password(self._service, name) is not None:
                self._keyring.delete_password(self._service, name)


@contextmanager
def _unlocked() -> Iterator[None]:
    from keyring.errors import KeyringError

    try:
        yield
    except KeyringError as error:
        raise AuthRequired(
            code="keyring_unavailable", detail=f"the keyring cannot be used: {error}"
        ) from error
