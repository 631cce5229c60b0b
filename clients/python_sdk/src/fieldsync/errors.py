"""Errors: everything the SDK raises, in the seven classes an app has to tell apart.

    FieldsyncError                  class             retry?  what the app does
    ├─ TransportFailure             transport         yes     nothing: the SDK repeats it
    │  └─ Unreachable               transport         yes     call sync() again later
    ├─ RateLimited                  rate_limited      yes     nothing: the SDK waits as told
    ├─ AuthRequired                 auth              no      ask for the password: login()
    ├─ UpgradeRequired              upgrade_needed    no      ask for an update of the app
    ├─ RowRefused                   row_permanent     no      this edit can never be made
    │  ├─ RowNotFound                                         the row is not on this device
    │  ├─ RowExists                                           the id is already taken here
    │  ├─ UnsendableValue                                     a value that no server would take
    │  ├─ RowMismatch                                         it does not fit the app's class
    │  └─ AlreadySent                                         too late to undo: it is on its way
    ├─ NeedsUser                    needs_user        no      a person must decide
    │  ├─ OtherUsersWork                                      unsent work of somebody else is here
    │  ├─ StoreInUse                                          another program has this store open
    │  ├─ IssueClosed                                         the issue was settled before
    │  ├─ Unresolvable                                        that way of resolving cannot work
    │  ├─ WorkUnreadable                                      no file of work; wrong passphrase
    │  └─ WorkOfAnother                                       a file of somebody else's work
    └─ ServerBug                    server_bug        if 5xx  report it with its request_id

None of them ever costs unsent work. A mutation that the server refuses is no error but an issue,
and has one of the classes `row_permanent` and `needs_user`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ErrorClass(StrEnum):
    """The seven kinds of trouble, by what can be done about them."""

    TRANSPORT = "transport"
    RATE_LIMITED = "rate_limited"
    AUTH = "auth"
    UPGRADE_NEEDED = "upgrade_needed"
    ROW_PERMANENT = "row_permanent"
    NEEDS_USER = "needs_user"
    SERVER_BUG = "server_bug"


class FieldsyncError(Exception):
    """Root of the tree: `code` is stable, `status` is the HTTP status where there was one.

    `report` is the unfinished `SyncReport` when the error ended a `sync()`.
    """

    error_class: ClassVar[ErrorClass]
    code: str
    status: int | None = None
    retryable: bool = False
    retry_after_s: float | None = None
    report: object = None


class TransportFailure(FieldsyncError):
    """No answer, or one that a Fieldsync server did not write: a dead link, a captive portal."""

    error_class = ErrorClass.TRANSPORT
    code = "transport_failure"
    retryable = True

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        self.reason = reason
        self.status = status
        super().__init__(f"no usable answer from the server: {reason}")


class Unreachable(TransportFailure):
    """The retry budget of one sync ran out. The last failure is its `__cause__`."""

    code = "unreachable"

    def __init__(self, last: FieldsyncError, *, failures: int) -> None:
        super().__init__(f"gave up after {failures} failures in a row; last: {last}")
        self.status: int | None = last.status
        self.retry_after_s: float | None = last.retry_after_s


class RateLimited(FieldsyncError):
    """The server asks to come back later: 429, 503, or 409 `request_in_flight`."""

    error_class = ErrorClass.RATE_LIMITED
    retryable = True

    def __init__(self, *, status: int, code: str, retry_after_s: float | None) -> None:
        self.status: int | None = status
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(f"the server is busy ({status} {code}); retry after {retry_after_s} s")


class AuthRequired(FieldsyncError):
    """Nobody is logged in here, or the server no longer accepts who is. The outbox is kept."""

    error_class = ErrorClass.AUTH

    def __init__(self, *, code: str, status: int | None = None, detail: str = "") -> None:
        self.code = code
        self.status = status
        super().__init__(detail or f"login needed ({code})")


class UpgradeRequired(FieldsyncError):
    """This version of the app or the SDK is too old for the server or for the store."""

    error_class = ErrorClass.UPGRADE_NEEDED

    def __init__(self, *, code: str, status: int | None = None, detail: str = "") -> None:
        self.code = code
        self.status = status
        super().__init__(detail or f"this app is too old ({code})")


class RowRefused(FieldsyncError):
    """An edit that cannot be made on this row, now or later."""

    error_class = ErrorClass.ROW_PERMANENT
    problem: str

    def __init__(self, collection: str, row_id: str) -> None:
        self.collection = collection
        self.row_id = row_id
        super().__init__(f"{collection} {row_id} {self.problem}")


class RowNotFound(RowRefused):
    """Update or delete of a row that this device does not hold."""

    code = "row_not_found"
    problem = "is not on this device"


class RowExists(RowRefused):
    """Create under an id that this device already knows."""

    code = "row_exists"
    problem = "already exists on this device"


class UnsendableValue(RowRefused, ValueError):
    """A value that would make the server refuse the whole push: said at once, to its author."""

    code = "unsendable_value"

    def __init__(self, collection: str, row_id: str, reason: str) -> None:
        self.reason = reason
        self.problem: str = f"was given a value that cannot be sent: {reason}"
        super().__init__(collection, row_id)


class RowMismatch(RowRefused, ValueError):
    """A row that does not fit the class which the app has for it."""

    code = "row_mismatch"

    def __init__(self, collection: str, row_id: str, *, type_name: str, reason: str) -> None:
        self.problem: str = f"does not fit {type_name}: {reason}"
        super().__init__(collection, row_id)


class AlreadySent(RowRefused):
    """Undo of an edit that may be on the server already: change the row again instead."""

    code = "already_sent"
    problem = "has no edit that can be undone: the last one is on its way to the server"


class NeedsUser(FieldsyncError):
    """Only a person can decide how to go on."""

    error_class = ErrorClass.NEEDS_USER


class OtherUsersWork(NeedsUser):
    """Another user logs in while the store holds unsent work: it is never sent as theirs."""

    code = "other_users_work"

    def __init__(self, *, owner: str, mutations: int, issues: int) -> None:
        self.owner = owner
        self.mutations = mutations
        self.issues = issues
        super().__init__(
            f"this store holds {mutations} unsent mutations and {issues} open issues of {owner}; "
            f"{owner} must sync and settle them before another user can log in here"
        )


class StoreInUse(NeedsUser):
    """Somebody has the store open: two programs on one would undo each other's work."""

    code = "store_in_use"

    def __init__(self, path: str, *, holder: str) -> None:
        self.path = path
        self.holder = holder  # "process 4711 (kiosk.py)"
        super().__init__(
            f"the store {path} is in use by {holder or 'another process'}: close it there first; "
            "within a program, share one client between its threads"
        )


class IssueClosed(NeedsUser):
    """The issue was already resolved, retried or discarded."""

    code = "issue_closed"

    def __init__(self, issue_id: int) -> None:
        self.issue_id = issue_id
        super().__init__(f"issue {issue_id} is already settled")


class Unresolvable(NeedsUser):
    """The row is gone, so an update of it cannot be sent again: create a new row, or discard."""

    code = "unresolvable"

    def __init__(self, issue_id: int, outcome: str) -> None:
        self.issue_id = issue_id
        self.outcome = outcome
        super().__init__(
            f"issue {issue_id} ({outcome}): the row is no longer on the server; "
            "create a new row from what it held, or discard the issue"
        )


class WorkUnreadable(NeedsUser):
    """A file of unsent work that is none, was changed, or was signed with another passphrase."""

    code = "work_unreadable"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"this file of unsent work cannot be taken: {reason}")


class WorkOfAnother(NeedsUser):
    """A file of unsent work of another user, or of another tenant, than the store's."""

    code = "work_of_another"

    def __init__(self, *, owner: str, tenant: str) -> None:
        self.owner = owner
        self.tenant = tenant
        super().__init__(
            f"this file holds unsent work of {owner} of {tenant}: "
            "it can only be imported where that user is logged in"
        )


class ServerBug(FieldsyncError):
    """An answer that the protocol does not allow. Everything is kept as it was."""

    error_class = ErrorClass.SERVER_BUG

    def __init__(
        self, *, code: str, status: int | None = None, detail: str = "", request_id: str = ""
    ) -> None:
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retryable: bool = status is not None and status >= 500  # noqa: PLR2004  # server errors
        told = f", request_id {request_id}" if request_id else ""
        super().__init__(f"unexpected answer from the server ({status} {code}{told}): {detail}")
