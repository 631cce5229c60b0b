"""JSON bodies of every endpoint but sync's, which has limits of its own.

body -> REST framework's parser -> data, or a 400 that says what is wrong
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

if TYPE_CHECKING:
    from collections.abc import Mapping


class ShallowJSONParser(JSONParser):
    """Takes a body that is nested too deeply for the fault of the client that it is."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return what the body says.

        Raises:
            ParseError: it is no JSON, or is nested more deeply than the parser can follow.
        """
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
