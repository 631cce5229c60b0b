"""Migrations run while the servers before them still serve: they add, and take away a release later.

A new column that is NOT NULL without a default in the database fails every INSERT of the release
before; a column or table that goes, its every query; an index that is not made CONCURRENTLY keeps
all who write from the table meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django_migration_linter import MigrationLinter
from django_migration_linter.sql_analyser.analyser import (
    analyse_sql_statements,
    get_sql_analyser_class,
)

ROOT = Path(__file__).parents[2]
OURS = ("accounts", "fieldwork", "sync")
# There is no installation from before these.
FIRST_RELEASE = {"accounts": 6, "fieldwork": 4, "sync": 5}


def later_migrations() -> list[tuple[str, str]]:
    """Return the migrations that some installation has yet to run beside its servers."""
    known = MigrationLoader(connection=None).disk_migrations
    return sorted(
        (app, name)
        for app, name in known
        if app in OURS and int(name.split("_")[0]) > FIRST_RELEASE[app]
    )


def test_there_is_something_to_check() -> None:
    assert len(later_migrations()) >= 1


@pytest.mark.parametrize(("app", "name"), later_migrations())
def test_migration_blocks_nobody(db: None, app: str, name: str) -> None:
    """What cannot be said so is done in two releases (docs/operate.md, Upgrading)."""
    linter = MigrationLinter(str(ROOT), no_cache=True, no_output=True, all_warnings_as_errors=True)

    linter.lint_migration(MigrationLoader(connection=None).disk_migrations[app, name])

    assert (linter.nb_valid, linter.nb_erroneous, linter.nb_warnings) == (1, 0, 0)


@pytest.mark.parametrize(
    "statement",
    [
        'ALTER TABLE "site" ADD COLUMN "size" integer DEFAULT 1 NOT NULL; ALTER TABLE "site" ALTER COLUMN "size" DROP DEFAULT',
        'ALTER TABLE "site" DROP COLUMN "name"',
        'ALTER TABLE "site" RENAME COLUMN "name" TO "title"',
        'ALTER TABLE "site" RENAME TO "place"',
        'DROP TABLE "site"',
        'ALTER TABLE "site" ALTER COLUMN "name" TYPE integer',
        'CREATE INDEX "site_by_name" ON "site" ("name")',
    ],
)
def test_blocking_statements_are_seen(statement: str) -> None:
    """The check is worth what it finds."""
    analyser = get_sql_analyser_class(connection.vendor)

    errors, _, warnings = analyse_sql_statements(analyser, statement.split("; "))

    assert errors + warnings


def test_statements_that_block_nobody_pass() -> None:
    analyser = get_sql_analyser_class(connection.vendor)
    statements: list[Any] = [
        'ALTER TABLE "site" ADD COLUMN "size" integer DEFAULT 1 NOT NULL',
        'ALTER TABLE "site" ADD COLUMN "note" text NULL',
        'CREATE INDEX CONCURRENTLY "site_by_name" ON "site" ("name")',
    ]

    assert analyse_sql_statements(analyser, statements) == ([], [], [])
