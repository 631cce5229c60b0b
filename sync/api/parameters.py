"""Query parameters, judged before anything is looked up."""

from __future__ import annotations

from uuid import UUID

from sync.errors import ParameterInvalid
from sync.wire import is_uuid


def parse_limit(text: str | None) -> int | None:
    """Return the whole number that `limit` is; its bounds are for the use case to know.

    Raises:
        ParameterInvalid: it is none.
    """
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > len(str(2**31)):
        raise ParameterInvalid("limit", "must be a whole number")
    return int(text)


def parse_after(text: str | None) -> UUID | None:
    """Return the id that a page is to begin behind.

    Raises:
        ParameterInvalid: it is no UUID.
    """
    if text is None:
        return None
    if not is_uuid(text):
        raise ParameterInvalid("after", "must be the id of the last one before")
    return UUID(text)
