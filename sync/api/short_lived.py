"""Views whose answers are gone as soon as they are sent.

REST framework ties a request to its view, and the view to its answer: a circle, which stays until
the collector comes. It counts objects, not bytes, and a page of 1,000 rows is one: a crowd's pages
would add up to hundreds of MiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.views import APIView

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


class ShortLived(APIView):
    """Base of the views that carry rows."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer the request, and let go of the answer."""
        response = super().dispatch(request, *args, **kwargs)
        del self.response  # which the request's circle would keep
        return response
