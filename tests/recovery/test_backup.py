"""A backup is taken while everybody works, and is all that is left: phones give back the rest."""

from __future__ import annotations

from backend.devstack.postgres import NAME, OWNER
from tests.recovery.field import Field, running_field

PHONES, ROWS = 4, 30


def back_up(field: Field) -> str:
    """Take a backup as docs/operate.md says; return its path."""
    path = str(field.folder / "fieldsync.dump")
    field.run_program("pg_dump", "--format=custom", f"--role={OWNER}", f"--file={path}", field.postgres.url)  # fmt: skip
    return path


def restore(field: Field, path: str) -> None:
    """Put a backup in the place of the database, by the drill of docs/operate.md."""
    admin = str(field.postgres.admin_url)
    server = admin.removesuffix(f"/{NAME}") + "/postgres"
    for statement in (f"DROP DATABASE {NAME}", f"CREATE DATABASE {NAME} OWNER {OWNER}"):
        field.run_program("psql", "--quiet", "--command", statement, server)
    field.run_program("pg_restore", f"--role={OWNER}", "--no-owner", "--exit-on-error", f"--dbname={field.postgres.url}", path)  # fmt: skip
    field.manage("sync_new_epoch", "--all", "--yes")
    field.manage("migrate", "--verbosity", "0")
    field.manage("check", "--database", "default")
    assert "0 findings" in field.manage("sync_check")


def test_nothing_acknowledged_is_lost_by_a_restore() -> None:
    """Scenario 18, with a real dump under load: acknowledged, pulled and all, it comes back."""
    with running_field() as field:
        field.hire(PHONES)
        with field.crew.at_work():
            field.crew.wait_for(ROWS)
            backup = back_up(field)
            at_backup = field.crew.acked
            field.crew.wait_for(ROWS)
        field.crew.settle()
        assert field.crew.acked >= at_backup + ROWS
        field.stop_servers()

        restore(field, backup)
        port = field.front.ports.pop()
        field.start_server(port)
        field.crew.settle()

        field.prove()
