"""The dashboard and the alerts against the figures: one that asks for a name that is not there is silent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from backend.metrics import database, instruments

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/grafana/fieldsync.json"
OPERATIONS = ROOT / "docs/operate.md"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
NAME = re.compile(r"\bfieldsync_\w+")
LABELS = re.compile(r"(?:by|without) \(([\w, ]+)\)|\{\{ ?(?:\$labels\.)?(\w+) ?\}\}")
OF_PROMETHEUS = {"le", "instance"}


def names() -> set[str]:
    """Return the names of all series, as the page has them."""
    counted = {
        sample.name
        for family in REGISTRY.collect()
        for sample in family.samples
        if family.name.startswith("fieldsync_")
    }
    for each in vars(instruments).values():
        counted |= {f"{getattr(each, '_name', '')}{end}" for end in ("", "_total")}
    counted |= {f"fieldsync_request_seconds_{end}" for end in ("bucket", "count", "sum")}
    source = Path(str(database.__file__)).read_text(encoding="utf-8")
    return counted | set(re.findall(r'"(fieldsync_\w+)"', source))


def labels() -> set[str]:
    found = {"tenant", *OF_PROMETHEUS}
    for each in vars(instruments).values():
        found |= set(getattr(each, "_labelnames", ()))
    return found


def asked() -> list[tuple[str, str]]:
    """Return (where, expression) of everything that is asked for."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    rules = [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]
    return [
        *((p["title"], f"{t['expr']} {t['legendFormat']}") for p in panels for t in p["targets"]),
        *((r["alert"], f"{r['expr']} {r['annotations']['summary']}") for r in rules),
    ]


@pytest.mark.parametrize(("where", "text"), asked())
def test_every_figure_that_is_asked_for_exists(where: str, text: str) -> None:
    assert set(NAME.findall(text)) <= names(), where
    for several, one in LABELS.findall(text):
        assert {each.strip() for each in (several or one).split(",")} <= labels(), where


def test_every_figure_is_on_the_dashboard_or_watched() -> None:
    shown = {name for _, text in asked() for name in NAME.findall(text)}
    short = {re.sub(r"_(total|bucket|count|sum|created|max)$", "", name) for name in shown}

    missing = {re.sub(r"_(total|bucket|count|sum|created|max)$", "", name) for name in names()}
    assert {name for name in missing - short if name.startswith("fieldsync_")} <= {
        "fieldsync_feed_floor", "fieldsync_devices",
    }  # fmt: skip


@pytest.mark.parametrize("file", ["prometheus.yml", "alerts.yml"])
def test_alerts_have_a_severity_and_a_summary(file: str) -> None:
    parsed: Any = yaml.safe_load((ROOT / "deploy/prometheus" / file).read_text())

    assert parsed
    for group in parsed.get("groups", []):
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert rule["annotations"]["summary"]


def test_every_alert_is_explained_to_whoever_is_woken_by_it() -> None:
    explained = re.findall(
        r"^\| `([A-Z]\w+)` \|", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE
    )
    alerts = [
        rule["alert"]
        for group in yaml.safe_load(ALERTS.read_text())["groups"]
        for rule in group["rules"]
    ]

    assert explained == alerts
