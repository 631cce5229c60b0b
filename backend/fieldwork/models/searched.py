"""Search: the words of a row, for an index and for the query that finds by it alike."""

from __future__ import annotations

from typing import Final

from django.contrib.postgres.search import SearchVectorField
from django.db.models import F, Func

CONFIG: Final = "simple"  # words as they are: names and numbers have no grammar


class Words(Func):
    """The words of some columns that are never NULL.

    Spelt without parameters: PostgreSQL knows the index by its very expression.
    """

    template = f"to_tsvector('{CONFIG}'::regconfig, %(expressions)s)"
    arg_joiner = " || ' ' || "
    output_field = SearchVectorField()

    def __init__(self, *fields: str) -> None:
        super().__init__(*(F(name) for name in fields))


WORK_ORDER_WORDS: Final = Words("number", "title")
SITE_WORDS: Final = Words("name", "customer", "address")
ASSET_WORDS: Final = Words("tag", "category", "brand")
