"""What is true of every operation of the API, added to its description (OpenAPI).

any operation -> the errors that any request can end in, as problem documents
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

PROBLEM: Final = "application/problem+json"
ANY: Final = (400, 401, 403, 404, 406, 429, 500, 503)
OF_WRITES: Final = (413, 415)
METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})
RETRY_AFTER: Final = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
}


def add_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: say of each operation what it can end in."""
    for path in result["paths"].values():
        for method, operation in path.items():
            if method in METHODS:
                _complete(operation, ANY if method == "get" else (*ANY, *OF_WRITES))
    return result


def _complete(operation: dict[str, Any], statuses: Iterable[int]) -> None:
    responses = operation["responses"]
    for status in statuses:
        responses.setdefault(str(status), _problem(status))
    for status, response in responses.items():
        response["description"] = response.get("description") or HTTPStatus(int(status)).phrase
        if status in {"429", "503"}:
            response.setdefault("headers", {}).update(RETRY_AFTER)
    operation["responses"] = dict(sorted(responses.items()))


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemShape"}
    return {"description": HTTPStatus(status).phrase, "content": {PROBLEM: {"schema": schema}}}
