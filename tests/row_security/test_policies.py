"""Row-level security: what PostgreSQL shows, and takes, of one tenant when nobody filters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, connections, transaction

from backend.fieldwork.models import Site, WorkOrder
from sync.models import ChangeRow
from sync.row_security import bind, every_tenant, for_tenant, nobody
from tests.phones import World, make_world

# By design without: who somebody is, is asked before it is known for which tenant.
NOT_OF_A_TENANT = {"accounts_user"}


def ask(sql: str, *parameters: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def tables_of_tenants() -> Iterator[str]:
    for model in apps.get_models():
        columns = {field.column for field in model._meta.local_fields}
        if "tenant_id" in columns or model._meta.db_table == "accounts_tenant":
            yield model._meta.db_table


def test_every_table_with_a_tenant_has_its_policy(db: None) -> None:
    """Of the database itself, so that a table that no model knows is seen too."""
    secured = ask(
        "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid "
        "WHERE relrowsecurity AND polcmd = '*'"
    )
    with_tenant = ask(
        "SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid "
        "WHERE attname = 'tenant_id' AND relkind IN ('r', 'p') AND NOT attisdropped"
    )

    assert {name for (name,) in with_tenant} <= {name for (name,) in secured}
    assert set(tables_of_tenants()) <= {name for (name,) in secured}


def test_the_application_is_no_owner(db: None) -> None:
    """Policies bind everybody but the owner, and superusers."""
    with nobody():
        ((me, owner, is_super),) = ask(
            "SELECT current_user, tableowner, rolsuper FROM pg_tables, pg_roles "
            "WHERE tablename = 'sync_change' AND rolname = current_user"
        )

    assert me != owner
    assert not is_super


def test_one_sees_ones_own_rows_and_nobody_sees_any(wales: World, northwind: World) -> None:
    with for_tenant(wales.tenant.pk):
        assert {row.tenant_id for row in Site.objects.all()} == {wales.tenant.pk}
        assert {row.tenant_id for row in ChangeRow.objects.all()} == {wales.tenant.pk}
    with nobody():
        assert not Site.objects.exists()
        assert not ChangeRow.objects.exists()
    with every_tenant():
        assert {row.tenant_id for row in Site.objects.all()} == {
            wales.tenant.pk, northwind.tenant.pk,
        }  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO sync_stream SELECT %(theirs)s, gen_random_uuid(), 0, 0, 0",
        "UPDATE site SET tenant_id = %(theirs)s WHERE id = %(site)s",
        "UPDATE sync_change SET tenant_id = %(theirs)s",
    ],
)
def test_no_row_gets_into_another_tenant(wales: World, northwind: World, sql: str) -> None:
    named = {"theirs": str(northwind.tenant.pk), "site": wales.site}

    with (
        pytest.raises(DatabaseError, match="row-level security"),
        for_tenant(wales.tenant.pk),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, named)


def test_an_edit_that_names_no_tenant_is_of_ones_own_rows(wales: World, northwind: World) -> None:
    with for_tenant(wales.tenant.pk), connection.cursor() as cursor:
        cursor.execute("UPDATE site SET name = 'edited'")
        cursor.execute("DELETE FROM sync_entry")

    names = dict(Site.objects.values_list("pk", "name"))
    assert {str(pk) for pk, name in names.items() if name == "edited"} == {
        wales.site, wales.other_site,
    }  # fmt: skip
    assert ask("SELECT DISTINCT tenant_id FROM sync_entry") == [(northwind.tenant.pk,)]


def test_savepoint_that_is_rolled_back_takes_the_tenant_with_it(wales: World) -> None:
    """As in a request that is one transaction: what was said since is undone, and is said again."""
    with nobody():
        with transaction.atomic():
            bind(wales.tenant.pk)
            assert {row.tenant_id for row in Site.objects.all()} == {wales.tenant.pk}
            transaction.set_rollback(True)

        assert {row.tenant_id for row in Site.objects.all()} == {wales.tenant.pk}


@pytest.mark.django_db(transaction=True)
def test_nothing_is_left_behind_on_a_connection() -> None:
    """Whoever has it next, through a pooler too, finds it as it was; in a transaction and out."""
    wales = make_world("wales")
    own: Any = connections["default"]
    with for_tenant(wales.tenant.pk):
        assert WorkOrder.objects.count() == 0
        assert Site.objects.count() == 2
        with transaction.atomic():
            assert Site.objects.count() == 2
    with own.wrap_database_errors, own.connection.cursor() as cursor:
        super(type(cursor), cursor).execute(
            "SELECT coalesce(current_setting('app.tenant', true), ''), current_user, session_user"
        )
        (tenant, me, login) = cursor.fetchone()

    assert tenant == ""
    assert me == login


@pytest.mark.django_db(transaction=True)
def test_rows_read_in_chunks_are_those_of_the_tenant() -> None:
    """A server-side cursor is opened in a transaction of its own, and outlives it."""
    wales, _ = make_world("wales"), make_world("northwind")
    with for_tenant(wales.tenant.pk):
        rows = list(Site.objects.iterator(chunk_size=1))

    assert {row.tenant_id for row in rows} == {wales.tenant.pk}


def test_policies_compare_a_value_that_is_read_once(db: None) -> None:
    """As a subquery: read for each row, it would cost a page of a pull a tenth."""
    for (text,) in ask("SELECT pg_get_expr(polqual, polrelid) FROM pg_policy"):
        assert re.search(r"\( SELECT .*current_setting", text, re.DOTALL), text


def test_words_are_found_in_ones_own_rows_only(wales: World, northwind: World) -> None:
    """The function runs as the owner, and keeps to the tenant by itself."""
    with for_tenant(wales.tenant.pk):
        mine = {pk for (pk,) in ask("SELECT site_having_words('a:* | b:* | h:* | m:*')")}
        everything = {row.pk for row in Site.objects.all()}
    with nobody():
        assert ask("SELECT site_having_words('a:* | b:* | h:* | m:*')") == []

    assert mine <= everything
