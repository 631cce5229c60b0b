"""Rows that are plainly good: a fast judge, compiled once from a serializer's own fields.

    row as sent --accept--> canonical wire form, or None: let the serializer judge

REST framework is where judging a row costs most. What clients send is nearly always already in
the form in which it would be stored, and msgspec can tell so in a fiftieth of the time. A row that
is anything else (wrong, or right but written in another way) goes to the serializer, so that every
error is the serializer's own. Never more is accepted here than there, nor with another result:
`tests/contracts` holds both equal for every registered collection.

A field of a class that is not known here is asked by itself. A serializer that judges fields
together (`validate`, `validators`) has no plain rows.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from django.core import validators
from rest_framework import fields as drf, serializers
from rest_framework.settings import api_settings
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from sync.serializers import NestedSerializer, ReferenceField, RowSerializer

if TYPE_CHECKING:
    from sync.fields import FieldSpec, NestedSpec
    from sync.types import Wire

Tidy = Callable[[Any], Any]  # value of the right type -> canonical wire form, or NOT_PLAIN

NOT_PLAIN: Any = object()
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}").fullmatch
_WHOLE_SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII).fullmatch
_FRACTION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z", re.ASCII).fullmatch
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII).fullmatch
_PLAIN_VALIDATORS = (
    validators.MinLengthValidator,
    validators.MaxLengthValidator,
    validators.MinValueValidator,
    validators.MaxValueValidator,
    validators.ProhibitNullCharactersValidator,
    ProhibitSurrogateCharactersValidator,
)
_ISO_FORMATS = (["iso-8601"], "iso-8601")
_INTEGER_MAX = 2**63  # what a msgspec bound can be


class PlainRows:
    """One serializer's plain rows."""

    def __init__(
        self,
        serializer: serializers.Serializer[Any],
        fields: tuple[FieldSpec, ...],
        nested: tuple[NestedSpec, ...] = (),
    ) -> None:
        """Compile `serializer`, which may be partial; `fields` and `nested` render its values."""
        self._type: Any = None
        self._tidies: list[tuple[str, Tidy]] = []
        self._asked: list[tuple[str, Tidy]] = []  # these judge null too
        self._fields = fields
        self._nested = {spec.name: spec for spec in nested}
        if _is_judged_by_field(serializer):
            self._compile(serializer)

    def accept(self, data: Any) -> Wire | None:
        """Return the row in wire form, without defaults; None when the serializer must judge."""
        if self._type is None:
            return None
        try:
            msgspec.convert(data, self._type)
        except (msgspec.ValidationError, TypeError, UnicodeEncodeError):  # half a surrogate pair
            return None
        return self._tidy(data)

    def _tidy(self, data: Mapping[str, Any]) -> Wire | None:
        row = dict(data)  # what was sent is read again: by a retry, and by who reviews a refusal
        for name, tidy in self._tidies:
            value = row.get(name)
            if value is not None:
                value = tidy(value)
                if value is NOT_PLAIN:
                    return None
                row[name] = value
        for name, ask in self._asked:
            if name in row:
                value = ask(row[name])
                if value is NOT_PLAIN:
                    return None
                row[name] = value
        return row

    def _compile(self, serializer: serializers.Serializer[Any]) -> None:
        specs = {spec.name: spec for spec in self._fields}
        members: list[tuple[str, Any, Any]] = []
        for name, field in serializer.fields.items():
            if field.read_only:
                continue
            kind, tidy = self._compile_list(name, field) or _compile_field(field)
            if kind is Any and name not in specs:
                return  # a list of children that have no plain rows
            if kind is Any:
                self._asked.append((name, _asker(field, specs[name].render)))
            elif tidy is not None:
                self._tidies.append((name, tidy))
            if field.allow_null and kind is not Any:
                kind = kind | None
            if isinstance(serializer, NestedSerializer):
                is_required = serializer.is_needed(name)
            else:
                is_required = field.required and not serializer.partial
            members.append((name, kind, msgspec.NODEFAULT if is_required else None))
        self._type = msgspec.defstruct(
            type(serializer).__name__,
            members,
            kw_only=True,
            forbid_unknown_fields=True,
            gc=False,
        )

    def _compile_list(self, name: str, field: Any) -> tuple[Any, Tidy] | None:
        """Return the type of a list of nested children, and what brings it into its order."""
        spec = self._nested.get(name)
        is_known: bool = type(field) is serializers.ListSerializer
        if spec is None or not is_known:
            return None
        rows = PlainRows(field.child, spec.fields)
        if rows._type is None:
            return None
        length = msgspec.Meta(
            max_length=field.max_length,
            min_length=field.min_length or (None if field.allow_empty else 1),
        )

        def tidy(children: list[Wire]) -> Any:
            if not children:
                return children
            tidied = [rows._tidy(child) for child in children]
            if None in tidied:
                return NOT_PLAIN
            return spec.sort([spec.complete(child) for child in tidied if child is not None])

        return Annotated[list[rows._type], length], tidy  # type: ignore[name-defined]


def _is_judged_by_field(serializer: serializers.Serializer[Any]) -> bool:
    """Whether the serializer looks at each field by itself, in the ways known here."""
    made = type(serializer)
    known = (RowSerializer, NestedSerializer)
    is_own = any(
        getattr(made, name) not in {getattr(each, name) for each in known}
        for name in ("run_validation", "to_internal_value", "validate", "_refused_fields")
    )
    fields = serializer.fields.items()
    return (
        not is_own
        and not serializer.validators
        and not any(hasattr(made, f"validate_{name}") for name, _ in fields)
        and all(field.read_only or field.default is drf.empty for _, field in fields)
    )


def _asker(field: Any, render: Tidy) -> Tidy:
    """Return what asks the field itself, as its serializer would."""

    def ask(value: Any) -> Any:
        try:
            return render(field.run_validation(value))
        except (serializers.ValidationError, drf.SkipField):
            return NOT_PLAIN

    return ask


def _compile_field(field: Any) -> tuple[Any, Tidy | None]:
    """Return a field's msgspec type and tidy; the type Any means: ask the field."""
    compile_ = _COMPILERS.get(type(field))
    is_known = all(type(each) in _PLAIN_VALIDATORS for each in field.validators)
    if compile_ is None or not is_known:
        return Any, None
    return compile_(field)


def _bounds(field: Any) -> Mapping[type, list[Any]]:
    """Return the limits of a field's validators, by their class; they may differ in number."""
    found: dict[type, list[Any]] = {}
    for each in field.validators:
        if hasattr(each, "limit_value"):
            limit = each.limit_value
            found.setdefault(type(each), []).append(limit() if callable(limit) else limit)
    return found


def _compile_text(field: Any) -> tuple[Any, Tidy | None]:
    bounds = _bounds(field)
    shortest = [*bounds.get(validators.MinLengthValidator, [])]
    if not field.allow_blank:
        shortest.append(1)
    longest = bounds.get(validators.MaxLengthValidator, [])
    meta = msgspec.Meta(
        min_length=max(shortest, default=None), max_length=min(longest, default=None)
    )
    return Annotated[str, meta], _tidy_trimmed if field.trim_whitespace else _tidy_text


def _tidy_trimmed(value: str) -> str:
    return _tidy_text(value) if value.strip() is value else NOT_PLAIN


def _tidy_text(value: str) -> str:
    if "\0" in value:
        return NOT_PLAIN  # type: ignore[no-any-return]
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            return NOT_PLAIN  # type: ignore[no-any-return]
    return value


def _compile_integer(field: Any) -> tuple[Any, Tidy | None]:
    bounds = _bounds(field)
    lowest = [n for n in bounds.get(validators.MinValueValidator, []) if n > -_INTEGER_MAX]
    highest = [n for n in bounds.get(validators.MaxValueValidator, []) if n < _INTEGER_MAX]
    limits = [*lowest, *highest]
    if any(type(limit) is not int for limit in limits):
        return Any, None
    # One beyond 64 bits would pass a bound that msgspec cannot hold: let the field see it.
    meta = msgspec.Meta(
        ge=max(lowest, default=-_INTEGER_MAX + 1), le=min(highest, default=_INTEGER_MAX - 1)
    )
    return Annotated[int, meta], None


def _compile_boolean(_: Any) -> tuple[Any, Tidy | None]:
    return bool, None


def _compile_choice(field: Any) -> tuple[Any, Tidy | None]:
    choices = list(field.choices)
    if not choices or any(type(key) is not str for key in choices):
        return Any, None
    return Literal[tuple(choices)], None


def _compile_uuid(_: Any) -> tuple[Any, Tidy | None]:
    return str, lambda value: value if _UUID(value) else NOT_PLAIN


def _compile_date(field: Any) -> tuple[Any, Tidy | None]:
    formats = _formats(field, api_settings.DATE_INPUT_FORMATS, api_settings.DATE_FORMAT)
    if formats != _ISO_FORMATS:
        return Any, None
    return datetime.date, None  # msgspec takes one spelling alone, the one that is given


def _compile_datetime(field: Any) -> tuple[Any, Tidy | None]:
    formats = _formats(field, api_settings.DATETIME_INPUT_FORMATS, api_settings.DATETIME_FORMAT)
    timezone = field.timezone if hasattr(field, "timezone") else field.default_timezone()
    if formats != _ISO_FORMATS or str(timezone) != "UTC":
        return Any, None
    return datetime.datetime, _tidy_datetime


def _formats(field: Any, taken: Sequence[str], given: str) -> tuple[list[str], str]:
    """Return the formats that a field takes, and the one that it gives."""
    return list(getattr(field, "input_formats", taken)), getattr(field, "format", given)


def _tidy_datetime(value: str) -> str:
    if _WHOLE_SECOND(value):
        return value  # msgspec has seen that there is such a moment
    if _FRACTION(value):
        return datetime.datetime.fromisoformat(value).isoformat().replace("+00:00", "Z")
    return NOT_PLAIN  # type: ignore[no-any-return]


def _compile_decimal(field: Any) -> tuple[Any, Tidy | None]:
    bounds = _bounds(field)
    is_plain = (
        field.max_digits is not None
        and field.decimal_places is not None
        and getattr(field, "coerce_to_string", api_settings.COERCE_DECIMAL_TO_STRING)
        and not field.localize
        and not field.normalize_output
    )
    if not is_plain:
        return Any, None
    lowest = max(bounds.get(validators.MinValueValidator, []), default=Decimal("-Infinity"))
    highest = min(bounds.get(validators.MaxValueValidator, []), default=Decimal("Infinity"))
    places, whole = field.decimal_places, field.max_digits - field.decimal_places

    def tidy(value: str) -> str:
        before, _, after = value.lstrip("-").partition(".")
        if not _DECIMAL(value) or len(before) > whole or len(after) > places:
            return NOT_PLAIN  # type: ignore[no-any-return]
        number = Decimal(value)
        if number.is_zero() or not lowest <= number <= highest:
            return NOT_PLAIN  # type: ignore[no-any-return]  # zero may have a sign
        return f"{number:.{places}f}"

    return str, tidy


def _compile_float(field: Any) -> tuple[Any, Tidy | None]:
    bounds = _bounds(field)
    lowest = max(bounds.get(validators.MinValueValidator, []), default=-math.inf)
    highest = min(bounds.get(validators.MaxValueValidator, []), default=math.inf)

    def tidy(value: float) -> float:
        number = float(value)
        is_plain = math.isfinite(number) and lowest <= number <= highest
        return number if is_plain else NOT_PLAIN

    return float, tidy


_COMPILERS: dict[type, Callable[[Any], tuple[Any, Tidy | None]]] = {
    drf.CharField: _compile_text,
    drf.IntegerField: _compile_integer,
    drf.BooleanField: _compile_boolean,
    drf.ChoiceField: _compile_choice,
    drf.UUIDField: _compile_uuid,
    ReferenceField: _compile_uuid,
    drf.DateField: _compile_date,
    drf.DateTimeField: _compile_datetime,
    drf.DecimalField: _compile_decimal,
    drf.FloatField: _compile_float,
}
