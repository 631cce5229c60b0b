"""What PostgreSQL really does for a statement, asked as a server's connection asks for it.

    statements_of(act) -> Statement(sql, parameters)        what `act` sent
    explain(statement) -> Executed(scans, buffers)          what that reads, each time

A connection of a server prepares what it executes again and again, and PostgreSQL may then change
over to a plan that is made without looking at the parameters. So a statement is prepared, and
executed until it had the chance; for the tenant that it was sent for, since policies of row-level
security change plans too.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection, transaction

from sync import row_security
from sync.row_security import Unbound

EXECUTIONS = 7  # after five, a plan without parameters is considered
PLACE = re.compile(r"%\((\w+)\)s|%s|%%")


@dataclasses.dataclass(frozen=True)
class Statement:
    sql: str
    parameters: Any
    bound: UUID | Unbound  # for whom


@dataclasses.dataclass(frozen=True)
class Scan:
    """Where rows are read: how many, whether they were passed on or not."""

    table: str
    kind: str
    rows: float


@dataclasses.dataclass(frozen=True)
class Executed:
    scans: list[Scan]
    buffers: int

    @property
    def rows(self) -> float:
        return sum(scan.rows for scan in self.scans)


def statements_of(act: Callable[[], object]) -> list[Statement]:
    """Return what `act` sends to the database."""
    sent: list[Statement] = []

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        rows = list(parameters) if many else [parameters]
        sent.extend(Statement(sql, row, row_security.bound()) for row in rows)
        return execute(sql, rows if many else parameters, many, context)

    with connection.execute_wrapper(note):
        act()
    return sent


def explain(statement: Statement) -> Iterator[Executed]:
    """Execute it again and again; yield what was done each time. Nothing of it is kept."""
    sql, values = number(statement)
    literals = psycopg.ClientCursor(connection.connection).mogrify(
        ", ".join(["%s"] * len(values)), values
    )
    call = f"({literals})" if values else ""
    with working_for(statement.bound), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"PREPARE pulled AS {sql}")
        for _ in range(EXECUTIONS):
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE pulled{call}")
            (plan,) = cursor.fetchone()[0]
            yield read(plan["Plan"])
        cursor.execute("DEALLOCATE pulled")
        transaction.set_rollback(True)


@contextmanager
def working_for(whom: UUID | Unbound) -> Iterator[None]:
    """Work for whom a statement was sent."""
    match whom:
        case UUID():
            with row_security.for_tenant(whom):
                yield
        case Unbound.EVERYBODY:
            with row_security.every_tenant():
                yield
        case Unbound.NOBODY:
            with row_security.nobody():
                yield


def number(statement: Statement) -> tuple[str, list[Any]]:
    """Return a statement with its places numbered, as PREPARE has them, and what goes there."""
    values: list[Any] = []
    names: dict[str, str] = {}

    def place(found: re.Match[str]) -> str:
        name = found[1]
        if found[0] == "%%":
            return "%"
        if name not in names or name is None:
            values.append(statement.parameters[len(values) if name is None else name])
            names[name] = f"${len(values)}"
        return names[name]

    return PLACE.sub(place, statement.sql), values


def read(plan: dict[str, Any]) -> Executed:
    """Return what a plan of EXPLAIN says."""
    return Executed(
        scans=list(scans_of(plan)),
        buffers=plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
    )


def scans_of(plan: dict[str, Any]) -> Iterator[Scan]:
    if "Relation Name" in plan and plan["Node Type"].endswith("Scan"):
        each = plan["Actual Rows"] + sum(
            count for name, count in plan.items() if name.startswith("Rows Removed by")
        )
        yield Scan(plan["Relation Name"], plan["Node Type"], each * plan["Actual Loops"])
    for part in plan.get("Plans", []):
        yield from scans_of(part)
