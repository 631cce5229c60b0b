"""Authentication of integrations: `Authorization: Api-Key fsk_….…`.

header -> prefix -> one query -> hash -> request.user = Integration, request.auth = KeySession
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.permissions import SAFE_METHODS, BasePermission

from backend.accounts.api_keys import KeySession, load_session
from backend.accounts.errors import ApiKeyInvalid
from sync.clock import utc_now
from sync.row_security import bind

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

SCHEME: Final = b"api-key"
WORDS: Final = 2  # of the header: the scheme and the key


class Integration:
    """Who a key's request comes from: somebody who may enter, and no person."""

    pk: ClassVar[None] = None
    is_authenticated: ClassVar[bool] = True
    is_active: ClassVar[bool] = True
    is_staff: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.username = name

    def __str__(self) -> str:
        return self.username


class ApiKeyAuthentication(BaseAuthentication):
    """Knows a request by its API key; sets `request.auth` to a `KeySession`."""

    def authenticate(self, request: Request) -> tuple[Integration, KeySession] | None:
        """Return the integration and its session, or None when there is no API key.

        Raises:
            AuthenticationFailed: its code says what is wrong.
        """
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != SCHEME:
            return None
        if len(words) != WORDS or not words[1].isascii():
            raise ApiKeyInvalid
        session = load_session(words[1].decode(), now=utc_now())
        bind(session.tenant_id)
        return Integration(session.key.name), session

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002  # DRF calls it so
        """Return how one is to say who one is."""
        return 'Api-Key realm="api"'


class MayUseCollection(BasePermission):
    """Keeps a key to the collections that it was made for; others are bound by their roles."""

    message = "This API key may not do that with this collection."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the key may do it; the engine asks again, row by row."""
        collection = getattr(view, "collection", None)
        if not isinstance(request.auth, KeySession) or collection is None:
            return True
        key = request.auth.key
        may = key.reads if request.method in SAFE_METHODS else key.writes
        return collection.name in may
