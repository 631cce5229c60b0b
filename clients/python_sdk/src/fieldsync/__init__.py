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
    Collection,
    Issue,
    Options,
    __version__,
)
from fieldsync.engine.local import Row
from fieldsync.engine.report import CarryReport, Status, SyncReport
from fieldsync.errors import (
    AuthRequired,
    ErrorClass,
    FieldsyncError,
    IssueClosed,
    NeedsUser,
    OtherUsersWork,
    RateLimited,
    RowExists,
    RowNotFound,
    RowRefused,
    ServerBug,
    TransportFailure,
    Unreachable,
    Unresolvable,
    UnsendableValue,
    UpgradeRequired,
    WorkOfAnother,
    WorkUnreadable,
)
from fieldsync.retry import RetryPolicy
from fieldsync.tokens import KeyringTokens, TokenStore

__all__ = [
    "AsyncClient",
    "AsyncOptions",
    "AuthRequired",
    "CarryReport",
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
    "RateLimited",
    "RetryPolicy",
    "Row",
    "RowExists",
    "RowNotFound",
    "RowRefused",
    "ServerBug",
    "Status",
    "SyncReport",
    "TokenStore",
    "TransportFailure",
    "Unreachable",
    "Unresolvable",
    "UnsendableValue",
    "UpgradeRequired",
    "WorkOfAnother",
    "WorkUnreadable",
    "__version__",
]
