"""What is true of every operation of the API, added to its description (OpenAPI).

any operation    -> the errors that any request can end in, as problem documents
an old version   -> the headers that say so, and `deprecated`
a newer version  -> its shapes, as `backend.versions` makes them
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from backend.versions import CHAIN, DEPRECATED, FIRST
from sync.api.versions import Step

PROBLEM: Final = "application/problem+json"
ANY: Final = (400, 401, 403, 404, 406, 429, 500, 503)
OF_WRITES: Final = (413, 415)
METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})
RETRY_AFTER: Final = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
}
OLD: Final = {
    "Deprecation": "Since when the version is old (RFC 9745).",
    "Sunset": "Until when it is answered (RFC 8594).",
    "Link": "Where its successor is.",
}
CHECKSUM: Final = {
    "type": "string",
    "pattern": "^[0-9a-f]{16}$",
    "description": "Of an upsert: the row's part in the checksums of a digest.",
}

Schema = dict[str, Any]
LARGE: Final = frozenset({"version", "base_version", "seq", "head"})  # beyond 32 bits some day
_ORDER: Final = "01932f5e-8a00-7c41-9d3e-0d0f4c1b2a10"
_NOTE: Final = "01932f5e-8a01-7c41-9d3e-0d0f4c1b2a11"
EXAMPLES: Final[dict[str, Schema]] = {
    "LoginRequest": {
        "username": "tess",
        "password": "a-long-way-to-cardiff",
        "device": {"install_id": "8f14e45f", "platform": "android", "app_version": "2.10.1"},
    },
    "PushShapeRequest": {
        "policy": "per_row",
        "mutations": [
            {
                "op": "create",
                "collection": "notes",
                "id": _NOTE,
                "data": {"work_order": _ORDER, "text": "Bearing replaced."},
            },
            {
                "op": "update",
                "collection": "work_orders",
                "id": _ORDER,
                "base_version": 3,
                "data": {"status": "in_progress"},
            },
        ],
    },
    "ReportShape": {
        "status": "partial",
        "server_time": "2026-11-27T08:00:00.000000Z",
        "results": [
            {"index": 0, "collection": "notes", "id": _NOTE, "outcome": "created", "version": 1},
            {
                "index": 1,
                "collection": "work_orders",
                "id": _ORDER,
                "outcome": "gone",
                "code": "row_deleted",
                "detail": "The row was deleted.",
            },
        ],
    },
    "PageShape": {
        "cursor": "…",
        "has_more": False,
        "server_time": "2026-11-27T08:00:00.000000Z",
        "changes": [
            {
                "op": "upsert",
                "collection": "notes",
                "id": _NOTE,
                "version": 1,
                "data": {"work_order": _ORDER, "text": "Bearing replaced.", "author": None},
            },
            {"op": "delete", "collection": "work_orders", "id": _ORDER, "version": 4},
        ],
    },
    "ProblemShape": {
        "type": "/errors/validation_failed",
        "title": "Some values are not acceptable",
        "status": 400,
        "detail": "Some values are not acceptable",
        "code": "validation_failed",
        "errors": [{"path": "tasks.0.text", "code": "required", "detail": "Missing.", "args": {}}],
        "request_id": "5642e120-9c54-40fe-b9c3-fca70e92d81a",
    },
}


def add_errors(result: Schema, generator: Any = None, **_: Any) -> Schema:
    """Postprocessing hook of drf-spectacular: say of each operation what it can end in."""
    is_old = version_of(generator) in DEPRECATED
    if is_old:
        result["components"]["headers"] = {
            name: {"description": why, "schema": {"type": "string"}} for name, why in OLD.items()
        }
    for operation, method in _operations(result):
        _complete(operation, ANY if method == "get" else (*ANY, *OF_WRITES))
        if is_old:
            operation["deprecated"] = True
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    continue
                refs = {name: {"$ref": f"#/components/headers/{name}"} for name in OLD}
                response["headers"] = {**response.get("headers", {}), **refs}
    return result


def in_version(result: Schema, generator: Any = None, **_: Any) -> Schema:
    """Postprocessing hook of drf-spectacular: describe rows as the version has them."""
    schemas: dict[str, Schema] = result["components"]["schemas"]
    for step in steps_before(version_of(generator)):
        for schema in schemas.values():
            _convert(schema, step)
    if version_of(generator) != FIRST:
        schemas["ChangeShape"]["properties"]["digest"] = CHECKSUM
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    for schema in schemas.values():
        _say_how_large(schema)
    return result


def _say_how_large(schema: Schema) -> None:
    for name, what in schema.get("properties", {}).items():
        if name in LARGE and what.get("type") == "integer":
            what["format"] = "int64"


def version_of(generator: Any) -> str:
    """Return the version that is described."""
    return getattr(generator, "api_version", None) or FIRST


def steps_before(version: str) -> Iterator[Step]:
    """Yield the steps that lead to a version."""
    for name, steps in CHAIN.items():
        yield from steps
        if name == version:
            return


def _operations(result: Schema) -> Iterator[tuple[Schema, str]]:
    for path in result["paths"].values():
        for method, operation in path.items():
            if method in METHODS:
                yield operation, method


def _convert(schema: Schema, step: Step) -> None:
    """Rename and reshape the fields of a schema that is about rows of the step's collection."""
    properties: Schema = schema.get("properties", {})
    if step.known_by not in properties:
        return
    for name, field in step.fields.items():
        if name in properties:
            properties[name] = field.shape(properties[name])
    schema["properties"] = {step.renamed(name): what for name, what in properties.items()}
    if "required" in schema:
        schema["required"] = sorted(step.renamed(name) for name in schema["required"])


def _complete(operation: Schema, statuses: Iterable[int]) -> None:
    responses = operation["responses"]
    for status in statuses:
        responses.setdefault(str(status), _problem(status))
    for status, response in responses.items():
        response["description"] = response.get("description") or HTTPStatus(int(status)).phrase
        if status in {"429", "503"}:
            response.setdefault("headers", {}).update(RETRY_AFTER)
    operation["responses"] = dict(sorted(responses.items()))


def _problem(status: int) -> Schema:
    schema = {"$ref": "#/components/schemas/ProblemShape"}
    return {"description": HTTPStatus(status).phrase, "content": {PROBLEM: {"schema": schema}}}
