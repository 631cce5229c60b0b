"""Clients that others generate from the API's description: they compile, read and write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backend.accounts.models import Membership, Role
from backend.devstack.server import Server
from backend.fieldwork.models import WorkOrder
from tests.phones import Phone, make_api_key, make_session

GENERATED = Path(__file__).parents[2] / "clients/generated"
WAIT_S = 300.0
RUN = {
    "python": [".venv/bin/python", "example.py"],
    "typescript": ["node", "dist/example.js"],
}


def make_key() -> str:
    """Return a key of the demo's tenant for work orders."""
    admin = Membership.objects.select_related("tenant", "user").get(
        role=Role.ADMIN, tenant__slug="wales"
    )
    device_id, token = make_session(admin.user, admin.tenant, "office")
    phone = Phone(
        tenant_id=admin.tenant_id, token=token, user_id=admin.user_id, device_id=device_id
    )
    return make_api_key(phone, reads=[], writes=["work_orders"])


@pytest.mark.parametrize("kind", RUN)
def test_generated_client_compiles_reads_and_writes(
    seeded: None, server: Server, tmp_path: Path, kind: str
) -> None:
    if kind == "typescript" and shutil.which("npm") is None:
        pytest.skip("there is no npm here")
    environ = {**os.environ, "FIELDSYNC_URL": server.url, "FIELDSYNC_KEY": make_key()}
    run: Any = {"cwd": tmp_path, "env": environ, "timeout": WAIT_S}

    generate: list[str | Path] = [GENERATED / "generate.sh", kind, tmp_path]
    subprocess.run(generate, check=True, **run)  # noqa: S603  # ours
    done = subprocess.run(RUN[kind], check=True, stdout=subprocess.PIPE, **run)  # noqa: S603

    said = json.loads(done.stdout)
    assert said["summary"].endswith(" (seen)")
    assert WorkOrder.objects.get(pk=said["id"]).title == said["summary"]
