"""Every way in which a login ends before its tokens do, and the code that the app then hears."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.accounts.conftest import Login


def _set(owner: str, field: str, *, value: object) -> Callable[[Login], None]:
    def end(login: Login) -> None:
        row = getattr(login, owner)
        setattr(row, field, value)
        row.save()

    return end


def _delete(owner: str) -> Callable[[Login], None]:
    return lambda login: getattr(login, owner).delete()


ENDINGS = {
    "user_off": (_set("user", "is_active", value=False), "user_inactive"),
    "user_deleted": (_delete("user"), "user_inactive"),
    "tenant_off": (_set("tenant", "is_active", value=False), "tenant_inactive"),
    "tenant_deleted": (_delete("tenant"), "tenant_inactive"),
    "membership_off": (_set("membership", "is_active", value=False), "membership_inactive"),
    "membership_deleted": (_delete("membership"), "membership_inactive"),
    "device_revoked": (_set("device", "revoked_at", value=utc_now()), "device_revoked"),
    "device_deleted": (_delete("device"), "device_revoked"),
}
