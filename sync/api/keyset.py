"""Keyset pages: each begins behind the last row of the one before, at the same cost at any depth.

    ?ordering=-priority&limit=50                     the first page
    ?ordering=-priority&limit=50&after=<next>        the next

`next` holds where the page ended: the ordering, the value and the id of its last row. Rows that
come or go meanwhile move no page; whoever edits the ordering's value of a row may see it twice.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from django.core.exceptions import ValidationError
from django.db.models import Expression, F, Field, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan

from sync.errors import ParameterInvalid

if TYPE_CHECKING:
    from rest_framework.request import Request

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 200
CURSOR_CHARS_MAX: Final = 600
KEY: Final = "ordering_key"  # the annotation that a page is put in order by


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """A way to put rows in order: an expression that is never NULL, and an index holds it."""

    by: F | Expression
    field: Field[Any, Any]  # reads the value of a cursor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a list is read: in which order, how many rows, behind which."""

    name: str
    is_descending: bool
    limit: int
    after: tuple[Any, UUID] | None


class _Cursor(msgspec.Struct, array_like=True):
    ordering: str
    value: str | int | float | bool
    row_id: str


def read_place(request: Request, orderings: Mapping[str, Ordering], default: str) -> Place:
    """Return the place that the query parameters ask for.

    Raises:
        ParameterInvalid: one of them is not what an earlier answer, or the description, says.
    """
    given = request.query_params
    ordering = given.get("ordering", default)
    name = ordering.removeprefix("-")
    if name not in orderings:
        known = ", ".join(f"{each}, -{each}" for each in sorted(orderings))
        raise ParameterInvalid("ordering", f"must be one of {known}")
    return Place(
        name=name,
        is_descending=ordering.startswith("-"),
        limit=_read_limit(given.get("limit")),
        after=_read_after(given.get("after"), ordering, orderings[name]),
    )


def read_page(
    rows: QuerySet[Any], place: Place, orderings: Mapping[str, Ordering]
) -> tuple[list[UUID], str | None]:
    """Return the ids of the page's rows, and where the next begins; None behind the last.

    Ids alone: with all that is shown of a row joined to it, PostgreSQL may well join first, and
    choose the page's rows then.
    """
    ordered = put_in_order(rows, place, orderings).values_list("pk", KEY)
    found = list(ordered[: place.limit + 1])
    page = found[: place.limit]
    ids = [row_id for row_id, _ in page]
    if len(found) <= place.limit:
        return ids, None
    row_id, value = page[-1]
    return ids, _render_after(row_id, value, place)


def put_in_order(
    rows: QuerySet[Any], place: Place, orderings: Mapping[str, Ordering]
) -> QuerySet[Any]:
    """Return `rows` in order, from the place on."""
    ordered: QuerySet[Any] = rows.annotate(**{KEY: orderings[place.name].by})
    if place.after is not None:
        beyond = TupleLessThan if place.is_descending else TupleGreaterThan
        ordered = ordered.filter(beyond(Tuple(F(KEY), F("pk")), place.after))
    sign = "-" if place.is_descending else ""
    return ordered.order_by(f"{sign}{KEY}", f"{sign}pk")


def _read_limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:4]) <= LIMIT_MAX:
        raise ParameterInvalid("limit", f"must be a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def _read_after(text: str | None, ordering: str, found: Ordering) -> tuple[Any, UUID] | None:
    if text is None:
        return None
    try:
        cursor = _parse_cursor(text)
        if cursor.ordering == ordering:
            return found.field.to_python(cursor.value), UUID(cursor.row_id)
    except (ValueError, msgspec.MsgspecError, ValidationError):
        pass
    raise ParameterInvalid("after", "must be the `next` of the page before, of the same ordering")


def _parse_cursor(text: str) -> _Cursor:
    """Raises: ValueError (binascii.Error is one), MsgspecError: it is none of ours."""
    packed = base64.urlsafe_b64decode(text[:CURSOR_CHARS_MAX].encode("ascii"))
    return msgspec.json.decode(packed, type=_Cursor)


def _render_after(row_id: UUID, value: Any, place: Place) -> str:
    if not isinstance(value, str | int | float | bool):
        value = value.isoformat() if hasattr(value, "isoformat") else str(value)
    sign = "-" if place.is_descending else ""
    cursor = _Cursor(f"{sign}{place.name}", value, str(row_id))
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()
