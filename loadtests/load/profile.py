"""A profile: who comes when, with how much work. Read from `loadtests/profiles/*.toml`. Pure."""

from __future__ import annotations

import dataclasses
import enum
import tomllib
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "profiles"


class Arrival(enum.StrEnum):
    """How devices are spread over the time in which they come."""

    AT_ONCE = "at_once"
    EVENLY = "evenly"
    MORNING = "morning"  # as calls come in from seven to ten


class ProfileInvalid(ValueError):
    """The file says something that cannot be carried out."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a crowd does; a device pushes its rows in batches, then pulls to the head, then rests.

    `at_once_max` bounds how many are at it together; 0 does not. `polls` is how often a device
    asks again with nothing to send, `poll_s` the seconds in between; `held_rows` is what each
    tenant has before anybody comes.
    """

    name: str
    about: str
    devices: int
    tenants: int = 1
    arrival: Arrival = Arrival.AT_ONCE
    arrival_s: float = 0.0
    at_once_max: int = 0
    push_rows: int = 0
    batch_rows: int = 100
    first_sync: bool = True
    polls: int = 0
    poll_s: float = 5.0
    rounds: int = 1  # of push and pull, with `poll_s` in between
    held_rows: int = 0
    workers: int = 2
    time_s_max: float = 600.0


def list_names() -> list[str]:
    """Return the names of all profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_profile(name: str, **changes: object) -> Profile:
    """Return a profile; `changes` overrule what its file says.

    Raises:
        ProfileInvalid: there is none of that name, or its file is wrong.
    """
    path = FOLDER / f"{name}.toml"
    if name not in list_names():
        message = f"there is no profile {name!r}; there are {', '.join(list_names())}"
        raise ProfileInvalid(message)
    given = tomllib.loads(path.read_text())
    known = {field.name for field in dataclasses.fields(Profile)}
    if unknown := sorted(given.keys() - known):
        message = f"{path.name} says {', '.join(unknown)}, which nobody knows"
        raise ProfileInvalid(message)
    try:
        given["arrival"] = Arrival(given.get("arrival", Arrival.AT_ONCE))
        profile = Profile(name=name, **given | changes)
    except (TypeError, ValueError) as error:
        message = f"{path.name}: {error}"
        raise ProfileInvalid(message) from error
    if profile.devices < profile.tenants or profile.batch_rows < 1:
        message = f"{path.name}: each tenant needs a device, and a batch a row"
        raise ProfileInvalid(message)
    return profile
