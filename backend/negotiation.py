"""Which of a view's forms an answer takes: DRF's rules, without working out what is plain.

no Accept, `*/*` or the first form by name -> the first form; anything else -> DRF
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.settings import api_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rest_framework.renderers import BaseRenderer
    from rest_framework.request import Request

ANYTHING = "*/*"


class PlainNegotiation(DefaultContentNegotiation):
    """Gives phones, which ask for JSON or for anything, the first form at once."""

    def select_renderer(
        self,
        request: Request,
        renderers: Sequence[BaseRenderer],  # type: ignore[override]  # it is a list, always
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer of the answer, and the media type that it is for."""
        first = renderers[0]
        is_plain = request.META.get("HTTP_ACCEPT", ANYTHING) in {ANYTHING, first.media_type}
        if is_plain and not format_suffix and not _asks_for_format(request):
            return first, first.media_type
        chosen: tuple[BaseRenderer, str] = super().select_renderer(
            request, renderers, format_suffix
        )
        return chosen


def _asks_for_format(request: Request) -> bool:
    name = api_settings.URL_FORMAT_OVERRIDE
    return bool(name) and name in request.query_params
