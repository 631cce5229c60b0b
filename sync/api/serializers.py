"""The shapes of push and pull for the API description; `sync.push_body` parses requests."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from sync.types import ChangeOp, Op, Outcome, Policy


def _choices(values: type[Op | Outcome | Policy | ChangeOp]) -> list[str]:
    return [str(value) for value in values]


class MutationShape(serializers.Serializer[Any]):
    """One create, update or delete of one row."""

    op = serializers.ChoiceField(choices=_choices(Op))
    collection = serializers.CharField(max_length=64)
    id = serializers.UUIDField(help_text="Made by the client; version 7 advised.")
    base_version = serializers.IntegerField(
        required=False, min_value=0, help_text="The version that an update or delete was made on."
    )
    group = serializers.CharField(
        required=False, max_length=64, help_text="per_row: mutations that stand or fall together."
    )
    data = serializers.DictField(  # type: ignore[assignment]
        required=False, help_text="create: the row; update: the fields that changed."
    )


class PushShape(serializers.Serializer[Any]):
    """A batch of mutations."""

    policy = serializers.ChoiceField(choices=_choices(Policy), default=str(Policy.ALL_OR_NOTHING))
    validate_only = serializers.BooleanField(default=False)
    mutations = MutationShape(many=True)


class FieldErrorShape(serializers.Serializer[Any]):
    """One thing wrong with one field."""

    path = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()
    args = serializers.DictField()


class BlockedByShape(serializers.Serializer[Any]):
    """The row that a mutation waited for in vain; `index` is null when it is not in the push."""

    collection = serializers.CharField()
    id = serializers.CharField()
    index = serializers.IntegerField(allow_null=True)


class ResultShape(serializers.Serializer[Any]):
    """What became of one mutation."""

    index = serializers.IntegerField()
    collection = serializers.CharField()
    id = serializers.CharField()
    outcome = serializers.ChoiceField(choices=_choices(Outcome))
    version = serializers.IntegerField(required=False)
    base_version = serializers.IntegerField(required=False, allow_null=True)
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)
    fields = serializers.ListField(child=serializers.CharField(), required=False)  # type: ignore[assignment]
    current = serializers.DictField(required=False)
    errors = FieldErrorShape(many=True, required=False)  # type: ignore[assignment]
    blocked_by = BlockedByShape(required=False)


class ReportShape(serializers.Serializer[Any]):
    """The answer to a push."""

    status = serializers.ChoiceField(choices=["ok", "partial", "rejected"])
    server_time = serializers.DateTimeField()
    results = ResultShape(many=True)


class ChangeShape(serializers.Serializer[Any]):
    """What the feed says of one row."""

    op = serializers.ChoiceField(choices=_choices(ChangeOp))
    collection = serializers.CharField()
    id = serializers.CharField()
    version = serializers.IntegerField(required=False)
    own = serializers.BooleanField(required=False)
    data = serializers.DictField(required=False)  # type: ignore[assignment]


class PageShape(serializers.Serializer[Any]):
    """One page of a pull."""

    cursor = serializers.CharField()
    has_more = serializers.BooleanField()
    server_time = serializers.DateTimeField()
    changes = ChangeShape(many=True)


class LimitsShape(serializers.Serializer[Any]):
    """The published limits."""

    push_rows_max = serializers.IntegerField()
    body_bytes_max = serializers.IntegerField()
    compressed_body_bytes_max = serializers.IntegerField()
    pull_page_rows_max = serializers.IntegerField()
    json_depth_max = serializers.IntegerField()
    key_chars_max = serializers.IntegerField()
    content_encodings = serializers.ListField(
        child=serializers.CharField(), help_text="How a push's body may be compressed."
    )


class ProblemShape(serializers.Serializer[Any]):
    """An error (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = FieldErrorShape(many=True, required=False)  # type: ignore[assignment]
    request_id = serializers.CharField(required=False)


class RejectedShape(ProblemShape):
    """A rejected all_or_nothing push: a problem that carries the report."""

    status = serializers.IntegerField()
    server_time = serializers.DateTimeField()
    results = ResultShape(many=True)
