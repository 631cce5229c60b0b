"""Fieldsync: offline-first client of a Fieldsync server.

    import fieldsync

    with fieldsync.Client("http://127.0.0.1:8000", store="phone.db") as client:
        client.login("tess", "fieldsync")
        orders = client.collection("work_orders")
        orders.create({"kind": "repair", "site": site_id, "title": "Replace the pump seal"})
        report = client.sync()

Reads and edits work without a link; `sync()` repeats safely whatever happens to it.
"""

from fieldsync.client import (
    AsyncClient,
    AsyncOptions,
    Client,
    Options,
    __version__,
)
from fieldsync.collection import Collection
from fieldsync.engine.local import Undone
from fieldsync.engine.report import CarryReport, Progress, Status, SyncReport
from fieldsync.engine.rows import Row
from fieldsync.errors import (
    AlreadySent,
    AuthRequired,
    ErrorClass,
    FieldsyncError,
    IssueClosed,
    NeedsUser,
    OtherUsersWork,
    RateLimited,
    RowExists,
    RowMismatch,
    RowNotFound,
    RowRefused,
    ServerBug,
    StoreInUse,
    TransportFailure,
    Unreachable,
    Unresolvable,
    UnsendableValue,
    UpgradeRequired,
    WorkOfAnother,
    WorkUnreadable,
)
from fieldsync.issue import Issue
from fieldsync.listeners import Cause, RowsChanged
from fieldsync.machine import State
from fieldsync.retry import RetryPolicy
from fieldsync.tokens import KeyringTokens, TokenStore

__all__ = [
    "AlreadySent",
    "AsyncClient",
    "AsyncOptions",
    "AuthRequired",
    "CarryReport",
    "Cause",
    "Client",
    "Collection",
    "ErrorClass",
    "FieldsyncError",
    "Issue",
    "IssueClosed",
    "KeyringTokens",
    "NeedsUser",
    "Options",
    "OtherUsersWork",
    "Progress",
    "RateLimited",
    "RetryPolicy",
    "Row",
    "RowExists",
    "RowMismatch",
    "RowNotFound",
    "RowRefused",
    "RowsChanged",
    "ServerBug",
    "State",
    "Status",
    "StoreInUse",
    "SyncReport",
    "TokenStore",
    "TransportFailure",
    "Undone",
    "Unreachable",
    "Unresolvable",
    "UnsendableValue",
    "UpgradeRequired",
    "WorkOfAnother",
    "WorkUnreadable",
    "__version__",
]
