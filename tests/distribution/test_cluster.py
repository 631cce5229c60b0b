"""Ready for a cluster: every key names the tenant, and so does every statement of a push and a pull.

Citus itself is not here. What it asks of tables and statements is asked of PostgreSQL instead: of
its catalog, and of its plans for what was really sent.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from backend.tenants.tables import list_tables
from sync import distribution
from sync.conf import sync_settings
from sync.row_security import every_tenant
from tests.desk import turn_on
from tests.phones import World, create, delete, new_id, update
from tests.sync.plans import Statement, number, statements_of

CONDITIONS = ("Index Cond", "Filter", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter")
WRITES = re.compile(r'INSERT INTO "?(\w+)"? \(([^)]*)\)')


def spread() -> set[str]:
    return {step.table for step in distribution.plan() if step.is_distributed}


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("sync_distribute", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_every_unique_key_names_the_tenant(db: None) -> None:
    """A node can keep unique only what it has all of."""
    assert distribution.find_faults(distribution.plan()) == []


def test_all_that_is_a_tenants_is_spread_or_says_why_not(db: None) -> None:
    """Of a new table with a tenant nobody can forget to decide."""
    held = {table.name for table in list_tables()} - {"accounts_tenant", "accounts_user"}
    declared = sync_settings().reference_tables

    assert held == spread() | set(declared)
    assert not spread() & set(declared)
    assert all(len(reason) > 10 for reason in declared.values())


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("CREATE UNIQUE INDEX planted ON site (name)", "planted: a unique index of site"),
        ("ALTER TABLE note ADD CONSTRAINT planted_ref FOREIGN KEY (tenant_id, id) REFERENCES note (tenant_id, id)", None),
        ("ALTER TABLE accounts_device ADD CONSTRAINT planted FOREIGN KEY (tenant_id) REFERENCES sync_stream", "planted: accounts_device, which each node has whole"),
    ],
)  # fmt: skip
def test_what_a_cluster_would_refuse_is_found_before(
    db: None, statement: str, fault: str | None
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)

    if fault is None:
        run()
    else:
        with pytest.raises(CommandError, match=fault):
            run()


def test_without_citus_it_says_what_would_be_done(db: None) -> None:
    told = run()
    report = json.loads(run("--json"))

    assert "SELECT create_distributed_table('sync_stream', 'tenant_id');" in told
    assert "create_distributed_table('site', 'tenant_id', colocate_with => 'sync_stream')" in told
    assert "SELECT create_reference_table('accounts_user');" in told
    assert told.endswith("Citus is not installed in this database: nothing was done.\n")
    assert (report["citus"], report["done"]) == (False, False)
    assert {each["table"] for each in report["tables"] if each["place"] == "distributed"} == spread()  # fmt: skip


def test_reference_tables_come_before_those_that_refer_to_them(db: None) -> None:
    """A key to a table that the nodes do not have yet could not be kept."""
    order = [step.table for step in distribution.plan()]

    assert order.index("accounts_membership") < order.index("note")
    assert order.index("sync_stream") < min(order.index(name) for name in spread() - {"sync_stream"})  # fmt: skip


def day_of_a_phone(world: World) -> list[Statement]:
    """Return all that a push with everything in it, a pull, and a digest send."""
    turn_on(world)
    sam = world.hire("supervisor", [world.cardiff])
    row_id, note, task = new_id(), new_id(), new_id()
    tasks = [{"id": task, "position": 1, "text": "Grease"}]
    sam.pull()

    def act() -> None:
        sam.push(
            create("work_orders", row_id, **world.order(tasks=tasks)),
            create("notes", note, work_order=row_id, text="Bearing worn"),
            create("assets", new_id(), site=world.site, category="pump"),
            create("work_orders", new_id(), title="no kind"),
            key="once",
        )
        sam.push(
            update("work_orders", row_id, 1, tasks=[*tasks, {"id": new_id(), "position": 2, "text": "Test"}]),
            update("work_orders", row_id, 9, title="ahead"),
            delete("notes", note, 1),
        )  # fmt: skip
        sam.push(create("work_orders", row_id, **world.order(tasks=tasks)), key="twice")
        sam.pull(limit=2)
        sam.cursor = None
        sam.pull()
        sam.send("GET", "/api/v1/sync/digest")

    return statements_of(act)


def offences(statement: Statement, tables: set[str]) -> Iterator[str]:
    """Yield the tables of which a statement reads or writes rows without naming the tenant."""
    for table, columns in WRITES.findall(statement.sql):
        if table in tables and "tenant_id" not in columns:
            yield f"writes {table}"
    plan = plan_of(statement)
    yield from (f"reads {table}" for table in unfiltered(plan, tables, inherited=""))


def plan_of(statement: Statement) -> dict[str, Any]:
    """Return the plan as the tables' owner gets it: without the policies, which would filter too."""
    if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement.sql):
        return {}
    sql, values = number(statement)
    with every_tenant(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"PREPARE sent AS {sql}")
        marks = f"({', '.join(['%s'] * len(values))})" if values else ""
        literals = psycopg.ClientCursor(connection.connection).mogrify(marks, values)
        cursor.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE sent{literals}")
        ((found,),) = cursor.fetchone()
        cursor.execute("DEALLOCATE sent")
        plan: dict[str, Any] = found["Plan"]
        return plan


def unfiltered(node: dict[str, Any], tables: set[str], *, inherited: str) -> Iterator[str]:
    """Yield the tables that are scanned where no condition, here or above, compares a tenant."""
    conditions = " ".join(str(node.get(name, "")) for name in CONDITIONS)
    known = f"{inherited} {conditions}"
    if node.get("Node Type", "").endswith("Scan") and node.get("Relation Name") in tables:
        alias = node.get("Alias", node["Relation Name"])
        is_named = re.search(rf"\b{alias}(?:_1)?\.tenant_id\b", known)
        if not (is_named or re.search(r"\(tenant_id\b|\btenant_id =", known)):
            yield node["Relation Name"]
    for part in node.get("Plans", []):
        yield from unfiltered(part, tables, inherited=known)


def test_every_statement_of_a_push_and_a_pull_names_the_tenant(wales: World) -> None:
    """So it goes to one node, and a push is one transaction there."""
    statements = day_of_a_phone(wales)
    tables = spread()

    found = {
        (offence, statement.sql)
        for statement in statements
        for offence in offences(statement, tables)
    }

    assert found == set()
    touched = {table for table in tables for each in statements if re.search(rf"\b{table}\b", each.sql)}  # fmt: skip
    assert touched >= {"sync_stream", "sync_change", "sync_entry", "sync_request", "work_order", "task", "note", "asset", "work_order_number", "sync_quarantine"}  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM site WHERE name = 'x'",
        "SELECT n.* FROM note n JOIN work_order w ON w.id = n.work_order_id WHERE n.tenant_id = gen_random_uuid()",
        "DELETE FROM sync_entry WHERE seq < 5",
        "INSERT INTO sync_scope_set (digest, scopes) VALUES ('x', '{}')",
        "UPDATE sync_stream SET head = head + 1",
    ],
)
def test_statement_that_forgets_the_tenant_is_seen(wales: World, sql: str) -> None:
    """The check is worth what it finds."""
    statement = Statement(sql, [], wales.tenant.pk)

    assert list(offences(statement, spread()))
