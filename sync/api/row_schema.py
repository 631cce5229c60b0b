"""What the API description says of rows as resources: shapes, parameters and answers.

A view set is described from what it declares: its collection's serializer, its list's serializer,
its filters and orderings. Nothing here is asked at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_serializer,
    extend_schema_view,
)
from rest_framework import serializers

from sync.api import exports
from sync.api.keyset import LIMIT_DEFAULT, LIMIT_MAX
from sync.api.serializers import ProblemShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sync.api.row_views import RowViewSet

    View = TypeVar("View", bound=type[RowViewSet])
else:
    View = TypeVar("View")

PROBLEM: Final = "application/problem+json"
IF_MATCH: Final = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The row's `ETag`, or `*`."
)
IF_NONE_MATCH: Final = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The last `ETag`."
)
IF_NEW: Final = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="`*`: the row must not be there."
)
KEY: Final = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Repeat it when you repeat the request: it happens once.",
)
ETAG: Final = OpenApiParameter(
    "ETag", str, OpenApiParameter.HEADER, response=[200, 201], description="Of this version."
)
_TYPES: Final = {
    "UUIDFilter": OpenApiTypes.UUID,
    "IsoDateTimeFilter": OpenApiTypes.DATETIME,
    "NumberFilter": OpenApiTypes.INT,
    "BooleanFilter": OpenApiTypes.BOOL,
}


def described(view: View) -> View:
    """Class decorator: describe all that a view set of rows does."""
    name = view.collection.name
    steps: list[Any] = [each for each in view.get_extra_actions() if each.detail]  # type: ignore[attr-defined]  # DRF's
    row, line = row_shape(view), view.list_serializer
    page = extend_schema_serializer(many=False)(
        type(
            f"{line.__name__}Page",
            (serializers.Serializer,),
            {
                "results": line(many=True),
                "next": serializers.CharField(allow_null=True, help_text="Send it as `after`."),
                "__doc__": "One page of a list.",
            },
        )
    )
    described: Any = extend_schema_view(
        list=extend_schema(
            operation_id=f"{name}_list",
            parameters=[
                *filter_parameters(getattr(view, "filterset_class", None)),
                *_paging(view),
                IF_NONE_MATCH,
            ],
            responses={200: page, 304: None, **problems(400, 401)},
        ),
        export=extend_schema(
            operation_id=f"{name}_export",
            parameters=[
                *filter_parameters(getattr(view, "filterset_class", None)),
                OpenApiParameter("as", str, enum=list(exports.TYPES), description="Default: csv."),
            ],
            responses={
                **{(200, kind.partition(";")[0]): str for kind in exports.TYPES.values()},
                **problems(400, 401),
            },
        ),
        retrieve=extend_schema(
            operation_id=f"{name}_read",
            parameters=[IF_NONE_MATCH, ETAG],
            responses={200: row, 304: None, **problems(401, 404)},
        ),
        create=edit(f"{name}_create", view.collection.serializer, row, status=201, is_new=True),
        update=edit(f"{name}_replace", view.collection.serializer, row, may_create=True),
        partial_update=edit(f"{name}_update", view.collection.serializer(partial=True), row),
        destroy=edit(f"{name}_delete", None, None, status=204),
        **{step.__name__: _step(name, step, row) for step in steps},
    )(view)
    found: View = described
    return found


def edit(  # noqa: PLR0913  # what there is to say of an edit
    operation_id: str,
    request: Any,
    row: Any,
    *,
    status: int = 200,
    is_new: bool = False,
    is_conditional: bool = True,
    may_create: bool = False,
) -> Any:
    """Return the description of what writes one row and answers it."""
    refused = [400, 401, 403, 404, 409, 413, 415, 422, 503]
    if not is_new:
        refused += [412, 428] if is_conditional else [412]
    answer = row or OpenApiResponse(description="Nothing.")
    return extend_schema(
        operation_id=operation_id,
        parameters=[
            *(KEY, ETAG),
            *([] if is_new else [IF_MATCH]),
            *([IF_NEW] if may_create else []),
        ],
        request=request,
        responses={
            status: answer,
            **({201: answer} if may_create else {}),
            **problems(*sorted(refused)),
        },
    )


def _step(name: str, method: Any, row: Any) -> Any:
    body = method.kwargs.get("body")
    return edit(f"{name}_{method.__name__}", body, row, is_conditional=False)


def problems(*statuses: int) -> dict[Any, Any]:
    """Return the answers of these statuses, all problem documents."""
    return {(status, PROBLEM): ProblemShape for status in statuses}


_shapes: dict[str, Any] = {}


def row_shape(view: type[RowViewSet]) -> Any:
    """Return the shape of the row that a view answers, the same each time."""
    collection = view.collection
    if collection.name not in _shapes:
        base = collection.serializer

        def get_fields(shape: Any) -> dict[str, Any]:
            head: dict[str, Any] = {
                "id": serializers.UUIDField(),
                "version": serializers.IntegerField(min_value=1),
            }
            return head | base.get_fields(shape)

        title = f"{type(collection).__name__}Row"
        _shapes[collection.name] = type(
            title, (base,), {"get_fields": get_fields, "__doc__": base.__doc__}
        )
    return _shapes[collection.name]


def _paging(view: type[RowViewSet]) -> list[OpenApiParameter]:
    orderings = [sign + name for name in view.orderings for sign in ("", "-")]
    limit = f"Rows a page, 1 to {LIMIT_MAX}; default {LIMIT_DEFAULT}."
    return [
        OpenApiParameter("ordering", str, enum=orderings, description=f"Default {view.ordering}."),
        OpenApiParameter("limit", int, description=limit),
        OpenApiParameter("after", str, description="The `next` of the page before."),
    ]


def filter_parameters(declared: Any) -> Iterator[OpenApiParameter]:
    """Yield the parameters of a filter set, if there is one."""
    for name, found in (declared.base_filters if declared else {}).items():
        kinds = [each.__name__ for each in type(found).__mro__]
        is_several = "BaseInFilter" in kinds or "MultipleChoiceFilter" in kinds
        choices = dict(found.extra.get("choices", ())) or None
        kind = next((_TYPES[each] for each in kinds if each in _TYPES), OpenApiTypes.STR)
        yield OpenApiParameter(
            name,
            kind,
            enum=list(choices) if choices else None,
            many=is_several,
            explode=choices is not None if is_several else None,
        )
