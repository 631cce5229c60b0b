"""`docs/openapi` against the server: who changes the API changes its description, and sees what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from drf_spectacular.validation import validate_schema

from backend.versions import CHAIN

FOLDER = Path(__file__).parents[2] / "docs/openapi"
MEND = "The API has changed: `make openapi`, and say so in CHANGELOG.md."


GENERATOR: Any = SchemaGenerator


@pytest.mark.parametrize("version", CHAIN)
def test_description_is_that_of_the_server(version: str) -> None:
    schema = GENERATOR(api_version=version).get_schema(public=True)
    renderer: Any = OpenApiYamlRenderer()
    text = renderer.render(schema, renderer_context={})
    validate: Any = validate_schema

    validate(schema)
    assert (FOLDER / f"{version}.yaml").read_bytes() == text, MEND


@pytest.mark.parametrize("version", CHAIN)
def test_no_operation_keeps_its_errors_to_itself(version: str) -> None:
    """Each says what it answers to nobody, to the throttled, and when the server is at fault."""
    schema = GENERATOR(api_version=version).get_schema(public=True)

    assert schema["paths"]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert {"401", "429", "500", "503"} <= operation["responses"].keys(), (method, path)
            assert operation["operationId"], (method, path)
            assert path.startswith(f"/api/{version}/")


def test_second_version_describes_its_own_rows() -> None:
    schemas = GENERATOR(api_version="v2").get_schema(public=True)["components"]["schemas"]

    for name in ("WorkOrdersRow", "WorkOrderLine", "WorkOrderRequest", "PatchedWorkOrderRequest"):
        properties = schemas[name]["properties"]
        assert "title" not in properties, name
        assert properties["summary"]["type"] == "string", name
        assert properties["assignee"]["oneOf"][0]["required"] == ["id"], name
    assert "summary" in schemas["WorkOrderRequest"]["required"]
    assert schemas["AssignRequest"]["properties"]["assignee"]["type"] == "object"
