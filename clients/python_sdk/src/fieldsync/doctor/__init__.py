"""Doctor: what is wrong with a store, the way to its server, and the login; and what to do.

    store file -> way to the server -> login -> work that waits -> rows against the server's

Each check tells one line, and what it needs is checked before it: the first that is broken is the
one to mend. Nothing is changed, but for a refresh of the login that is due anyway.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fieldsync.client import Client, utc_now
from fieldsync.doctor.account import check_account, check_login
from fieldsync.doctor.finding import Area, Finding, Level
from fieldsync.doctor.link import check_link
from fieldsync.doctor.replica import check_replica
from fieldsync.doctor.storage import check_storage
from fieldsync.doctor.work import check_work
from fieldsync.drivers import drive
from fieldsync.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from fieldsync.engine.report import Status
    from fieldsync.tokens import TokenStore
    from fieldsync.transport import Answer, Request

    Ask = Callable[[Request], Answer]

__all__ = ["Area", "Finding", "Level", "examine"]
ONCE = RetryPolicy(attempts_max=1)  # a doctor tells of a failure, and does not wait it out


def examine(
    store: str | Path,
    *,
    url: str | None = None,
    tokens: TokenStore | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Iterator[Finding]:
    """Yield what is found, as it is found. `url` is the server, if not that of the last login."""
    path = Path(store)
    is_usable = True
    for finding in check_storage(path):
        yield finding
        is_usable = is_usable and finding.level is not Level.BROKEN
    if not is_usable:
        if url is not None:
            yield from check_link(url, now=now)
        return
    with Client(url, store=path, tokens=tokens, retry=ONCE, now=now) as client:
        yield from _examine_client(client, now)


def _examine_client(client: Client, now: Callable[[], datetime]) -> Iterator[Finding]:
    engine, outside = client._engine, client._outside  # noqa: SLF001  # looks inside

    def ask(request: Request) -> Answer:
        return drive(engine.ask(request), outside)

    is_served = True
    for finding in check_link(client.url, now=now):
        yield finding
        is_served = is_served and finding.level is not Level.BROKEN
    status = client.status()
    for finding in _check_login(status, ask if is_served else None):
        yield finding
        is_served = is_served and finding.level is not Level.BROKEN
    yield from check_work(status, now())
    if is_served:
        yield check_replica(engine.local.store, ask)


def _check_login(status: Status, ask: Ask | None) -> Iterator[Finding]:
    login = check_login(status)
    yield login
    if login.level is Level.OK and ask is not None:
        yield check_account(ask)
