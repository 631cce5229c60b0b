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
from fieldsync.engine.report import Progress, Status, SyncReport
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
)
from fieldsync.machine import State
from fieldsync.retry import RetryPolicy

__all__ = [
    "AsyncClient",
    "AsyncOptions",
    "AuthRequired",
    "Client",
    "Collection",
    "ErrorClass",
    "FieldsyncError",
    "Issue",
    "IssueClosed",
    "NeedsUser",
    "Options",
    "OtherUsersWork",
    "Progress",
    "RateLimited",
    "RetryPolicy",
    "Row",
    "RowExists",
    "RowNotFound",
    "RowRefused",
    "ServerBug",
    "State",
    "Status",
    "SyncReport",
    "TransportFailure",
    "Unreachable",
    "Unresolvable",
    "UnsendableValue",
    "UpgradeRequired",
    "__version__",
]
