"""Pages by id, of lists that are short for most and have to end for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import Model, QuerySet

    M = TypeVar("M", bound=Model)
else:
    M = TypeVar("M")

PAGE_ROWS: Final = 100


def read_page(rows: QuerySet[M], after: UUID | None) -> tuple[list[M], UUID | None]:
    """Return `rows` by id, and the id that the next page begins behind; None at the end."""
    ordered = rows.order_by("pk")
    if after is not None:
        ordered = ordered.filter(pk__gt=after)
    found = list(ordered[: PAGE_ROWS + 1])
    page = found[:PAGE_ROWS]
    return page, page[-1].pk if len(found) > PAGE_ROWS else None
