"""Search: the words of a row, their index, and the function of the database that finds by it."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.postgres.search import SearchVectorField
from django.db.models import F, Func, Model
from django.db.models.expressions import RawSQL

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


def ids_having_words(model: type[Model], words: str) -> RawSQL:
    """Return the query for the ids of the rows that match `words`, a text for `to_tsquery`.

    Of the tenant that the caller works for (`sync.row_security`): row-level security lets a
    statement use no index of words, so a function of the database does. See migration 0003.
    """
    table: Any = model._meta.db_table
    return RawSQL(f"SELECT {table}_having_words(%s)", [words])  # noqa: S611  # the name is a model's
