"""Identity: whom a request counts for. Never what a client says of itself.

a device, key or user   by the session that the database has found
nobody                  the address: of the connection, or as our own proxies have noted it
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from backend.accounts.api_keys import KeySession
from backend.accounts.selectors import DeviceSession

if TYPE_CHECKING:
    from rest_framework.request import Request

NAME_CHARS = 32  # of a hash that stands for a name


def who_asks(request: Request) -> str:
    """Return what tells the asking device from others."""
    if isinstance(request.auth, DeviceSession):
        return f"device:{request.auth.device.pk}"
    if isinstance(request.auth, KeySession):
        return f"key:{request.auth.key.pk}"
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    return ""


def tenant_of(request: Request) -> str:
    """Return the tenant that asks, empty if that is not known from the session alone."""
    session = request.auth
    return str(session.tenant_id) if isinstance(session, DeviceSession | KeySession) else ""


def address_of(request: Request, proxies: int) -> str:
    """Return the address that asks, through `proxies` of ours, each of which adds one.

    What stands further left in `X-Forwarded-For` is the client's own tale.
    """
    remote: str = request.META.get("REMOTE_ADDR", "")
    if not proxies:
        return remote
    told = [each.strip() for each in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    chain = [each for each in told if each]
    return chain[-proxies] if len(chain) >= proxies else remote


def name_of(text: object) -> str:
    """Return what stands for a name that somebody logs in with: bounded, and not the name."""
    return hashlib.sha256(str(text).strip().casefold().encode()).hexdigest()[:NAME_CHARS]
