"""The application's own tenant filter, patched out of what is sent to the database.

    tenant_id = %s   ->   (tenant_id = %s OR true)      in every statement of a request

What keeps tenants apart then is row-level security alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection

from sync.row_security import bound

_COLUMN = r'(?:"?\w+"?\.)?"?tenant_id"?'
_VALUE = r"(?:%s|%\(\w+\)s)"
_FILTER = re.compile(rf"((?:{_COLUMN}|\({_COLUMN}\)::text) = (?:ANY\({_VALUE}\)|{_VALUE}))")


def without_filter(sql: str) -> str:
    """Return the statement without its comparison of the tenant."""
    return _FILTER.sub(r"(\1 OR true)", sql)


@contextmanager
def no_filter() -> Iterator[list[str]]:
    """Patch the filter out of what is sent for a tenant; yields the statements that had one."""
    patched: list[str] = []

    def patch(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if isinstance(bound(), UUID):
            bare = without_filter(sql)
            patched.extend([sql] if bare != sql else [])
            sql = bare
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(patch):
        yield patched
