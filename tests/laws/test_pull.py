"""Laws of the pull: whatever happened, and wherever a phone was cut off, it ends with what it sees.

Each history ends with every phone pulling to the end; `Replica.pull` holds it to the laws of the
fold, of the scopes and of compaction, and every page to that of the tenants.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.laws.histories import Step, begin, cut_off, histories, pruned, tell

several = settings(max_examples=65, deadline=None, suppress_health_check=list(HealthCheck))
RESUMED_MAX = 8  # moments of a phone that are taken up again
limits = st.sampled_from([2, 5, 1_000])


@pytest.fixture(autouse=True)
def neighbours(db: None) -> None:
    """Another tenant, with rows of the same ids, and with something to read in all scopes."""
    begin()


@pytest.mark.usefixtures("chapter")
@several
@given(histories)
def test_phones_hold_what_their_people_see(steps: Sequence[Step]) -> None:
    """No row more, none less, byte for byte, after any pull that came to its end."""
    tell(steps)


@pytest.mark.usefixtures("chapter")
@several
@given(cut_off)
def test_phone_that_is_reassigned_while_it_pages_ends_right(steps: Sequence[Step]) -> None:
    """In the middle of what it loses, of what it gains, back again, and to a third set."""
    tell(steps)


@pytest.mark.usefixtures("chapter")
@several
@given(pruned)
def test_what_is_pruned_between_pulls_is_never_missed(steps: Sequence[Step]) -> None:
    """A phone that has not read it is told to start afresh; one that has just goes on."""
    tell(steps)


@pytest.mark.usefixtures("chapter")
@several
@given(histories | cut_off, limits)
def test_every_cursor_ever_handed_out_leads_home(steps: Sequence[Step], limit: int) -> None:
    """A phone that was restored, cloned or cut off goes on from what it has."""
    story = tell(steps)

    for replica in story.replicas:
        every = -(-len(replica.moments) // RESUMED_MAX)
        for moment in range(0, len(replica.moments), every):
            replica.clone(cursor=moment, rows=moment).pull(limit)


@pytest.mark.usefixtures("chapter")
@several
@given(histories | cut_off, limits)
def test_old_cursor_does_no_harm_to_newer_rows(steps: Sequence[Step], limit: int) -> None:
    """An app that applied pages and lost their cursors is told some of it again, and no worse.

    But it must have read them with the scopes that it reads with now: what it got meanwhile with
    others, no cursor of before tells of.
    """
    story = tell(steps)

    for replica in story.replicas:
        for moment in replica.ancestors()[:RESUMED_MAX]:
            replica.clone(cursor=moment, rows=replica.now).pull(limit)
