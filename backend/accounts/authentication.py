"""Authentication of devices: `Authorization: Bearer <access token>`.

    header -> token (signature, age) -> one query -> request.user, request.auth = DeviceSession

Nothing but ids is taken from the token: a revoked device or a closed tenant is out at once.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from rest_framework_simplejwt.authentication import JWTAuthentication

from backend.accounts.selectors import (
    DeviceSession,
    is_same,
    load_session,
    seen_at,
    session_sql,
)
from backend.accounts.services import Heard, is_seen_due, note_app, note_seen
from backend.accounts.tokens import Claims, is_good, read_access
from backend.grounds import Grounds, Row
from sync.clock import utc_now
from sync.row_security import bind

if TYPE_CHECKING:
    from rest_framework.request import Request

    from backend.accounts.models import User

CLIENT_TIME_HEADER = "X-Client-Time"
OUTBOX_ROWS_HEADER = "X-Outbox-Rows"
APP_VERSION_HEADER = "X-App-Version"


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
            user_id=claims.user_id,
            tenant_id=claims.tenant_id,
            device_id=claims.device_id,
            login_id=claims.login_id,
        )
        bind(session.tenant_id)
        heard = Heard(
            client_time=request.headers.get(CLIENT_TIME_HEADER, ""),
            outbox_rows=request.headers.get(OUTBOX_ROWS_HEADER, ""),
        )
        note_app(session.device, request.headers.get(APP_VERSION_HEADER, ""))
        note_seen(session.device, heard, now=now)
        request._request.grounds = _grounds(raw_token, claims, session.found)  # type: ignore[attr-defined]  # read by the server
        return session.user, session


def _grounds(raw_token: bytes, claims: Claims, found: Row) -> Grounds:
    """Return what anything rests on that follows from the session alone."""

    def still_hold(row: Row | None, now: dt.datetime) -> bool:
        if row is None or not is_same(found, row):
            return False
        seen = seen_at(row)
        return is_good(raw_token, now=now) and seen is not None and not is_seen_due(seen, now)

    return Grounds(
        tenant_id=claims.tenant_id,
        sql=session_sql(),
        parameters=(claims.device_id, claims.tenant_id, claims.user_id),
        still_hold=still_hold,
    )
