"""The API against its description: whatever is generated from it is answered as it says, never 500.

A real server, asked by the dispatcher, who may most. Streams that never end are asked elsewhere.
"""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backend.devstack.server import Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# Of an operation; in the second version only those are asked that it changes.
EXAMPLES = {"v1": 20, "v2": 10}
CHANGED = ("work-orders", "sync/pu", "sync/rows")
ENDLESS = "sync/events"
DEVICE = {"install_id": "described", "platform": "test", "app_version": "1"}
LOGIN = {"username": "dora", "password": "fieldsync", "device": DEVICE}
TIMEOUT_S = 30.0


@pytest.mark.parametrize("version", EXAMPLES)
def test_generated_requests_are_answered_as_described(
    seeded: None, server: Server, version: str
) -> None:
    """Every operation; all that is wrong is told at once."""
    login = httpx2.post(f"{server.url}/api/v1/auth/token", json=LOGIN, timeout=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {login.json()['access']}"}
    schema: Any = schemathesis.openapi.from_url(f"{server.url}/api/schema/{version}/?format=json")
    operations = [each.ok() for each in schema.get_all_operations()]
    assert any(ENDLESS in each.label for each in operations)
    if version != "v1":
        operations = [each for each in operations if any(c in each.label for c in CHANGED)]
    wrong: list[str] = []

    for operation in operations:
        if ENDLESS not in operation.label:
            try:
                _try(operation, headers, EXAMPLES[version])
            except Exception as error:  # one operation after the other
                wrong.append(f"{operation.label}: {error}")

    assert wrong == [], "\n\n".join(wrong)


def _try(operation: Any, headers: dict[str, str], examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def ask(case: Any) -> None:
        case.query.pop("wait", None)  # nobody has anything to say
        case.call_and_validate(headers=headers, checks=CHECKS, timeout=TIMEOUT_S)

    ask()
