"""Law: whatever is sent again, and whenever, it was carried out once."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from sync.receipts import Answer
from tests.laws.pushes import FIRST, Batch, batches, with_bases
from tests.laws.shop import open_shop

histories = st.lists(batches, min_size=1, max_size=4)
resends = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=8)


def with_resends(count: int, again: list[tuple[int, int]]) -> list[int]:
    """Return the pushes 0, 1, … in their order, each sent again somewhere after its first time."""
    sent = list(range(count))
    for which, later in again:
        first = sent.index(which % count)
        sent.insert(first + 1 + later % (len(sent) - first), which % count)
    return sent


@pytest.mark.django_db
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories, resends)
def test_resends_change_nothing(history: list[Batch], again: list[tuple[int, int]]) -> None:
    """A history with resends ends as the one without, and each resend hears the first answer."""
    once, often = open_shop(), open_shop()
    pushes: list[Batch] = []
    expected: list[Answer] = []
    for number, batch in enumerate([FIRST, *history]):
        pushes.append(with_bases(batch, once.versions()))
        expected.append(once.push(pushes[-1], f"k{number}"))

    heard: set[int] = set()
    for which in with_resends(len(pushes), again):
        answer = often.push(pushes[which], f"k{which}")
        assert answer.is_replay == (which in heard)
        assert (answer.status, answer.body) == (expected[which].status, expected[which].body)
        heard.add(which)

    assert often.state() == once.state()
