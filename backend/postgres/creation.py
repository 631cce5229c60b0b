"""Test databases belong to whom the real one belongs: the role that owns the tables."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import creation


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
        with self._nodb_cursor() as cursor:  # type: ignore[attr-defined]  # Django's own
            self._take_on_owner(cursor)
            cursor.execute(f"DROP DATABASE {name}")

    def _take_on_owner(self, cursor: Any) -> None:
        cursor.execute(
            "SELECT set_config('role', owner.rolname, false) FROM pg_database "
            "JOIN pg_roles AS owner ON owner.oid = datdba "
            "WHERE datname = %s AND pg_has_role(session_user, owner.oid, 'MEMBER')",
            [self.connection.settings_dict["NAME"]],
        )
