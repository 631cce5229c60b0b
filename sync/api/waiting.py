"""The long poll: a pull that has nothing to say waits until it has, or its time is up.

    page with no changes -> response.hold -> [ a poke | time is up ] -> the request, again

The server awaits `hold` on its event loop, with no thread, and then carries the request out a
second time from its start: who asks, and what they see, may have changed meanwhile. A server that
knows nothing of `hold` answers the empty page at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync import heads, threads
from sync.conf import sync_settings
from sync.errors import ParameterInvalid, TooManyWaiting
from sync.pokes.hub import check_room, current_hub

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpResponseBase
    from rest_framework.request import Request

    from sync.types import Actor


def parse_wait(request: Request) -> int:
    """Return for how many seconds `request` may be held: 0 when it does not ask, or was held.

    Raises:
        ParameterInvalid: `wait` is no whole number, or beyond the limit.
    """
    text = request.query_params.get("wait", "0")
    wait_s_max = sync_settings().wait_s_max
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= wait_s_max):
        raise ParameterInvalid("wait", f"must be a whole number of seconds, 0 to {wait_s_max}")
    return 0 if getattr(request._request, "held", False) else int(text)


def hold(response: HttpResponseBase, actor: Actor, *, head: int, wait_s: int) -> None:
    """Have `response`, which has nothing to say up to `head`, wait for something.

    Raises:
        TooManyWaiting: the process has no place for another waiter.
    """
    if wait_s:
        check_room()
        response.hold = _make_hold(actor, head, wait_s)  # type: ignore[attr-defined]  # read by the server


def _make_hold(actor: Actor, head: int, wait_s: int) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        try:
            with current_hub().joined(actor, told=head) as waiter:
                # What was committed after the page was read, and poked before we joined.
                if not await threads.run(lambda: _has_news(actor, head)):
                    await waiter.wait(wait_s)
        except TooManyWaiting:
            return  # there was room a moment ago; the empty page is answered

    return wait


def _has_news(actor: Actor, head: int) -> bool:
    return bool(heads.read_newest(actor.tenant_id, actor.scopes, head))
