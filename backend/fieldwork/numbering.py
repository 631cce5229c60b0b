"""Numbers of work orders: `WO-000123`, unique in the tenant, taken for a whole batch at once.

A number is never given twice. It may be skipped: a batch that is refused after it took numbers
does not give them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from uuid import UUID

# One statement, also for a tenant's first work order. The counter's row stays locked until COMMIT,
# so this runs late: after everything was read and decided.
_TAKE = """
INSERT INTO work_order_number AS series (tenant_id, next) VALUES (%(tenant)s, 1 + %(count)s)
ON CONFLICT (tenant_id) DO UPDATE SET next = series.next + %(count)s
RETURNING next - %(count)s
"""


def take_numbers(tenant_id: UUID, count: int) -> list[str]:
    """Return the tenant's next `count` numbers, in rising order; must run in a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {"tenant": tenant_id, "count": count})
        (first,) = cursor.fetchone()
    return [f"WO-{number:06d}" for number in range(first, first + count)]
