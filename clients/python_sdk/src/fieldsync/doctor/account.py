"""Account: whether the server takes who is logged in on the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldsync.doctor.finding import Area, Check, Finding
from fieldsync.doctor.link import LIMITS
from fieldsync.errors import AuthRequired, FieldsyncError, TransportFailure, UpgradeRequired
from fieldsync.verdict import NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Callable

    from fieldsync.engine.report import Status
    from fieldsync.transport import Answer, Request

LOGIN = Check(name="login", area=Area.LOGIN)
LINK = Check(name="login", area=Area.LINK)
APP = Check(name="app version", area=Area.APP)
SERVER = Check(name="login", area=Area.SERVER)
AGAIN = "fieldsync login NAME; unsent work stays"
OFFICE = "only the office can change that: ask whoever runs the server; unsent work stays"
OF_THE_OFFICE = frozenset(
    {"device_revoked", "user_inactive", "tenant_inactive", "membership_inactive"}
)


def check_login(status: Status) -> Finding:
    """Whether anybody is logged in, as far as the store says."""
    if not status.is_logged_in:
        who = f"; {status.username} was" if status.username else ""
        return LOGIN.broken(f"nobody is logged in{who}", AGAIN)
    return LOGIN.ok(f"{status.username} of {status.tenant}, device {status.device}")


def check_account(ask: Callable[[Request], Answer]) -> Finding:
    """Whether the server takes the tokens; a refresh that is due is made, as a sync would."""
    try:
        ask(LIMITS)
    except AuthRequired as error:
        remedy = OFFICE if error.code in OF_THE_OFFICE else AGAIN
        return LOGIN.broken(f"the server does not take the login: {error} ({error.code})", remedy)
    except UpgradeRequired as error:
        return APP.broken(f"the server takes no app as old as this one: {error}", "update it")
    except TransportFailure as error:
        return LINK.broken(f"the talk broke off: {error}", "try again")
    except FieldsyncError as error:
        if error.status == NOT_FOUND:
            return LOGIN.ok("the server takes it")  # and does not know what was asked for
        return SERVER.broken(f"the server has a fault: {error}", "tell its operator")
    return LOGIN.ok("the server takes it")
