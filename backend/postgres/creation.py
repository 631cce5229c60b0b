"""Test databases belong to whom the real one belongs: the role that owns the tables.

They are made and dropped past a pooler, if there is one: it takes sessions, and not statements,
to say in whose role the next one is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import creation

DIRECT_PORT: Final = (
    "DIRECT_PORT"  # in a database's TEST settings: where PostgreSQL itself listens
)


class DatabaseCreation(creation.DatabaseCreation):
    """Makes and drops the databases of tests, as their owner."""

    def _execute_create_test_db(
        self,
        cursor: Any,
        parameters: dict[str, str],
        keepdb: bool = False,  # noqa: FBT001, FBT002  # as Django has it
    ) -> None:
        self._take_on_owner(cursor)
        super()._execute_create_test_db(cursor, parameters, keepdb)  # type: ignore[misc]  # Django's own

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        del verbosity
        name = self.connection.ops.quote_name(test_database_name)
        is_pooled = bool(self._direct_port())  # then sessions are kept that nobody uses any more
        with self._nodb_cursor() as cursor:
            self._take_on_owner(cursor)
            cursor.execute(f"DROP DATABASE {name}{' WITH (FORCE)' if is_pooled else ''}")

    @contextmanager
    def _nodb_cursor(self) -> Iterator[Any]:
        """Yield a cursor of a session outside of the database."""
        port = self._direct_port()
        if not port:
            with super()._nodb_cursor() as cursor:  # type: ignore[misc]
                yield cursor
            return
        settings = {**self.connection.settings_dict, "NAME": "postgres", "PORT": port}
        outside = self.connection.__class__(settings, alias=NO_DB_ALIAS)
        try:
            with outside.cursor() as cursor:
                yield cursor
        finally:
            outside.close()

    def _direct_port(self) -> str:
        port: str = self.connection.settings_dict["TEST"].get(DIRECT_PORT, "")
        return port

    def _take_on_owner(self, cursor: Any) -> None:
        cursor.execute(
            "SELECT set_config('role', owner.rolname, false) FROM pg_database "
            "JOIN pg_roles AS owner ON owner.oid = datdba "
            "WHERE datname = %s AND pg_has_role(session_user, owner.oid, 'MEMBER')",
            [self.connection.settings_dict["NAME"]],
        )
