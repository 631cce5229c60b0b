"""Middleware of Django's that only browsers need: a session cookie, its user, messages for a page.

A device sends its token with each request and has no cookie. For it these do nothing, in a
quarter of the time that a request costs before and after its view; so it passes them by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase

API, BEARER = "/api/", "Bearer "


def is_of_device(request: HttpRequest) -> bool:
    """Whether the API is asked with a token, good or bad: nothing else then says who asks."""
    header: str = request.META.get("HTTP_AUTHORIZATION", "")
    return header.startswith(BEARER) and request.path_info.startswith(API)


class _ForBrowsers:
    """Passes devices by; mixed into a middleware."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_of_device(request):
            response: HttpResponseBase = self.get_response(request)
            return response
        return super().__call__(request)  # type: ignore[misc,no-any-return]


class SessionMiddleware(_ForBrowsers, sessions.SessionMiddleware):
    """Sessions, for browsers."""


class AuthenticationMiddleware(_ForBrowsers, auth.AuthenticationMiddleware):
    """`request.user` of a session, for browsers."""


class MessageMiddleware(_ForBrowsers, messages.MessageMiddleware):
    """Messages for the next page, for browsers."""
