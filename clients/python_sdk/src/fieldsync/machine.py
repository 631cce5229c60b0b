"""Machine: the states of a client that syncs by itself, and what follows on what. Pure.

          +--------------------------- POKED, EDITED, DUE, ASKED ---------------------------+
          v                                                                                 |
       PUSHING --PUSHED--> PULLING --PULLED--> CHECKING --CHECKED--> RESTING ----------------+
          ^                   |
          +----CURSOR_GONE----+          LINK_LOST -> OFFLINE      (waits, longer each time)
                                         LOGIN_NEEDED -> LOGGED_OUT (waits for a login)
                                         UPGRADE_NEEDED -> OUTDATED (waits for another app)

What is done in a state ends in an event; what happens outside meanwhile is an event too. The table
has an answer for each pair, so that no event is ever a surprise.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """What the client is doing."""

    PUSHING = "pushing"  # the outbox to the server
    PULLING = "pulling"  # the server's changes to the replica
    CHECKING = "checking"  # whether the replica equals the server, when that is due
    RESTING = "resting"  # all is done; waits for something to do
    OFFLINE = "offline"  # no link, or a server in trouble; waits to try again
    LOGGED_OUT = "logged_out"  # waits for a login
    OUTDATED = "outdated"  # the server takes no version as old as this one
    STOPPED = "stopped"  # for good


class Event(IntEnum):
    """What can happen; those that are noted together count in this order."""

    STOP = 0  # somebody asked for it
    LOGGED_IN = 1
    ASKED = 2  # somebody wants a sync now
    POKED = 3  # the server has something
    EDITED = 4  # the outbox has something
    DUE = 5  # the time that a state waits is over
    PUSHED = 6
    PULLED = 7
    CHECKED = 8
    CURSOR_GONE = 9  # the pull has to begin anew, after what is to be sent again
    LINK_LOST = 10
    LOGIN_NEEDED = 11
    UPGRADE_NEEDED = 12


# What every state does with them, unless it says otherwise below.
_ENDINGS: Final = {
    Event.STOP: State.STOPPED,
    Event.LINK_LOST: State.OFFLINE,
    Event.LOGIN_NEEDED: State.LOGGED_OUT,
    Event.UPGRADE_NEEDED: State.OUTDATED,
}


def _stay(state: State) -> dict[Event, State]:
    return dict.fromkeys(Event, state)


def _begin_at(*events: Event) -> dict[Event, State]:
    return dict.fromkeys(events, State.PUSHING)


_NEWS: Final = (Event.ASKED, Event.POKED, Event.EDITED, Event.DUE)

# A state at work stays in it whatever is noted meanwhile: the work that comes next finds it.
TABLE: Final[Mapping[State, Mapping[Event, State]]] = {
    State.PUSHING: _stay(State.PUSHING) | _ENDINGS | {Event.PUSHED: State.PULLING},
    State.PULLING: _stay(State.PULLING)
    | _ENDINGS
    | {Event.PULLED: State.CHECKING, Event.CURSOR_GONE: State.PUSHING},
    State.CHECKING: _stay(State.CHECKING)
    | _ENDINGS
    | {Event.CHECKED: State.RESTING, Event.CURSOR_GONE: State.PUSHING},
    State.RESTING: _stay(State.RESTING) | _ENDINGS | _begin_at(*_NEWS, Event.LOGGED_IN),
    # An edit or a poke is no sign of a link: the wait goes on. A person who asks is obeyed.
    State.OFFLINE: _stay(State.OFFLINE)
    | _ENDINGS
    | _begin_at(Event.ASKED, Event.DUE, Event.LOGGED_IN),
    State.LOGGED_OUT: _stay(State.LOGGED_OUT) | _ENDINGS | _begin_at(Event.LOGGED_IN, Event.ASKED),
    State.OUTDATED: _stay(State.OUTDATED) | _ENDINGS | _begin_at(Event.ASKED, Event.LOGGED_IN),
    State.STOPPED: _stay(State.STOPPED),
}


def step(state: State, event: Event) -> State:
    """Return the state that follows."""
    return TABLE[state][event]
