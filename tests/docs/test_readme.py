"""What the README shows, done."""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from backend.postgres.apps import grant
from sync import registry
from tests.phones import create, make_world, new_id

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
CONSOLE = "\n".join(text for language, text in BLOCKS if language == "console")


def lines_of_code(text: str) -> int:
    return len([line for line in text.splitlines() if line.strip()])


def test_the_device_example_runs(
    transactional_db: None, live_server: Any, tmp_path: Path, capsys: Any
) -> None:
    """As it stands there, against a server with the demo's data."""
    call_command("seed_demo", yes=True, verbosity=0)
    example = PYTHON[0].replace("http://127.0.0.1:8000", live_server.url)
    example = example.replace('"phone.db"', repr(str(tmp_path / "phone.db")))

    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102
    names["client"].close()

    assert names["report"].outcomes == {"created": 2}
    assert "WO-" in capsys.readouterr().out
    assert lines_of_code(PYTHON[0]) <= 20


def test_the_curl_example_gets_the_answer_that_is_promised(db: None) -> None:
    """Its two bodies, sent as curl would send them."""
    from rest_framework.test import APIClient

    call_command("seed_demo", yes=True, verbosity=0)
    login, push = (
        json.loads(body)
        for body in re.findall(r"-d '(\{.*?\})' ?(?:\\\n|\n|$)", CONSOLE, re.DOTALL)
    )
    api = APIClient()
    token = api.post("/api/v1/auth/token", login, format="json").json()["access"]
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": '"visit-17"'}

    first, again = (
        api.post("/api/v1/sync/push", push, format="json", headers=headers) for _ in range(2)
    )

    assert first.json()["results"][0]["outcome"] == "dependency_failed"
    assert again.content == first.content
    assert again["Idempotency-Replayed"] == "true"


@pytest.fixture
def meters(transactional_db: None) -> Iterator[Any]:
    """Make the README's collection, in an app that exists, and take it out again."""
    before = dict(registry._collections)
    import_module(settings.ROOT_URLCONF)  # addresses are made once: without this collection
    module = types.ModuleType("backend.fieldwork.meters")
    sys.modules[module.__name__] = module
    exec(compile(PYTHON[1], "README.md", "exec"), module.__dict__)  # noqa: S102
    with connection.schema_editor() as editor:
        editor.create_model(module.Meter)
    grant(using=connection.alias)  # as after `migrate`
    yield module
    with connection.schema_editor() as editor:
        editor.delete_model(module.Meter)
    registry._collections.clear()
    registry._collections.update(before)
    registry.ranked_collections.cache_clear()
    del apps.all_models["fieldwork"]["meter"]
    del sys.modules[module.__name__]
    apps.clear_cache()


def test_a_collection_of_ones_own_syncs(meters: Any) -> None:
    """Pushed, merged, pulled, seen only by whoever sees its site."""
    wales = make_world("wales")
    alice, bob, tom = wales.hire(), wales.hire(), wales.hire(territories=[wales.newport])
    meter = create("meters", new_id(), site=wales.site, serial="m1", reading="1.5")
    alice.push(meter)

    def edit(phone: Any, **data: Any) -> str:
        mutation = {
            "op": "update",
            "collection": "meters",
            "id": meter["id"],
            "base_version": 1,
            "data": data,
        }
        outcome: str = phone.push(mutation)[0]["outcome"]
        return outcome

    assert (edit(alice, reading="2"), edit(bob, serial="m2")) == ("updated", "merged")
    bob.pull()
    tom.pull()
    assert bob.row("meters", meter["id"]) == {
        "site": wales.site,
        "serial": "m2",
        "reading": "2.000",
    }
    assert ("meters", meter["id"]) not in tom.rows
    assert lines_of_code(PYTHON[1]) <= 25
