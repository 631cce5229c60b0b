"""Query parameters, judged before anything is looked up."""

from __future__ import annotations

from uuid import UUID

from sync.errors import ParameterInvalid
from sync.wire import is_uuid

ROW_ID_CHARS_MAX = 64  # of the column that ids are stored in


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


def parse_id(name: str, text: str | None) -> UUID | None:
    """Return the id that the parameter `name` is.

    Raises:
        ParameterInvalid: it is no UUID.
    """
    if text is None:
        return None
    if not is_uuid(text):
        raise ParameterInvalid(name, "must be a UUID")
    return UUID(text)


def parse_collections(text: str | None) -> list[str]:
    """Return the names that `collections` lists, each once; whether they exist is not asked."""
    return sorted({name for name in (text or "").split(",") if name})


def parse_bucket(text: str | None) -> int:
    """Return the number that `bucket` is; its bounds are for the use case to know.

    Raises:
        ParameterInvalid: it is missing, or none.
    """
    if text is None or not text.isascii() or not text.isdigit() or len(text) > len("255"):
        raise ParameterInvalid("bucket", "must be the number of a bucket")
    return int(text)


def parse_row_id(text: str | None) -> str | None:
    """Return the row's id that a page is to begin behind.

    Raises:
        ParameterInvalid: no row can have it.
    """
    if text is not None and (len(text) > ROW_ID_CHARS_MAX or "\0" in text):
        raise ParameterInvalid("after", "must be the id of the last row before")
    return text
