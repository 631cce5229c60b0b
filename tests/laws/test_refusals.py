"""Law: what is refused might as well not have been sent."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.laws.pushes import FIRST, Batch, batches, with_bases
from tests.laws.shop import Shop, open_shop, report

APPLIED = {"created", "updated", "merged", "deleted", "unchanged"}


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(batches, min_size=1, max_size=4))
def test_refused_mutations_leave_no_trace(history: list[Batch]) -> None:
    """Without them all rows, versions, changes and the head are the same: nothing is skipped."""
    whole, without = open_shop(), open_shop()

    for number, batch in enumerate([FIRST, *history]):
        kept = applied(whole, with_bases(batch, whole.versions()), f"k{number}")
        if kept["mutations"]:
            lines = report(without.push(kept, f"k{number}"))
            assert {line[0] for line in lines} <= APPLIED

    assert without.state() == whole.state()


def applied(shop: Shop, batch: Batch, key: str) -> Batch:
    """Push `batch` and return what of it was applied, as a push of its own."""
    lines = report(shop.push(batch, key))
    pairs = zip(batch["mutations"], lines, strict=True)
    kept = [mutation for mutation, line in pairs if line[0] in APPLIED]
    assert batch["policy"] == "per_row" or len(kept) in {0, len(lines)}
    return {**batch, "mutations": kept}
