"""The machine: an answer to every event in every state, and the ones that matter."""

from __future__ import annotations

import itertools

import pytest

from fieldsync.machine import TABLE, Event, State, step

ALL = list(itertools.product(State, Event))
WORKING = [State.PUSHING, State.PULLING, State.CHECKING]


def test_table_is_total() -> None:
    """No event is ever a surprise."""
    assert {state: set(row) for state, row in TABLE.items()} == {
        state: set(Event) for state in State
    }


@pytest.mark.parametrize("state", [each for each in State if each is not State.STOPPED])
def test_stop_ends_every_state(state: State) -> None:
    assert step(state, Event.STOP) is State.STOPPED


@pytest.mark.parametrize("event", Event)
def test_nothing_follows_on_the_end(event: Event) -> None:
    assert step(State.STOPPED, event) is State.STOPPED


@pytest.mark.parametrize(
    ("state", "event", "following"),
    [
        (State.PUSHING,    Event.PUSHED,         State.PULLING),
        (State.PULLING,    Event.PULLED,         State.CHECKING),
        (State.PULLING,    Event.CURSOR_GONE,    State.PUSHING),  # what was put back goes first
        (State.CHECKING,   Event.CHECKED,        State.RESTING),
        (State.CHECKING,   Event.CURSOR_GONE,    State.PUSHING),
        (State.RESTING,    Event.POKED,          State.PUSHING),
        (State.RESTING,    Event.EDITED,         State.PUSHING),
        (State.RESTING,    Event.DUE,            State.PUSHING),
        (State.OFFLINE,    Event.DUE,            State.PUSHING),
        (State.OFFLINE,    Event.EDITED,         State.OFFLINE),  # no sign of a link
        (State.OFFLINE,    Event.POKED,          State.OFFLINE),
        (State.OFFLINE,    Event.ASKED,          State.PUSHING),
        (State.LOGGED_OUT, Event.DUE,            State.LOGGED_OUT),
        (State.LOGGED_OUT, Event.LOGGED_IN,      State.PUSHING),
        (State.OUTDATED,   Event.DUE,            State.OUTDATED),
        (State.OUTDATED,   Event.EDITED,         State.OUTDATED),
    ],
)  # fmt: skip
def test_what_follows(state: State, event: Event, following: State) -> None:
    assert step(state, event) is following


@pytest.mark.parametrize("state", WORKING)
def test_trouble_at_work_is_waited_out(state: State) -> None:
    assert step(state, Event.LINK_LOST) is State.OFFLINE
    assert step(state, Event.LOGIN_NEEDED) is State.LOGGED_OUT
    assert step(state, Event.UPGRADE_NEEDED) is State.OUTDATED


@pytest.mark.parametrize("state", WORKING)
@pytest.mark.parametrize("event", [Event.EDITED, Event.POKED, Event.ASKED, Event.LOGGED_IN])
def test_news_at_work_does_not_start_it_anew(state: State, event: Event) -> None:
    assert step(state, event) is state


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_left_for_work_but_the_end(state: State) -> None:
    """Nobody is stuck: from each there is a way to a push."""
    reached = {state}
    while True:
        more = {step(each, event) for each in reached for event in Event} | reached
        if more == reached:
            break
        reached = more
    assert (State.PUSHING in reached) == (state is not State.STOPPED)
