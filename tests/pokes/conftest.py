"""Stories of devices that wait: servers that share nothing but the database and a line for pokes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from backend.devstack.server import Server
from backend.devstack.valkey import Valkey, start_valkey
from sync.models import Stream
from tests.phones import World, make_world
from tests.pokes.rig import LINES, own_channel, served


@pytest.fixture
def wales(transactional_db: None) -> World:
    return make_world("wales")


@pytest.fixture
def northwind(transactional_db: None) -> World:
    return make_world("northwind")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """Return one that nobody else uses, so that it may be killed."""
    own = start_valkey(folder=tmp_path, environ={})
    yield own
    own.stop()


class Pairs:
    """Two servers for each line, started when first asked for; devices come to them and go."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self._folder = folder
        self._cleanup = cleanup
        self._running: dict[str, tuple[Server, Server]] = {}

    def get(self, line: str) -> tuple[Server, Server]:
        if line not in self._running:
            one, other = (
                self._cleanup.enter_context(served(self._folder, POKE_URL=LINES[line]()))
                for _ in range(2)
            )
            self._running[line] = one, other
        return self._running[line]


@pytest.fixture(scope="session")
def pairs(django_db_setup: None, tmp_path_factory: Any) -> Iterator[Pairs]:
    with ExitStack() as cleanup:
        yield Pairs(tmp_path_factory.mktemp("servers"), cleanup)


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.own_session] if name == "postgresql" else [])
        for name in LINES
    ]
)
def pair(request: pytest.FixtureRequest, pairs: Pairs, transactional_db: None) -> tuple[Any, Any]:
    """Return two servers that poke each other, by each line in turn."""
    return pairs.get(request.param)


@pytest.fixture
def redis_pair(pairs: Pairs, transactional_db: None) -> tuple[Server, Server]:
    return pairs.get("redis")


@pytest.fixture
def redis_pokes(settings: Any) -> Iterator[None]:
    """Let the test's own process poke, too: what the office writes."""
    from sync.pokes.publisher import publisher

    line = {"POKE_URL": os.environ["REDIS_URL"], "POKE_CHANNEL": own_channel()}
    settings.SYNC = {**settings.SYNC, **line}
    yield
    publisher.close()


def head_of(world: World) -> int:
    return Stream.objects.get(tenant_id=world.tenant.pk).head


@pytest.fixture
def redis_url() -> str:
    return os.environ["REDIS_URL"]
