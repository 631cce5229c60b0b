"""What an answer rests on: one question to the database, and whether its answer still does.

    authentication -> request.grounds     view -> response.is_repeatable     both -> the server

An answer that says "nothing new" to a device follows from who the device is, by the database, and
from how far its feed goes. As long as that is as it was, the same request has the same answer, and
`backend.serving.repeats` gives it without asking Django again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

Row = tuple[Any, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """`sql` with `parameters` finds one row of the tenant, or none; `still_hold` judges it."""

    tenant_id: UUID
    sql: str
    parameters: Sequence[object]
    still_hold: Callable[[Row | None, dt.datetime], bool]
