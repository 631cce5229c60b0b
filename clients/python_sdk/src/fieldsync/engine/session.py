"""Session: who is logged in on this store, and requests in their name.

    call: send -> 401? refresh once, store the new pair, send the same bytes again
               -> failure? wait as the budget allows, send the same bytes again

Losing the login never touches the outbox, and a login of somebody else is refused while there is
work that would be sent in the wrong name.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from fieldsync.errors import (
    AuthRequired,
    FieldsyncError,
    OtherUsersWork,
    ServerBug,
    TransportFailure,
    Unreachable,
)
from fieldsync.machine import Event
from fieldsync.steps import Wait, open_stream, send
from fieldsync.transport import Answer, Request
from fieldsync.verdict import UNAUTHORIZED, check_answer
from fieldsync.wire import (
    Login,
    TokenPair,
    Unreadable,
    parse_login,
    parse_tokens,
    render_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from fieldsync.bell import Bell
    from fieldsync.engine.local import Local
    from fieldsync.engine.login import LoginKeeper
    from fieldsync.retry import RetryBudget
    from fieldsync.steps import Steps

T = TypeVar("T")
OUTBOX_ROWS = "X-Outbox-Rows"


class Session:
    """Requests of the user who is logged in on this store."""

    def __init__(self, local: Local, bell: Bell, keeper: LoginKeeper) -> None:
        self._local = local
        self._store = local.store
        self._bell = bell
        self._keeper = keeper

    def login(
        self, username: str, password: str, *, platform: str, app_version: str, budget: RetryBudget
    ) -> Steps[None]:
        """Log in and store the tokens. Raises: OtherUsersWork, AuthRequired, Unreachable."""
        device = {
            "install_id": self._install_id(),
            "platform": platform,
            "app_version": app_version,
        }
        body = {"username": username, "password": password, "device": device}
        request = Request(method="POST", path="auth/token", body=render_json(body).encode())

        def attempt() -> Steps[Login]:
            answer = yield from send(request)
            return parse_login(check_answer(answer).body)

        login = yield from self.retrying(attempt, budget)
        self._adopt(login, username)

    def _install_id(self) -> str:
        with self._store.transaction():
            found = self._store.get_meta("install_id") or str(uuid.uuid4())
            self._store.set_meta(install_id=found)
        return found

    def _adopt(self, login: Login, username: str) -> None:
        """Make `login` the session of this store, which is emptied for a new user."""
        store, outbox = self._store, self._local.outbox
        user_id, tenant_id = str(login.user.id), str(login.tenant.id)
        with store.transaction():
            owner = store.get_meta("user_id")
            if owner is not None and (owner, store.get_meta("tenant_id")) != (user_id, tenant_id):
                unsent = outbox.count_pending() + outbox.count_sent()
                if unsent or store.count_issues():
                    raise OtherUsersWork(
                        owner=store.get_meta("username") or owner,
                        mutations=unsent,
                        issues=store.count_issues(),
                    )
                store.forget_everything()
            store.set_meta(
                username=username,
                user_id=user_id,
                tenant_id=tenant_id,
                tenant=login.tenant.slug or tenant_id,
                device=str(login.device.id),
            )
            self._keeper.put(login)

    def logout(self) -> None:
        """Forget the tokens. The work stays, and so does whose it is."""
        with self._store.transaction():
            self._keeper.forget()

    def call(
        self, request: Request, parse: Callable[[Answer], T], budget: RetryBudget
    ) -> Steps[T]:
        """What `parse` makes of the answer, after as many tries as `budget` allows.

        Raises: Unreachable, AuthRequired, UpgradeRequired, ServerBug.
        """

        def attempt() -> Steps[T]:
            return parse((yield from self.ask(request)))

        return (yield from self.retrying(attempt, budget))

    def retrying(self, attempt: Callable[[], Steps[T]], budget: RetryBudget) -> Steps[T]:
        """What comes of `attempt`, made anew after each failure, as often as `budget` allows.

        Raises: as `call`.
        """
        while True:  # ends with the budget
            try:
                result = yield from attempt()
            except (Unreadable, FieldsyncError) as error:
                failure = _retryable(error)
            else:
                budget.note_progress()
                return result
            yield from self._wait(failure, budget)
            budget.retries += 1

    def _wait(self, failure: FieldsyncError, budget: RetryBudget) -> Steps[None]:
        """Wait before the next try. Raises: `failure`, or Unreachable for it."""
        wait_s = budget.next_wait_s(failure.retry_after_s)
        if wait_s is not None:
            yield Wait(wait_s)
            if not self._bell.has(Event.STOP):
                return
        if isinstance(failure, ServerBug):
            raise failure
        raise Unreachable(failure, failures=budget.failures) from failure

    def access(self) -> str:
        """The token of who is logged in. Raises: AuthRequired."""
        return self._pair().access

    def _pair(self) -> TokenPair:
        pair = self._keeper.get()
        if pair is None:
            raise self._nobody()
        return pair

    def _nobody(self) -> AuthRequired:
        if self._keeper.is_kept_elsewhere:
            detail = "the tokens of this store are kept elsewhere: open it with the same `tokens`"
            return AuthRequired(code="tokens_elsewhere", detail=detail)
        return AuthRequired(code="not_logged_in")

    def ask(self, request: Request, *, as_stream: bool = False) -> Steps[Answer]:
        """The answer to one try, which has a meaning: see `check_answer` for what it raises."""
        carry = open_stream if as_stream else send
        access = self.access()
        request = replace(request, headers={**request.headers, OUTBOX_ROWS: self._unsent()})
        answer = yield from carry(request, access)
        if answer.status == UNAUTHORIZED and answer.is_json:
            answer = yield from carry(request, (yield from self._refresh(access)))
        return check_answer(answer)

    def _unsent(self) -> str:
        """How much waits, for those who watch the server: is work stuck on a phone?"""
        outbox = self._local.outbox
        return str(outbox.count_pending() + outbox.count_sent())

    def _refresh(self, stale: str) -> Steps[str]:
        """A new access token, stored before its first use."""
        sent = self._pair()
        if sent.access != stale:
            return sent.access  # another process has done it
        body = render_json({"refresh": sent.refresh}).encode()
        request = Request(method="POST", path="auth/refresh", body=body)
        answer = yield from send(request)
        new = parse_tokens(check_answer(answer).body)
        with self._store.transaction():
            kept = self._pair()  # nobody, if there was a logout meanwhile
            if kept.refresh != sent.refresh:
                return kept.access
            self._keeper.put(new)
        return new.access


def _retryable(error: Unreadable | FieldsyncError) -> FieldsyncError:
    """`error` as one that a retry may cure. Raises: `error`, when none can."""
    if isinstance(error, Unreadable):
        failure = TransportFailure(f"unreadable: {error}")
        failure.__cause__ = error
        return failure
    if not error.retryable:
        raise error
    return error
