"""Fixtures that every suite may use."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.chapters import pytest_generate_tests  # noqa: F401  # a hook
from tests.filterless import no_filter
from tests.logwatch import LogWatch
from tests.phones import World, make_world


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--policies-alone",
        action="store_true",
        help="patch the application's tenant filter out of what requests send to the database",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, behind a pooler, what is about a session of one's own: there is none."""
    if not os.environ.get("POSTGRES_PORT"):
        return
    reason = pytest.mark.skip(reason="a pooler hands out a session for each transaction")
    for item in items:
        if item.get_closest_marker("own_session"):
            item.add_marker(reason)


@pytest.fixture(autouse=True)
def tenant_filter(request: pytest.FixtureRequest) -> Iterator[None]:
    """With `--policies-alone`, leave it to row-level security to keep tenants apart."""
    is_bare = request.config.getoption("--policies-alone")
    with no_filter() if is_bare else nullcontext():
        yield


@pytest.fixture(autouse=True)
def nothing_told_in_logs() -> Iterator[None]:
    """Search all that is logged for what must not be there: tokens, keys, and tenants' rows."""
    watch = LogWatch()
    logging.getLogger().addHandler(watch)
    yield
    logging.getLogger().removeHandler(watch)
    assert watch.found == []


@pytest.fixture(autouse=True, scope="session")
def signals_heard() -> None:
    """Hear signals as a program in the foreground does; children inherit that.

    A shell without job control starts what it runs in the background with SIGINT ignored, nohup
    with SIGHUP, and our programs leave an ignored signal so: one that a test stops would run on.
    """
    defaults: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    for signum, handler in defaults.items():
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, handler)


@pytest.fixture
def api() -> APIClient:
    """Return a client that is nobody yet; it answers for errors instead of raising them."""
    return APIClient(raise_request_exception=False)


@pytest.fixture
def wales(db: None) -> World:
    return make_world("wales")


@pytest.fixture
def northwind(db: None) -> World:
    """Return the other tenant, whose rows must never be seen or touched."""
    return make_world("northwind")
