"""The fast judge against fields as a project may declare them, beyond those that are bundled.

Every row here has one field, `value`, whose declaration has an option that the fast judge must
heed or leave to the serializer.
"""

from __future__ import annotations

import copy
import decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core import validators
from rest_framework import serializers as drf

from backend.fieldwork.models import Task, WorkOrder
from sync.fields import compile_fields, compile_nested
from sync.serializers import NestedSerializer, RowSerializer
from sync.types import NestedPolicy, Wire
from sync.validation import RowJudge
from sync.wire import encode
from tests.contracts.test_plain_rows import NUMBERS, OTHERS, TEXTS, TIMES

TASK = "0199aaaa-0000-7000-8000-00000000000b"
VALUES = [*TIMES, *NUMBERS, *TEXTS, *OTHERS, "a", "ab", "abc", "abcd", "abcde", "AB", -2, -3, 4, 7, 2.5,
          2**62, -(2**63), -(2**63) - 1, 10**30, "2.51", "12.5", "99.99", "100", "999999", "1.10", "23.11.2026"]  # fmt: skip


class Loud(drf.CharField):
    """A project's own field, which stores another text than it was sent."""

    def to_internal_value(self, data: Any) -> str:
        return super().to_internal_value(data).upper()


def shut(_value: Any) -> None:
    """A project's own rule for a value."""
    raise drf.ValidationError("shut")


def serializer_of(field: drf.Field, **members: Any) -> RowSerializer:  # type: ignore[type-arg]
    """Return a serializer of rows with one field, kept in a column of work orders."""
    meta = type("Meta", (), {"model": WorkOrder, "fields": ["value"], **members.pop("meta", {})})
    made = type("RowOfOne", (RowSerializer,), {"Meta": meta, "value": field, **members})
    found: RowSerializer = made()
    return found


def judge_of(field: drf.Field, **members: Any) -> RowJudge:  # type: ignore[type-arg]
    serializer = serializer_of(field, **members)
    return RowJudge(serializer, compile_fields(serializer, WorkOrder))


def text(**options: Any) -> drf.CharField:
    return drf.CharField(source="title", **options)


def number(**options: Any) -> drf.IntegerField:
    return drf.IntegerField(source="priority", **options)


def amount(**options: Any) -> drf.DecimalField:
    digits = {"max_digits": 4, "decimal_places": 2}
    return drf.DecimalField(source="title", **(digits | options))


def moment(**options: Any) -> drf.DateTimeField:
    return drf.DateTimeField(source="created_at", **options)


def day(**options: Any) -> drf.DateField:
    return drf.DateField(source="created_at", **options)


def refuse(self: Any, value: Any) -> Any:
    raise drf.ValidationError("never")


FIELDS: dict[str, Any] = {
    "text": lambda: judge_of(text()),
    "text that keeps its spaces": lambda: judge_of(text(trim_whitespace=False)),
    "text that may be empty": lambda: judge_of(text(allow_blank=True)),
    "text that may be null": lambda: judge_of(text(allow_null=True)),
    "text of some length": lambda: judge_of(text(min_length=2, max_length=4)),
    "empty or of some length": lambda: judge_of(text(min_length=2, allow_blank=True)),
    "text of two limits": lambda: judge_of(
        text(max_length=4, validators=[validators.MaxLengthValidator(2)])
    ),
    "text of two lower limits": lambda: judge_of(
        text(min_length=2, validators=[validators.MinLengthValidator(4)])
    ),
    "text of a form": lambda: judge_of(text(validators=[validators.RegexValidator("^a")])),
    "text of a rule": lambda: judge_of(text(validators=[shut])),
    "text of a class of its own": lambda: judge_of(Loud(source="title")),
    "address": lambda: judge_of(drf.EmailField(source="title")),
    "text with a default": lambda: judge_of(text(default="x", required=False)),
    "text that only the server gives": lambda: judge_of(text(read_only=True)),
    "number": lambda: judge_of(number()),
    "number of some size": lambda: judge_of(number(min_value=-2, max_value=3)),
    "number of two limits": lambda: judge_of(
        number(max_value=3, validators=[validators.MaxValueValidator(2)])
    ),
    "number of broken limits": lambda: judge_of(number(min_value=1, max_value=2.5)),
    "number of far limits": lambda: judge_of(number(min_value=-(2**70), max_value=2**70)),
    "number of exact limits": lambda: judge_of(number(max_value=decimal.Decimal("2.5"))),
    "id": lambda: judge_of(drf.UUIDField(source="site_id")),
    "choice of measures": lambda: judge_of(drf.ChoiceField([1.5, 2.5], source="title")),
    "choice": lambda: judge_of(drf.ChoiceField(["a", "ab"], source="title")),
    "choice or nothing": lambda: judge_of(
        drf.ChoiceField(["a", "ab"], source="title", allow_blank=True)
    ),
    "choice with an empty one": lambda: judge_of(drf.ChoiceField(["a", ""], source="title")),
    "choice of numbers": lambda: judge_of(drf.ChoiceField([1, 2], source="title")),
    "day": lambda: judge_of(day()),
    "day that is read otherwise": lambda: judge_of(day(input_formats=["%d.%m.%Y"])),
    "day that is read otherwise too": lambda: judge_of(day(input_formats=["iso-8601", "%Y"])),
    "day that is given otherwise": lambda: judge_of(day(format="%d.%m.%Y")),
    "moment": lambda: judge_of(moment()),
    "moment elsewhere": lambda: judge_of(moment(default_timezone=ZoneInfo("Asia/Tokyo"))),
    "moment that is given otherwise": lambda: judge_of(moment(format="%d.%m.%Y")),
    "moment that is read otherwise": lambda: judge_of(moment(input_formats=["%d.%m.%Y"])),
    "amount": lambda: judge_of(amount()),
    "amount of some size": lambda: judge_of(amount(min_value=decimal.Decimal("-2.5"), max_value=12)),
    "amount as a number": lambda: judge_of(amount(coerce_to_string=False)),
    "amount without zeros": lambda: judge_of(amount(normalize_output=True)),
    "amount that is rounded": lambda: judge_of(
        amount(rounding=decimal.ROUND_UP)
    ),
    "amount of any size": lambda: judge_of(amount(max_digits=None, decimal_places=None)),
    "measure": lambda: judge_of(drf.FloatField(source="title")),
    "measure of some size": lambda: judge_of(
        drf.FloatField(source="title", min_value=-2.5, max_value=2.5)
    ),
    "row with a rule": lambda: judge_of(text(), validate=refuse),
    "field with a rule": lambda: judge_of(text(), validate_value=refuse),
    "row with a validator": lambda: judge_of(text(), meta={"validators": [shut]}),
    "row that reads itself": lambda: judge_of(text(), to_internal_value=refuse),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_option_of_a_field_is_heeded(name: str) -> None:
    """A project's rule that the fast judge overlooks would let through what the project forbids."""
    judge = FIELDS[name]()
    rows: list[Wire] = [{"value": value} for value in VALUES]

    for row in [{}, {"other": 1}, *rows]:
        plain = judge.plain.accept(row)

        if plain is not None:
            asked = judge.ask(row)
            assert isinstance(asked, dict), (row, asked)
            assert plain == asked, row
            assert encode(plain) == encode(asked), row


class StepSerializer(NestedSerializer):
    """A task with a value that is stored in another form than it may be sent in."""

    cost = drf.DecimalField(source="text", max_digits=6, decimal_places=2)

    class Meta:
        model = Task
        fields = ("id", "position", "cost", "done")


class StepsSerializer(RowSerializer):
    """Work with between one and three steps."""

    tasks = StepSerializer(many=True, min_length=1, max_length=3)  # type: ignore[call-arg]

    class Meta:
        model = WorkOrder
        fields = ("tasks",)


def step(position: int, cost: str = "2.5") -> Wire:
    return {"id": TASK[:-1] + str(position), "position": position, "cost": cost}


def steps_judge() -> RowJudge:
    serializer = StepsSerializer()
    nested = compile_nested("tasks", serializer.fields["tasks"], WorkOrder, NestedPolicy.REPLACE)
    return RowJudge(serializer, (), (nested,))


@pytest.mark.parametrize("positions", [[], [1], [2, 1], [3, 1, 2], [1, 2, 3, 4]])
def test_list_of_children_has_its_limits_and_its_order(positions: list[int]) -> None:
    """Children are whole, in the order in which they are stored, as many as the list takes."""
    judge = steps_judge()
    row = {"tasks": [step(position) for position in positions]}

    plain, asked = judge.plain.accept(row), judge.ask(row)

    assert plain == (asked if isinstance(asked, dict) else None)


@pytest.mark.parametrize("cost", ["1e1", "nought"])
def test_one_child_that_is_not_plainly_good_is_not_left_out(cost: str) -> None:
    """A list that came out shorter than it was sent would delete a child in silence."""
    judge = steps_judge()
    row = {"tasks": [step(1), step(2, cost)]}

    assert judge.plain.accept(row) is None
    assert judge.judge(row) == judge.ask(row)


def test_update_of_one_field_is_plainly_good() -> None:
    """It is what phones send most."""
    serializer = serializer_of(text())
    serializer.partial = True
    judge = RowJudge(serializer, compile_fields(serializer, WorkOrder))

    assert judge.plain.accept({}) == {}


def test_judging_leaves_what_was_sent_as_it_is() -> None:
    """A retry reads it again, and a supervisor is shown what the phone sent, not a tidied form."""
    judge = steps_judge()
    row = {"tasks": [step(2), step(1, "1")]}
    sent = copy.deepcopy(row)

    judged = judge.judge(row)

    assert isinstance(judged, dict)
    assert [each["cost"] for each in judged["tasks"]] == ["1.00", "2.50"]
    assert row == sent
