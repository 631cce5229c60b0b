"""`manage.py sync_explain`: why a row is, or is not, on a device."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from sync.clock import render_time
from sync.explain import CannotExplain, Explanation, explain
from sync.types import RowKey


class Command(BaseCommand):
    """Explain."""

    help = "Say why a row is, or is not, on a device. Writes nothing."
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--device", type=UUID, required=True, metavar="ID")
        parser.add_argument("--row", required=True, metavar="ID")
        parser.add_argument(
            "--collection", metavar="NAME", help="needed when rows of several have the id"
        )
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, **options: Any) -> None:
        """Explain.

        Raises:
            CommandError: there is no such device or collection, or several rows have the id.
        """
        try:
            found = explain(options["device"], options["row"], options["collection"])
        except CannotExplain as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(_report(found)))
            return
        for title, text in _lines(found):
            self.stdout.write(f"{title:8} {text}")


def _lines(found: Explanation) -> Iterator[tuple[str, str]]:
    actor, row = found.device.actor, found.row
    facts = ", ".join(f"{name} {value}" for name, value in found.device.facts.items())
    yield "device", f"{actor.device_id}: {facts or 'nothing is known of it'}"
    if found.device.refused:
        yield "", f"refused: {found.device.refused}"
    yield "", f"holds {', '.join(sorted(actor.scopes)) or 'no scopes'}"
    if row.change is None:
        yield "row", row.standing
    else:
        change = row.change
        state = f"{row.standing}, version {change.version}, seq {change.seq} of {found.head}"
        yield "row", f"{_name(change.key)}: {state}, {render_time(change.changed_at)}"
    for each in row.scopes:
        sources = ", ".join(_name(key) for key in each.sources)
        held = "held" if each.is_held else "not held"
        yield "scope", f"{each.scope} ({held}){f', from {sources}' if sources else ''}"
    for exited in row.exits:
        held = "held" if exited.is_held else "not held"
        yield "left", f"{exited.scope} ({held}) at seq {exited.seq}"
    for parked in found.parked:
        refusal = f"{parked.op}, {parked.outcome} {parked.code}"
        yield "parked", f"{parked.pk}: {refusal}, since {render_time(parked.created_at)}"
    yield "verdict", found.verdict
    for advice in found.advice:
        yield "", advice


def _report(found: Explanation) -> dict[str, Any]:
    device, row, change = found.device, found.row, found.row.change
    return {
        "device": {
            "id": str(device.actor.device_id),
            "facts": dict(device.facts),
            "refused": device.refused or None,
            "scopes": sorted(device.actor.scopes),
        },
        "head": found.head,
        "floor": found.floor,
        "row": {
            "standing": row.standing,
            "collection": change.key.collection if change else None,
            "version": change.version if change else None,
            "seq": change.seq if change else None,
            "changed_at": render_time(change.changed_at) if change else None,
            "scopes": [
                {
                    "scope": each.scope,
                    "held": each.is_held,
                    "from": [_name(key) for key in each.sources],
                }
                for each in row.scopes
            ],
            "left": [
                {"scope": each.scope, "held": each.is_held, "seq": each.seq} for each in row.exits
            ],
        },
        "parked": [
            {
                "id": str(parked.pk),
                "op": parked.op,
                "outcome": parked.outcome,
                "code": parked.code,
                "created_at": render_time(parked.created_at),
            }
            for parked in found.parked
        ],
        "verdict": found.verdict,
        "advice": list(found.advice),
    }


def _name(key: RowKey) -> str:
    return f"{key.collection}/{key.id}"
