"""Conditions: which version of a row a client means, and which it has. RFC 9110, section 13.

ETag: "7"          version 7, a strong tag: a version is the same bytes for good
If-Match: "7"      write only on version 7          If-Match: *      on whatever it is
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.http import parse_etags

from sync.row_errors import PreconditionFailed, PreconditionRequired

if TYPE_CHECKING:
    from rest_framework.request import Request

ANY = "*"
DIGITS_MAX = 15  # of a version: 53 bits and fewer


def row_tag(version: int) -> str:
    """Return the tag of a row at `version`."""
    return f'"{version}"'


def read_if_match(request: Request, *, is_required: bool = True) -> int | None:
    """Return the version that a write is made on; None for whatever version there is.

    Raises:
        PreconditionRequired: it is required, and there is no such header.
        PreconditionFailed: no version of any row has such a tag.
    """
    header = request.headers.get("If-Match")
    if header is None:
        if is_required:
            raise PreconditionRequired
        return None
    if header.strip() == ANY:
        return None
    versions = [int(text) for tag in parse_etags(header) if (text := _digits(tag))]
    if not versions:  # also a weak tag: those never match here
        raise PreconditionFailed(None)
    return max(versions)  # of several that one has seen, the newest is what the edit is made on


def wants_new_row(request: Request) -> bool:
    """Whether the row must not be there yet: `If-None-Match: *`."""
    return request.headers.get("If-None-Match", "").strip() == ANY


def _digits(tag: str) -> str:
    text = tag.removeprefix('"').removesuffix('"')
    return text if text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else ""
