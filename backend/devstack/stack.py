"""The two services together, for as long as a with-block lasts.

    with devstack(durable=False) as stack:
        subprocess.run(command, env={**os.environ, **stack.environ})

Nothing global is set: what the services are reached by is in `stack.environ`.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from backend.devstack.folders import make_folder
from backend.devstack.pooler import Pooler, start_pooler
from backend.devstack.postgres import Postgres, start_postgres
from backend.devstack.processes import children_ended
from backend.devstack.signals import held, orderly_signals
from backend.devstack.valkey import Valkey, start_valkey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Running services; `folder` is for logs and the like and goes away with them."""

    postgres: Postgres
    valkey: Valkey
    folder: Path
    pooler: Pooler | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What a child needs in its environment to use the services."""
        environ = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.valkey.url}
        if self.pooler:
            environ |= {
                "DATABASE_URL": self.pooler.url,
                "PREPARE_STATEMENTS": "false",
                "POSTGRES_PORT": str(urlsplit(self.postgres.url).port),  # for tests
            }
        return environ


@contextmanager
def devstack(
    *,
    durable: bool = True,
    data: Path | None = None,
    pooled: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Stack]:
    """Start PostgreSQL and Valkey, and end both with the block, however it is left.

    Args:
        durable: False makes PostgreSQL faster and a crash of the machine costly: for tests.
        data: folder that keeps the database between starts; a temporary one when None.
        pooled: put PgBouncer before PostgreSQL.
        environ: `DATABASE_URL` or `REDIS_URL` in it are used as they are.

    Raises:
        DevstackError: something is missing or did not start; the message says what helps.
    """
    with orderly_signals(), ExitStack() as cleanup:
        with held():
            folder = make_folder()
            cleanup.callback(folder.remove)
        cleanup.enter_context(children_ended())  # a signal can come before the callbacks below
        place = folder.path
        if data:
            data.mkdir(parents=True, exist_ok=True)
        postgres = start_postgres(folder=data or place, durable=durable, environ=environ)
        cleanup.callback(postgres.stop)
        valkey = start_valkey(folder=place, environ=environ)
        cleanup.callback(valkey.stop)
        pooler = start_pooler(postgres=postgres, folder=place) if pooled else None
        if pooler:
            cleanup.callback(pooler.stop)
        yield Stack(postgres=postgres, valkey=valkey, folder=place, pooler=pooler)
