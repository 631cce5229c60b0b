"""`docs/openapi` against the server: who changes the API changes its description, and sees what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from drf_spectacular.validation import validate_schema

FOLDER = Path(__file__).parents[2] / "docs/openapi"
MEND = "The API has changed: `make openapi`, and say so in CHANGELOG.md."


GENERATOR: Any = SchemaGenerator


def test_description_is_that_of_the_server() -> None:
    schema = GENERATOR().get_schema(public=True)
    renderer: Any = OpenApiYamlRenderer()
    text = renderer.render(schema, renderer_context={})
    validate: Any = validate_schema

    validate(schema)
    assert (FOLDER / "v1.yaml").read_bytes() == text, MEND


def test_no_operation_keeps_its_errors_to_itself() -> None:
    """Each says what it answers to nobody, to the throttled, and when the server is at fault."""
    schema = GENERATOR().get_schema(public=True)

    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert {"401", "429", "500", "503"} <= operation["responses"].keys(), (method, path)
            assert operation["operationId"], (method, path)
