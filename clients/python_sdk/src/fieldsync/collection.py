"""Collection: the rows of one kind, as this device sees them, and the edits of them.

orders = client.collection("work_orders")               rows are `Row`s, with `data`
orders = client.collection("work_orders", WorkOrder)    rows are `WorkOrder`s
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from fieldsync.children import list_changes, without_removals
from fieldsync.engine.local import Seen
from fieldsync.engine.rows import Row
from fieldsync.errors import RowNotFound, UnsendableValue
from fieldsync.query import Query
from fieldsync.shape import RowId, Shape
from fieldsync.wire import canonical_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from fieldsync.engine import Engine
    from fieldsync.engine.local import Undone
    from fieldsync.listeners import RowsChanged

T = TypeVar("T")


class Collection(Generic[T]):
    """The rows of one collection: `Row`s, or objects of the class that the app declared.

    `where` in `query`, `iterate`, `first` and `count` is `field=value`, `field__operator=value`,
    or `**{"field.inner": value}`. Operators: eq, ne, lt, lte, gt, gte, in, contains, isnull; how
    values compare is said in `fieldsync.query`. They raise ValueError for what makes no sense.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        groups: Callable[[], frozenset[str]],
        cls: type[T] | None = None,
    ) -> None:
        self.name = name
        self._local = engine.local
        self._rows = engine.rows
        self._listeners = engine.listeners
        self._groups = groups
        self._shape = None if cls is None else Shape(name, cls)

    # reading

    def get(self, row_id: str) -> T | None:
        """The row, or None when this device does not hold it."""
        row = self._rows.get(self.name, canonical_id(row_id))
        return None if row is None else self._made(row)

    def all(self) -> list[T]:
        """All rows, by id: in the order they were made, with UUIDv7."""
        return self.query()

    def query(
        self,
        *,
        order: str | Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
        **where: object,
    ) -> list[T]:
        """The rows of which all this is true, in this order: `"-created_at"`, or several."""
        return list(self.iterate(order=order, limit=limit, offset=offset, **where))

    def iterate(
        self,
        *,
        order: str | Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
        **where: object,
    ) -> Iterator[T]:
        """The same one by one, without ever holding all of them; edits meanwhile do not show."""
        query = Query(collection=self.name, where=where, order=order, limit=limit, offset=offset)
        return map(self._made, self._rows.iterate(query))

    def first(self, *, order: str | Sequence[str] = (), **where: object) -> T | None:
        """The first of these rows, or None."""
        query = Query(collection=self.name, where=where, order=order, limit=1)
        return next(map(self._made, self._rows.iterate(query)), None)

    def count(self, **where: object) -> int:
        """How many rows there are of which all this is true."""
        return self._rows.count(Query(collection=self.name, where=where))

    def index(self, *fields: str) -> None:
        """Have queries by `fields` find their rows without looking at each; at every start."""
        self._rows.index(self.name, fields)

    def _made(self, row: Row) -> T:
        if self._shape is None:
            return cast("T", row)
        return self._shape.read(row.id, row.data, row.version)

    # editing

    def create(self, data: T | Mapping[str, Any], *, id: str | None = None) -> str:  # noqa: A002  # the wire's word
        """Create a row and return its id, a new UUIDv7 unless given. Raises: RowExists.

        An object that had no id has it then.
        """
        if isinstance(data, Mapping):
            return self._local.create(self.name, data, row_id=id, groups=self._groups())
        shape = self._typed()
        fields = shape.whole(data, self._local.new_id)
        given = id or str(getattr(data, "id", "")) or None
        row_id = self._local.create(self.name, fields, row_id=given, groups=self._groups())
        shape.remember(data, RowId.of(row_id, fields, None))
        return row_id

    def update(self, row_id: str, fields: Mapping[str, Any]) -> None:
        """Change `fields` of a row; the others stay. Raises: RowNotFound."""
        self._local.update(self.name, canonical_id(row_id), fields, groups=self._groups())

    def save(self, changed: T) -> None:
        """Change the row of an object that was read or created here: in what was changed in it.

        Fields that its class does not know stay as they are. Raises: RowNotFound; ValueError for
        an object that is of no row.
        """
        shape = self._typed()
        row_id = shape.row_id_of(changed)
        fields = shape.list_changes(changed, row_id, self._local.new_id)
        self._update(row_id, fields, Seen(data=row_id.data, version=row_id.version))
        now = {**row_id.data, **without_removals(fields)}
        shape.remember(changed, RowId.of(row_id, now, row_id.version))

    @overload
    def edit(self: Collection[Row], row_id: str) -> AbstractContextManager[dict[str, Any]]: ...
    @overload
    def edit(self, row_id: str) -> AbstractContextManager[T]: ...
    def edit(self, row_id: str) -> AbstractContextManager[Any]:
        """The fields of the row, or its object, to be changed in the block; what was is queued.

        Nothing is, if the block raises. New children of a list get ids, and children that were
        taken out are removed, whether the server replaces the list or merges it. A field cannot
        be taken out: set it to None. Raises: RowNotFound.
        """
        return self._edit(canonical_id(row_id))

    @contextmanager
    def _edit(self, row_id: str) -> Iterator[Any]:
        row = self._rows.get(self.name, row_id)
        if row is None:
            raise RowNotFound(self.name, row_id)
        if self._shape is None:
            now = copy.deepcopy(row.data)
            yield now
            fields = self._list_changes(row, now)
        else:
            made = self._shape.read(row_id, row.data, row.version)
            was = RowId.of(row_id, row.data, row.version)
            yield made
            fields = self._shape.list_changes(made, was, self._local.new_id)
        self._update(row_id, fields, Seen(data=row.data, version=row.version))

    def _list_changes(self, row: Row, now: Mapping[str, Any]) -> dict[str, Any]:
        missing = sorted(row.data.keys() - now.keys())
        if missing:
            reason = f"{', '.join(missing)} cannot be taken out of a row: set it to None"
            raise UnsendableValue(self.name, row.id, reason)
        return list_changes(row.data, now, self._local.new_id)

    def _update(self, row_id: str, fields: Mapping[str, Any], seen: Seen) -> None:
        if fields:
            groups = self._groups()
            self._local.update(self.name, str(row_id), fields, groups=groups, seen=seen)

    def delete(self, row_id: str) -> None:
        """Delete a row. Raises: RowNotFound."""
        self._local.delete(self.name, canonical_id(row_id), groups=self._groups())

    def undo(self, row_id: str) -> Undone | None:
        """Give up the row's edit that was not sent yet, and return it; None if there is none.

        The row is then as it was before: a row that was made here is gone, one that was deleted
        here is back. Raises: AlreadySent when the edit is on its way.
        """
        return self._local.undo(self.name, canonical_id(row_id))

    # listening

    def on_change(self, listener: Callable[[RowsChanged], object]) -> Callable[[], None]:
        """Tell `listener` which rows of this collection change: see `Client.on_change`."""

        def hear(change: RowsChanged) -> None:
            ours = change.only(self.name)
            if ours is not None:
                listener(ours)

        return self._listeners.add(hear)

    def _typed(self) -> Shape[T]:
        if self._shape is None:
            raise TypeError(
                f"objects need a class: client.collection({self.name!r}, YourClass); without one,"
                " create() and update() take dicts, and edit() gives one"
            )
        return self._shape
