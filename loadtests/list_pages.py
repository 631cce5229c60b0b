"""List pages: what a page of a long list costs at any depth, beside the first page of it.

    python -m loadtests.list_pages [ROWS]

Two tenants with as many work orders each; a dispatcher reads pages of 50 in every order, from four
depths by turns. Nothing is kept between requests. The plans are held by tests/rest/test_plans.py.
"""

from __future__ import annotations

import os
import sys
import time
from statistics import median
from typing import Any, Final
from urllib.parse import urlencode

from loadtests.bench.stage import prepared_database

ROWS: Final = 100_000
ROUNDS: Final = 40
PAGE: Final = 50
STEP: Final = 200  # rows a page on the way down
DEPTHS: Final = (0.0, 0.1, 0.5, 0.99)
ORDERINGS: Final = ("-id", "priority", "-due_at")
COPY: Final = """
INSERT INTO {table} ({columns}) SELECT {values} FROM {table} AS r, generate_series(1, %s) AS n
WHERE r.tenant_id = %s AND r.{key} = %s
"""


def main(rows: int) -> None:
    """Measure and print a line for each order: the cost at each depth, first page = 1."""
    os.environ["ALLOWED_HOSTS"] = "testserver"  # Django's client in this process, no server
    with prepared_database():
        from django.core.management import call_command
        from django.db import connection

        from backend.accounts.models import Tenant

        call_command("seed_demo", yes=True, verbosity=0)
        for tenant in Tenant.objects.all():
            _fill(tenant, rows)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        client = _log_in("dora")
        print(f"{'':12}" + "".join(f"{f'behind {depth:.0%}':>14}" for depth in DEPTHS))
        for ordering in ORDERINGS:
            _measure(client, ordering, rows)


def _log_in(username: str) -> Any:
    """Return a client with the dispatcher's token."""
    from rest_framework.test import APIClient

    client: Any = APIClient()
    device = {"install_id": "pages", "platform": "test", "app_version": "1"}
    body = {"username": username, "password": "fieldsync", "device": device}  # of the demo
    token = client.post("/api/v1/auth/token", body).json()["access"]
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def _measure(client: Any, ordering: str, rows: int) -> None:
    places = [_place_behind(client, ordering, int(rows * depth)) for depth in DEPTHS]
    times: list[list[float]] = [[] for _ in DEPTHS]
    for number in range(ROUNDS):
        for spent, after in zip(times, places, strict=True):
            began = time.perf_counter()
            _ask(client, ordering, after, limit=PAGE - number % 2)
            spent.append(time.perf_counter() - began)
    first = median(times[0])
    print(f"{ordering:12}" + "".join(f"{median(spent) / first:>14.2f}" for spent in times))


def _place_behind(client: Any, ordering: str, depth: int) -> str:
    after = ""
    for _ in range(depth // STEP):
        after = _ask(client, ordering, after, limit=STEP)["next"]
    return after


def _ask(client: Any, ordering: str, after: str, *, limit: int) -> Any:
    from django.core.cache import cache

    cache.clear()  # a list that was read would be answered by it
    query = {"ordering": ordering, "limit": limit} | ({"after": after} if after else {})
    return client.get(f"/api/v1/work-orders/?{urlencode(query)}").json()


def _fill(tenant: Any, rows: int) -> None:
    """Copy one work order, and what the feed says of it, under new ids."""
    from django.db import connection

    from backend.fieldwork.models import WorkOrder
    from sync.models import ChangeRow

    order = WorkOrder.objects.filter(tenant_id=tenant.pk).earliest("number")
    new_id = f"md5('{tenant.slug}' || n)::uuid"
    other = {
        "id": new_id,
        "row_id": f"{new_id}::text",
        "number": "'C' || n",
        "priority": "n %% 5 + 1",
        "due_at": "CASE WHEN n %% 3 = 0 THEN NULL ELSE now() + n * interval '1 minute' END",
        "seq": "r.seq + n",
    }
    with connection.cursor() as cursor:
        for model, key in ((WorkOrder, "id"), (ChangeRow, "row_id")):
            names = [field.column for field in model._meta.concrete_fields if field.column]
            cursor.execute(
                COPY.format(
                    table=model._meta.db_table,
                    columns=", ".join(f'"{name}"' for name in names),
                    values=", ".join(other.get(name, f'r."{name}"') for name in names),
                    key=key,
                ),
                [rows, tenant.pk, str(order.pk)],
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
