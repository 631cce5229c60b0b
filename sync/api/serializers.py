"""The shapes of push, pull and review for the API description; `push_body` parses requests."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from rest_framework import serializers

from sync.review import REASON_CHARS_MAX
from sync.types import APPLIED, ChangeOp, Op, Outcome, ParkedState, Policy


def _choices(values: Iterable[StrEnum]) -> list[str]:
    return [str(value) for value in values]


OPS = _choices(Op)  # by name: the API description needs one for them, and finds it here
_REFUSING = [each for each in Outcome if each not in {*APPLIED, Outcome.QUARANTINED}]


class MutationShape(serializers.Serializer[Any]):
    """One create, update or delete of one row."""

    op = serializers.ChoiceField(choices=OPS)
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
    refused = serializers.ChoiceField(
        choices=_choices(_REFUSING),
        required=False,
        help_text="quarantined: what it would have been.",
    )
    quarantine_id = serializers.UUIDField(required=False)


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


class SumShape(serializers.Serializer[Any]):
    """A number of rows, and the XOR of their digests as 16 hexadecimal digits."""

    count = serializers.IntegerField()
    checksum = serializers.CharField()


class CollectionDigestShape(SumShape):
    """The sum of a collection, and that of each bucket that is not empty, by its number."""

    buckets = serializers.DictField(child=SumShape())


class DigestShape(serializers.Serializer[Any]):
    """What the server holds for the device."""

    server_time = serializers.DateTimeField()
    behind = serializers.BooleanField(
        required=False, help_text="With a cursor: there is something to pull first."
    )
    collections = serializers.DictField(child=CollectionDigestShape())


class RowsShape(serializers.Serializer[Any]):
    """The live rows of one bucket, in order of their ids; all of them upserts."""

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
    wait_s_max = serializers.IntegerField(help_text="For `wait=` of a pull.")
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
    """A push that was refused; one that was carried out and rejected carries its report."""

    status = serializers.IntegerField()
    server_time = serializers.DateTimeField(required=False)
    results = ResultShape(many=True, required=False)


class ParkedShape(serializers.Serializer[Any]):
    """A refused mutation that is kept for a reviewer."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=_choices(ParkedState))
    created_at = serializers.DateTimeField()
    device_id = serializers.UUIDField(allow_null=True)
    user_id = serializers.UUIDField(allow_null=True, help_text="Who did the work.")
    key = serializers.CharField(help_text="The Idempotency-Key of the push.")
    mutation = MutationShape(help_text="As it was sent.")
    refused = serializers.ChoiceField(choices=_choices(_REFUSING))
    code = serializers.CharField()
    detail = serializers.CharField()
    errors = FieldErrorShape(many=True)  # type: ignore[assignment]
    args = serializers.DictField(help_text="Further members of the refusal, such as blocked_by.")
    settled_at = serializers.DateTimeField(allow_null=True)
    settled_by = serializers.UUIDField(allow_null=True)
    reason = serializers.CharField(help_text="Why it was discarded.")
    edit = serializers.DictField(allow_null=True, help_text="What was changed when applying.")


class QuarantinePageShape(serializers.Serializer[Any]):
    """Parked mutations, oldest first."""

    parked = ParkedShape(many=True)
    has_more = serializers.BooleanField()


class EditShape(serializers.Serializer[Any]):
    """What a reviewer changes before applying; what is left out stays as it was sent."""

    op = serializers.ChoiceField(choices=OPS, required=False)
    id = serializers.UUIDField(required=False)
    base_version = serializers.IntegerField(
        required=False, min_value=0, help_text="Without: the edit wins over the row as it is now."
    )
    data = serializers.DictField(required=False, help_text="Replaces the data sent.")  # type: ignore[assignment]


class DiscardShape(serializers.Serializer[Any]):
    """Why a parked mutation is discarded."""

    reason = serializers.CharField(required=False, max_length=REASON_CHARS_MAX)


class RefusedAgainShape(ProblemShape):
    """A parked mutation that could not be applied, or was settled before."""

    result = ResultShape(required=False)
    state = serializers.ChoiceField(choices=_choices(ParkedState), required=False)
