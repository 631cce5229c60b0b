"""Authentication of devices: `Authorization: Bearer <access token>`.

    header -> token (signature, age) -> one query -> request.user, request.auth = DeviceSession

Nothing but ids is taken from the token: a revoked device or a closed tenant is out at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework_simplejwt.authentication import JWTAuthentication

from backend.accounts.selectors import DeviceSession, load_session
from backend.accounts.services import note_seen
from backend.accounts.tokens import read_access
from sync.clock import utc_now

if TYPE_CHECKING:
    from rest_framework.request import Request

    from backend.accounts.models import User

CLIENT_TIME_HEADER = "X-Client-Time"


class DeviceJWTAuthentication(JWTAuthentication):
    """Knows a request by its device's access token; sets `request.auth` to a `DeviceSession`."""

    def authenticate(  # type: ignore[override]  # its auth is a token, ours what the token names
        self, request: Request
    ) -> tuple[User, DeviceSession] | None:
        """Return the user and the session, or None when there is no bearer token.

        Raises:
            AuthenticationFailed: its code says what is wrong.
        """
        header = self.get_header(request)
        raw_token = self.get_raw_token(header) if header else None
        if raw_token is None:
            return None
        now = utc_now()
        claims = read_access(raw_token, now=now)
        session = load_session(
            user_id=claims.user_id, tenant_id=claims.tenant_id, device_id=claims.device_id
        )
        client_time = request.headers.get(CLIENT_TIME_HEADER, "")
        note_seen(session.device, client_time=client_time, now=now)
        return session.user, session
