"""Rows as resources: the plain API of a collection, through the same engine as sync.

    GET    /work-orders/        a page of the rows that one may see, slim      -> keyset, filters
    GET    /work-orders/{id}/   one row, as devices get it, under its version  -> visible
    POST   /work-orders/        PUT | PATCH | DELETE /work-orders/{id}/        -> row_edits

What a project adds to a collection (lists, filters, orderings, actions) it declares in a subclass
and gives to a router. Writes need the version that they are made on: `If-Match`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from django.http import (
    Http404,
    HttpResponse,
    HttpResponseNotModified,
    StreamingHttpResponse,
)
from django.utils.http import http_date
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from sync import clock, row_edits, wire
from sync.api import answers, conditions, exports, list_cache
from sync.api.actor import actor_of
from sync.api.body import read_json_body, read_optional_json_body
from sync.api.keyset import Ordering, read_page, read_place
from sync.api.short_lived import ShortLived
from sync.api.versions import version_of
from sync.conf import sync_settings
from sync.errors import ParameterInvalid
from sync.fields import REMOVED
from sync.ids import uuid7
from sync.push import parse_key
from sync.push_body import parse_fields
from sync.receipts import Answer
from sync.types import Actor, Mutation, NestedPolicy, Op, Wire
from sync.visible import find_row, tenant_rows, visible_rows

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet
    from rest_framework.request import Request
    from rest_framework.serializers import BaseSerializer

    from sync.registry import Collection

# Members that an answer has and an edit may send back as they were: they are nobody's to set.
ECHOED = frozenset({"id", "version"})
PAGING = frozenset({"limit", "after", "ordering"})


class RowViewSet(ShortLived, GenericViewSet[Any]):
    """The rows of one collection. A subclass says which, and what its list shows."""

    collection: ClassVar[Collection]
    list_serializer: ClassVar[type[BaseSerializer[Any]]]
    orderings: ClassVar[Mapping[str, Ordering]]
    ordering: ClassVar[str]  # of a request that names none
    lookup_value_converter = "uuid"
    body: type[Serializer[Any]] = Serializer  # of an action; one that takes nothing has no fields
    throttle_scope = ""  # of writes and reads alike; an export has its own

    # reading

    def get_queryset(self) -> QuerySet[Any]:
        """Return no rows: for the API description, which wants the model. See `visible_rows`."""
        return self.collection.model._default_manager.none()

    def listed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return `rows` with all that the list's serializer reads of them."""
        return rows

    def list(self, request: Request) -> HttpResponse | Response:
        """Give a page of the rows that one may see."""
        actor = actor_of(request)
        self.check_parameters(request)
        return list_cache.answer(request, actor, lambda: self._read_list(request, actor))

    def _read_list(self, request: Request, actor: Actor) -> Wire:
        place = read_place(request, self.orderings, self.ordering)
        rows = self.filter_queryset(visible_rows(actor, self.collection))
        page, following = read_page(rows, place, self.orderings)
        return {"results": self._show(actor, page), "next": following}

    def _show(self, actor: Actor, page: Sequence[UUID]) -> Sequence[Mapping[str, Any]]:
        """Return the lines of these rows, in their order; of one that is gone by now, none."""
        chosen = tenant_rows(actor, self.collection).filter(pk__in=page)
        found = {row.pk: row for row in self.listed(chosen)}
        rows = [found[row_id] for row_id in page if row_id in found]
        shown = self.list_serializer(rows, many=True, context=self.get_serializer_context())
        version = version_of(self.request)
        return [version.up(self.collection.name, line) for line in shown.data]

    @action(detail=False, throttle_scope="export")
    def export(self, request: Request) -> StreamingHttpResponse:
        """Give all rows that the list's filters choose, as a file."""
        self.check_parameters(request, beyond=frozenset({"as"}))
        form = exports.read_format(request)

        def read_rows(actor: Actor) -> QuerySet[Any]:
            return self.filter_queryset(visible_rows(actor, self.collection))

        self.filter_queryset(visible_rows(actor_of(request), self.collection))  # or a 400, now
        name, by_id = self.collection.name, self.orderings["id"]
        return exports.stream(
            request, form, name, read_rows=read_rows, show=self._show, by_id=by_id
        )

    def check_parameters(self, request: Request, *, beyond: frozenset[str] = PAGING) -> None:
        """See that the query says nothing that would be ignored.

        Raises:
            ParameterInvalid: there is no such parameter.
        """
        known = beyond | self.filter_names()
        for name in request.query_params:
            if name not in known:
                raise ParameterInvalid(
                    name, f"there is none; known are {', '.join(sorted(known))}"
                )

    def filter_names(self) -> frozenset[str]:
        """Return the names of the parameters that choose rows."""
        declared = getattr(self, "filterset_class", None)
        return frozenset(declared.base_filters) if declared else frozenset()

    def retrieve(self, request: Request, pk: object) -> HttpResponse:
        """Give one row as it is, or 304 to who has it."""
        found = find_row(actor_of(request), self.collection, str(pk))
        if found is None:
            raise Http404
        tag = conditions.row_tag(found.version)
        if answers.is_known(tag, request.headers.get("If-None-Match", "")):
            response: HttpResponse = HttpResponseNotModified()
        else:
            body = wire.splice(found.payload.encode(), id=str(pk), version=found.version)
            shown = version_of(request).up_row(self.collection.name, body)
            response = HttpResponse(shown, content_type=answers.JSON)
        response["ETag"] = tag
        response["Last-Modified"] = http_date(found.changed_at.timestamp())
        answers.let_device_keep(response)
        return response

    # writing

    def create(self, request: Request) -> HttpResponse:
        """Create a row; with an `Idempotency-Key`, once however often it is sent."""
        fields = self._read_fields(request)
        row_id = fields.pop("id", None) or str(uuid7())
        if not isinstance(row_id, str) or not wire.is_uuid(row_id):
            raise ValidationError({"id": ["Must be a UUID."]})
        return self._edit(request, Op.CREATE, wire.canonical_id(row_id), self._writable(fields))

    def update(self, request: Request, pk: object) -> HttpResponse:
        """Make a row what the body says: what it leaves out is as in a new row.

        With `If-None-Match: *` it must not be there yet.
        """
        fields = self._writable(self._read_fields(request))
        self._check_whole(fields)
        if conditions.wants_new_row(request):
            return self._edit(request, Op.CREATE, str(pk), fields)
        base = conditions.read_if_match(request)
        whole = self.collection.defaults() | fields
        server_given = self.collection.server_fields
        data = {name: value for name, value in whole.items() if name not in server_given}
        self._remove_children(actor_of(request), str(pk), data)
        return self._edit(request, Op.UPDATE, str(pk), data, base=base)

    def partial_update(self, request: Request, pk: object) -> HttpResponse:
        """Set some fields of a row."""
        base = conditions.read_if_match(request)
        fields = self._writable(self._read_fields(request))
        return self._edit(request, Op.UPDATE, str(pk), fields, base=base)

    def destroy(self, request: Request, pk: object) -> HttpResponse:
        """Delete a row."""
        return self._edit(request, Op.DELETE, str(pk), {}, base=conditions.read_if_match(request))

    def edit(self, request: Request, pk: object, make: Callable[[Wire], Wire]) -> HttpResponse:
        """Make the edit that `make` returns for the row as it is; `If-Match` is welcome."""
        found = find_row(actor_of(request), self.collection, str(pk))
        if found is None:
            raise Http404
        base = conditions.read_if_match(request, is_required=False)
        data = make(wire.decode(found.payload))
        return self._edit(request, Op.UPDATE, str(pk), data, base=base or found.version)

    def read_body(self, request: Request) -> Any:
        """Return what the body of an action says; none is an empty one.

        Raises:
            ValidationError, BodyMalformed: it is not what the action takes.
        """
        self._body = read_optional_json_body(request)
        given = self.body(data=self._parse(request))
        given.is_valid(raise_exception=True)
        return given.validated_data

    def _edit(
        self, request: Request, op: Op, row_id: str, data: Wire, *, base: int | None = None
    ) -> HttpResponse:
        mutation = Mutation(
            index=0,
            op=op,
            collection=self.collection.name,
            id=row_id,
            base_version=base,
            data=data,
        )
        answer = row_edits.edit_row(
            actor_of(request),
            mutation,
            must_be_new=op is Op.CREATE and conditions.wants_new_row(request),
            key=parse_key(request.headers.get("Idempotency-Key")),
            fingerprint=wire.fingerprint(f"{request.method} {request.path}", self._body),
            now=clock.utc_now(),
        )
        return self._respond(request, answer)

    _body = b""  # of the request, as its key stands for it

    def _read_fields(self, request: Request) -> Wire:
        self._body = read_json_body(request)
        return self._parse(request)

    def _parse(self, request: Request) -> Wire:
        """Return what the body says, as it is inside."""
        fields = parse_fields(self._body, depth_max=sync_settings().json_depth_max)
        return version_of(request).down(self.collection.name, fields)

    def _respond(self, request: Request, answer: Answer) -> HttpResponse:
        body = version_of(request).up_row(self.collection.name, answer.body)
        return respond(request, dataclasses.replace(answer, body=body))

    def _writable(self, fields: Wire) -> Wire:
        """Return what of `fields` may be sent on: not what an answer had beside them."""
        left_out = ECHOED | self.collection.server_fields
        return {name: value for name, value in fields.items() if name not in left_out}

    def _check_whole(self, fields: Wire) -> None:
        """See that a whole row is there.

        Raises:
            ValidationError: a field is missing that has no default.
        """
        shape = self.collection.serializer()
        missing = [
            name
            for name, field in shape.fields.items()
            if field.required and not field.read_only and name not in fields
        ]
        if missing:
            raise ValidationError(
                {name: shape.fields[name].error_messages["required"] for name in missing},
                code="required",
            )

    def _remove_children(self, actor: Actor, row_id: str, data: Wire) -> None:
        """Have the children go that a whole row does not name any more, where lists are merged."""
        merged = [n for n in self.collection.nested if n.policy is NestedPolicy.MERGE_BY_ID]
        found = find_row(actor, self.collection, row_id) if merged else None
        if found is None:
            return
        row = wire.decode(found.payload)
        for nested in merged:
            sent = data[nested.name]
            kept = {each.get("id") for each in sent if isinstance(each, dict)}
            gone = [each["id"] for each in row[nested.name] if each["id"] not in kept]
            data[nested.name] = [*sent, *({"id": each, REMOVED: True} for each in gone)]


def respond(request: Request, answer: Answer) -> HttpResponse:
    """Return the answer to the edit of one row as HTTP."""
    response = HttpResponse(answer.body, status=answer.status, content_type=answers.JSON)
    if answer.status == HTTPStatus.NO_CONTENT:
        del response["Content-Type"]
    else:
        row = wire.decode(answer.body)
        response["ETag"] = conditions.row_tag(row["version"])
        if answer.status == HTTPStatus.CREATED:
            response["Location"] = request.build_absolute_uri(_place_of(request, row["id"]))
    answers.note_outcomes(response, answer)
    if answer.is_replay:
        response["Idempotency-Replayed"] = "true"
    answers.let_device_keep(response)
    return response


def _place_of(request: Request, row_id: str) -> str:
    return request.path if row_id in request.path else f"{request.path}{row_id}/"
