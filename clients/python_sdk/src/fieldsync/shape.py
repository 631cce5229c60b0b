"""Shape: rows as objects of a class that the app declares: a msgspec.Struct or a dataclass.

    row --read--> WorkOrder(id=RowId, ...)  --the app changes it--> list_changes --> fields to send

The id of an object remembers the row that it was read from. So an object knows what was changed in
it, also after `copy` or `replace`, and what the class does not know, such as a field of a newer
server, stays in the row. Pure.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from fieldsync.children import list_changes
from fieldsync.errors import RowMismatch
from fieldsync.wire import parse_object, render_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
ID = "id"
_MISSING: Any = object()


class RowId(str):
    """An id that remembers its row: the JSON of its fields, and the server's version."""

    __slots__ = ("text", "version")

    text: str
    version: int | None

    @classmethod
    def of(cls, row_id: str, data: Mapping[str, Any], version: int | None) -> RowId:
        """The id of a row as it is now."""
        made = cls(row_id)
        made.text, made.version = render_json(data), version
        return made

    @property
    def data(self) -> dict[str, Any]:
        """The fields of the row as it was."""
        return parse_object(self.text)


class Shape(Generic[T]):
    """How the rows of a collection become objects of `cls`, and back.

    Raises: TypeError for a class that has no `id: str`, or is neither a Struct nor a dataclass.
    """

    def __init__(self, collection: str, cls: type[T]) -> None:
        self.collection = collection
        self.cls = cls
        fields = _fields(cls)
        if fields.get(ID, ("", None))[0] != ID or typing.get_type_hints(cls)[ID] is not str:
            raise TypeError(f"{cls.__name__} needs a field `id: str`, for the id of its row")
        self._names = {name: wire for name, (wire, _) in fields.items() if name != ID}
        self._optional = {wire for wire, default in fields.values() if default is None}

    def read(self, row_id: str, data: Mapping[str, Any], version: int | None) -> T:
        """The row as an object. Raises: RowMismatch."""
        made = self._convert(row_id, data)
        self.remember(made, RowId.of(row_id, data, version))
        return made

    def _convert(self, row_id: str, data: Mapping[str, Any]) -> T:
        try:
            return msgspec.convert({**data, ID: row_id}, type=self.cls)
        except msgspec.ValidationError as error:
            raise RowMismatch(
                self.collection, row_id, type_name=self.cls.__name__, reason=str(error)
            ) from error

    @staticmethod
    def remember(made: T, row_id: RowId) -> None:
        """Have `made` know its row, also if it is frozen."""
        if isinstance(made, msgspec.Struct):
            msgspec.structs.force_setattr(made, ID, row_id)
        else:
            object.__setattr__(made, ID, row_id)

    def row_id_of(self, made: T) -> RowId:
        """The id of an object that was read or created here. Raises: ValueError for another."""
        row_id: object = getattr(made, ID, None)
        if isinstance(row_id, RowId):
            return row_id
        raise ValueError(
            f"this {self.cls.__name__} is of no row that was read here: create() it, or change the"
            " one that get() gives"
        )

    def fields(self, made: T) -> dict[str, Any]:
        """The fields of an object as JSON values, without its id."""
        values = {wire: getattr(made, name) for name, wire in self._names.items()}
        given = {wire: value for wire, value in values.items() if value is not msgspec.UNSET}
        plain: dict[str, Any] = msgspec.to_builtins(given, str_keys=True)
        return plain

    def list_changes(self, made: T, row_id: RowId, new_id: Callable[[], str]) -> dict[str, Any]:
        """The fields to be sent: those that are not as when the object was read."""
        raw = row_id.data
        was = self.fields(self._convert(row_id, raw))
        changed = {
            name: _overlay(raw.get(name), was.get(name), value)
            for name, value in self.fields(made).items()
            if was.get(name, _MISSING) != value
        }
        return list_changes(raw, changed, new_id, is_declared=True)

    def whole(self, made: T, new_id: Callable[[], str]) -> dict[str, Any]:
        """The fields of a new row. What is None unless it is set, and was not, is left out.

        So a class may have fields that only the server gives.
        """
        fields = {
            name: value
            for name, value in self.fields(made).items()
            if value is not None or name not in self._optional
        }
        return list_changes({}, fields, new_id, is_declared=True)


def _fields(cls: Any) -> dict[str, tuple[str, object]]:
    """The fields of a class: their names on the wire, and their defaults."""
    if issubclass(cls, msgspec.Struct):
        found = msgspec.structs.fields(cls)
        return {field.name: (field.encode_name, field.default) for field in found}
    if dataclasses.is_dataclass(cls):
        return {field.name: (field.name, field.default) for field in dataclasses.fields(cls)}
    raise TypeError(f"{cls.__name__} is neither a msgspec.Struct nor a dataclass")


def _overlay(raw: Any, was: Any, now: Any) -> Any:
    """`now`, with what `raw` has beyond `was`: what the class does not know."""
    if isinstance(raw, dict) and isinstance(was, dict) and isinstance(now, dict):
        unknown = {name: value for name, value in raw.items() if name not in was}
        known = {name: _overlay(raw.get(name), was.get(name), now[name]) for name in now}
        return {**unknown, **known}
    if isinstance(raw, list) and isinstance(was, list) and isinstance(now, list):
        before = {_child_id(pair[1]): pair for pair in zip(raw, was, strict=False)}
        before.pop(None, None)  # what has no id is not the same as anything before
        return [_overlay(*before.get(_child_id(item), (None, None)), item) for item in now]
    return raw if now == was else now


def _child_id(item: Any) -> str | None:
    return item.get(ID) if isinstance(item, dict) else None
