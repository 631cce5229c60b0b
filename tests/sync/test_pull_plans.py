"""A pull reads what it sends, not what there is: with statistics and without, prepared or not."""

from __future__ import annotations

import random
from uuid import UUID, uuid4

import pytest
from django.db import connection

from backend.accounts.models import Device, Membership, Tenant, User
from loadtests.bench import filling
from loadtests.bench.exchange import Answer, Request
from loadtests.bench.pulls import PULL_PATH
from loadtests.bench.senders import make_readers
from loadtests.bench.workload import Sender
from sync.clock import utc_now
from sync.models import ScopeSet, Stream
from tests.bench.asking import ask_product
from tests.sync.plans import Executed, explain, statements_of

ROWS, CHANGED = 8_000, 50
PAGE_ROWS, PAGE_ROWS_MAX = 100, 1_000
OTHERS = 1_000  # tenants, with a device each: a table of one page is best read as a whole
BUFFERS_A_ROW = 6  # of an index and of the table
COLUMNS = {
    "sync_entry": {"tenant_id": "uuid", "scope": "varchar(80)", "seq": "bigint"},
    "sync_change": {"tenant_id": "uuid", "collection": "varchar(64)", "row_id": "varchar(64)"},
}


class Reader:
    """A device that goes on from where it was."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.cursor = self.etag = ""

    def pull(self, limit: int = PAGE_ROWS, **headers: str) -> Answer:
        cursor = f"&cursor={self.cursor}" if self.cursor else ""
        target = f"{PULL_PATH}?limit={limit}{cursor}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = ask_product(self.sender)(Request(method="GET", target=target, headers=named))
        place = answer.read_place()
        if place:
            self.cursor, self.etag = place[0], answer.headers["etag"]
        return answer

    def read_to_the_middle(self) -> None:
        for _ in range(ROWS // PAGE_ROWS_MAX // 2):
            self.pull(PAGE_ROWS_MAX)

    def move(self, *territories: str) -> None:
        """Hold these territories from now on."""
        held = [UUID(territory) for territory in territories]
        Membership.objects.filter(user_id=self.sender.user).update(territories=held)


@pytest.fixture
def other_tenants(db: None) -> None:
    tenants = [Tenant(slug=f"t{n}", name="T") for n in range(OTHERS)]
    users = [User(username=f"u{n}") for n in range(OTHERS)]
    Tenant.objects.bulk_create(tenants)
    User.objects.bulk_create(users)
    pairs = list(zip(tenants, users, strict=True))
    Membership.objects.bulk_create(
        Membership(tenant=t, user=u, role="technician") for t, u in pairs
    )
    now = utc_now()
    Device.objects.bulk_create(
        Device(tenant=t, user=u, install_id="i", created_at=now, last_seen_at=now)
        for t, u in pairs
    )
    Stream.objects.bulk_create(Stream(tenant_id=t.pk, epoch=uuid4()) for t in tenants)
    ScopeSet.objects.bulk_create(
        ScopeSet(tenant_id=t.pk, digest=bytes(16), scopes=["tenant"], collections=None)
        for t in tenants
    )
    with connection.cursor() as cursor:  # who asks is looked up among these, and not what is tried
        cursor.execute(
            "ANALYZE accounts_tenant, accounts_user, accounts_membership, accounts_device, "
            "sync_scope_set, sync_stream"
        )


POLICY = """
SELECT polname, pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = %s::regclass
"""


def make_reader(territories: int) -> tuple[Reader, Reader]:
    """Return a device that is new, and one that was there before the rows, but a few."""
    forget_statistics()
    fresh, old = (Reader(s) for s in make_readers("busy", devices=2, territories=territories))
    link = connection.connection
    base = filling.make_room(link, fresh.sender.tenant, ROWS)
    old.pull()
    filling.fill(link, fresh.sender, random.Random(3), base=base, rows=ROWS)
    step = ROWS // CHANGED
    filling.touch(link, fresh.sender, seqs=[base + 1 + n * step for n in range(CHANGED)])
    return fresh, old


def forget_statistics() -> None:
    """Leave PostgreSQL with none, as after a restore: other tests have analysed these tables."""
    with connection.cursor() as cursor:
        for table, columns in COLUMNS.items():
            cursor.execute(POLICY, [table])
            policy, holds = cursor.fetchone()
            cursor.execute(f"DROP POLICY {policy} ON {table}")  # it keeps its column as it is
            for name, kind in columns.items():
                cursor.execute(f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind}")
            cursor.execute(f"CREATE POLICY {policy} ON {table} USING {holds}")


def analyse() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def check(executed: Executed, rows_max: int) -> None:
    assert [scan for scan in executed.scans if scan.kind == "Seq Scan"] == []
    assert executed.rows <= rows_max, executed
    assert executed.buffers <= BUFFERS_A_ROW * rows_max, executed


@pytest.mark.parametrize("is_analysed", [True, False], ids=["analysed", "no statistics"])
@pytest.mark.parametrize("territories", [1, 100])
def test_a_pull_reads_no_more_than_it_sends(
    other_tenants: None, territories: int, is_analysed: bool
) -> None:
    """Of 8,000 rows: a first page, one in the middle, changed rows, nothing, another territory."""
    fresh, old = make_reader(territories)
    if is_analysed:
        analyse()
    scopes = territories + 2
    found = {"first": statements_of(fresh.pull)}
    fresh.read_to_the_middle()
    found["middle"] = statements_of(fresh.pull)
    found["changed"] = statements_of(old.pull)
    found["nothing"] = statements_of(lambda: old.pull(If_None_Match=old.etag))
    fresh.move(*fresh.sender.territories[1:], str(uuid4()))
    found["lost"] = statements_of(fresh.pull)
    old.move(str(uuid4()))
    old.pull(PAGE_ROWS_MAX)
    old.move(*old.sender.territories)
    found["gained"] = statements_of(old.pull)

    for statements in found.values():
        for statement in statements:
            for executed in explain(statement):
                # Twice an end is looked for in the scopes, then lines and rows are read.
                check(executed, rows_max=8 * PAGE_ROWS + 20 * scopes)
    assert len(found["nothing"]) <= 3
