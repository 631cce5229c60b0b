"""Query: what an app asks of a collection, as SQL on the server trees and the local trees. Pure.

    status="open"  priority__gte=2  **{"customer.name__contains": "ltd"}
    field, or the path to one inside an object; then `__` and an operator, `eq` if there is none

How values compare. Nothing is an error for being of another type: it does not match.

- A field that is missing has no value, as one that is null. Neither is equal to anything but
  None, and they are the only ones that `isnull` and None find.
- Numbers compare with numbers, and true and false are 1 and 0, as in Python. Texts compare with
  texts, by code points: capitals and small letters differ. Lists and objects equal nothing.
- `ne` finds exactly what `eq` does not, so also rows without a value.
- Dates, UUIDs and decimals are asked for as the texts that they are on the wire.

In an order, rows without a value come first, then numbers, then texts; `-` turns it around. Rows
that are level there are in the order of their ids, so that pages fit together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence  # at run time: fields of a struct
from enum import Enum
from typing import Any, Final

import msgspec

from fieldsync.wire import find_unsendable

PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OPERATORS: Final = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "contains", "isnull")
_SIGNS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
ID: Final = "id"

Condition = tuple[str, list[Any]]  # SQL, and the values that it binds


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a collection, in which order. Raises: ValueError where it makes no sense."""

    collection: str
    where: Mapping[str, object] = msgspec.field(default_factory=dict)
    order: str | Sequence[str] = ()
    limit: int | None = None
    offset: int = 0

    def select(self) -> Condition:
        """The statement that gives (row_id, version, data, is_pending, …) of each row."""
        keys = [self.order] if isinstance(self.order, str) else list(self.order)
        columns, terms = _order(keys)
        sql, values = self._both_trees(
            "".join(f", {column} AS k{at}" for at, column in enumerate(columns))
        )
        sql += f" ORDER BY {', '.join(terms)}"
        for name, number in (("limit", self.limit), ("offset", self.offset)):
            if number is not None and number < 0:
                raise ValueError(f"{name} is {number}: rows are counted from 0")
        if self.limit is not None or self.offset:
            sql += " LIMIT ? OFFSET ?"
            values += [-1 if self.limit is None else self.limit, self.offset]
        return sql, values

    def count(self) -> Condition:
        """The statement that counts them, whatever the limit."""
        sql, values = self._both_trees("", "1")
        return f"SELECT count(*) FROM ({sql})", values  # noqa: S608  # made here

    def _both_trees(self, more: str, columns: str = "") -> Condition:
        """Rows as the server has them, but for those with edits; and these as they are here."""
        conditions = [_condition(name, value) for name, value in self.where.items()]
        ours = "".join(f" AND {sql}" for sql, _ in conditions)
        values = [value for _, bound in conditions for value in bound]
        collection = _text_literal(self.collection)
        replica = columns or "row_id, version, data, 0 AS is_pending"
        local = columns or "row_id, version, data, is_pending"
        sql = (
            f"SELECT {replica}{more} FROM replica WHERE collection = {collection}{ours}"  # noqa: S608  # names are checked, values bound
            " AND NOT EXISTS (SELECT 1 FROM local AS mine"
            " WHERE mine.collection = replica.collection AND mine.row_id = replica.row_id)"
            f" UNION ALL SELECT {local}{more} FROM local"
            f" WHERE collection = {collection} AND data IS NOT NULL{ours}"
        )
        return sql, values * 2


def render_index(collection: str, fields: Sequence[str]) -> str:
    """The statement that makes an index of these fields, if there is none. Raises: ValueError."""
    if not fields:
        raise ValueError("an index of no field: name at least one")
    name = " ".join(("rows", collection, *fields)).replace('"', '""')
    columns = ", ".join(["collection", *map(_column, fields)])
    return (
        f'CREATE INDEX IF NOT EXISTS "{name}" ON replica ({columns})'
        f" WHERE collection = {_text_literal(collection)}"
    )


# names


def _column(path: str) -> str:
    """The SQL of the value at `path`: always the same text, or no index would be used."""
    return "row_id" if path == ID else f"json_extract(data, {_json_path(path)})"


def _json_path(path: str) -> str:
    """A literal, since an index knows no parameters. Raises: ValueError for what is no name."""
    parts = path.split(".")
    if not all(PART.fullmatch(part) for part in parts):
        raise ValueError(
            f"{path!r} is no field: names are of letters, digits and _, and a field inside an"
            " object is written customer.name"
        )
    return "'$" + "".join(f'."{part}"' for part in parts) + "'"


def _text_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _split(name: str) -> tuple[str, str]:
    """A field and an operator. Raises: ValueError."""
    path, mark, operator = name.rpartition("__")
    if not mark or not path:
        return name, "eq"
    if operator not in OPERATORS:
        raise ValueError(
            f"{name!r} asks for an unknown operator {operator!r}: there are"
            f" {', '.join(OPERATORS)}; a field inside an object is written customer.name, and one"
            f" whose name has two _ is asked for as {name}__eq"
        )
    return path, operator


# conditions


def _condition(name: str, value: object) -> Condition:
    path, operator = _split(name)
    column = _column(path)
    match operator:
        case "eq":
            return _equal(path, column, _plain(name, value))
        case "ne":
            sql, values = _equal(path, column, _plain(name, value))
            return f"NOT coalesce({sql}, 0)", values
        case "in":
            return _among(path, column, name, value)
        case "isnull":
            if not isinstance(value, bool):
                raise _wrong(name, value, "it takes True or False")
            return f"{column} IS {'NULL' if value else 'NOT NULL'}", []
        case "contains":
            if not isinstance(value, str):
                raise _wrong(name, value, "it takes a text")
            return f"({_is_text(path)} AND instr({column}, ?) > 0)", [_plain(name, value)]
        case _:
            return _compared(path, column, _SIGNS[operator], _plain(name, value))


def _wrong(name: str, value: object, remedy: str) -> ValueError:
    return ValueError(f"{name} is {value!r}: {remedy}")


def _plain(name: str, value: object) -> Any:
    """`value` as it stands in JSON. Raises: ValueError for what no row can be compared with."""
    plain = value
    if not isinstance(value, (str, int, float)) or isinstance(value, Enum):
        try:
            plain = msgspec.to_builtins(value)
        except TypeError:
            plain = ()
    if plain is not None and not isinstance(plain, (str, int, float)):
        raise _wrong(name, value, "fields compare with texts, numbers and None")
    reason = find_unsendable(plain)
    if reason is not None:
        raise ValueError(f"{name}: {reason}")
    return plain


def _equal(path: str, column: str, value: Any) -> Condition:
    if value is None:
        return f"{column} IS NULL", []
    if isinstance(value, str):
        return f"({column} = ? AND {_is_text(path)})", [value]
    return f"{column} = {_number(value)}", [_bound(value)]


def _compared(path: str, column: str, sign: str, value: Any) -> Condition:
    if value is None:
        raise ValueError(f"{path} compared with None: ask for {path}__isnull=True")
    if isinstance(value, str):
        return f"({column} {sign} ? AND {_is_text(path)})", [value]
    # In SQLite any text is more than any number.
    return f"({column} {sign} {_number(value)} AND {column} < '')", [_bound(value)]


def _among(path: str, column: str, name: str, value: object) -> Condition:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise _wrong(name, value, "it takes a list of values")
    plain = [_plain(name, each) for each in value]
    texts = [each for each in plain if isinstance(each, str)]
    numbers = [each for each in plain if isinstance(each, (int, float))]
    parts = [f"{column} IS NULL"] if None in plain else []
    if texts:
        parts.append(f"({column} IN ({', '.join('?' * len(texts))}) AND {_is_text(path)})")
    if numbers:
        parts.append(f"{column} IN ({', '.join(map(_number, numbers))})")
    sql = f"({' OR '.join(parts)})" if parts else "0"
    return sql, [*texts, *map(_bound, numbers)]


def _is_text(path: str) -> str:
    """A list or an object is text too, once it is out of its row."""
    return "1" if path == ID else f"json_type(data, {_json_path(path)}) = 'text'"


def _number(value: object) -> str:
    """Fractions are read by SQLite on both sides: it need not round as Python does."""
    return "CAST(? AS REAL)" if isinstance(value, float) else "?"


def _bound(value: Any) -> object:
    return repr(value) if isinstance(value, float) else int(value)


# order


def _order(keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """The columns to sort by, and the terms of the order; the id is always the last."""
    columns: list[str] = []
    terms: list[str] = []
    for key in keys:
        path = key.removeprefix("-")
        direction = " DESC" if key.startswith("-") else ""
        if path == ID:
            return columns, [*terms, f"row_id{direction}"]
        terms.append(f"k{len(columns)}{direction}")
        columns.append(_column(path))
    return columns, [*terms, "row_id"]
