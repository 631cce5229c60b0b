"""The stories of a tenant whose server has a read replica."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from sync import read_replica
from tests.phones import Phone, World, make_world
from tests.read_replica.pair import Pair, connected, running_pair


@pytest.fixture(scope="session")
def whole_pair() -> Iterator[Pair]:
    with running_pair() as pair:
        yield pair


@pytest.fixture
def pair(whole_pair: Pair, settings: Any, django_db_blocker: DjangoDbBlocker) -> Iterator[Pair]:
    """Return both servers, in order, and used by Django; the replica lags when a story says so."""
    settings.SYNC = {**settings.SYNC, "REPLICA_ALIAS": "replica"}
    read_replica.rest.end()
    urls = whole_pair.primary.url, whole_pair.replica.url
    with django_db_blocker.unblock(), connected(*urls):
        yield whole_pair
        whole_pair.replica.resume()
    read_replica.rest.end()


@pytest.fixture
def wales(pair: Pair) -> World:
    """Return a tenant of its own for each story: nothing is rolled back here."""
    return make_world(f"wales-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def alice(wales: World) -> Phone:
    return wales.hire()


@pytest.fixture
def dora(wales: World) -> Phone:
    """Return the phone of the dispatcher, who may delete."""
    return wales.hire("dispatcher")
