"""What is measured, and how fast the product is to be beside the floor."""

from __future__ import annotations

import dataclasses
from typing import Final

TENANTS: Final = 8
DEVICES: Final = 8  # in the first tenant; the others have one each


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of work: `clients` devices at once, each in a tenant of its own or all in one."""

    name: str
    title: str
    batch_rows: int
    clients: int = 1
    is_spread: bool = False
    is_update: bool = False
    target: float | None = None  # least ratio of the product's rows/s to the floor's


CASES: Final = (
    Case(name="new-500", title="new rows by 500", batch_rows=500, target=0.6),
    Case(name="new-100", title="new rows by 100", batch_rows=100),
    Case(name="update-100", title="updates by 100", batch_rows=100, is_update=True, target=0.5),
    Case(
        name="tenants-8",
        title="new rows by 100, 8 clients in 8 tenants",
        batch_rows=100,
        clients=TENANTS,
        is_spread=True,
    ),
    Case(
        name="one-tenant-8",
        title="new rows by 100, 8 clients in one tenant",
        batch_rows=100,
        clients=DEVICES,
    ),
)
