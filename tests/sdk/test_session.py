"""Logging in: losing the login never loses work, and nobody's work goes out in another's name."""

from __future__ import annotations

import os
from typing import Any

import httpx2
import pytest

import fieldsync
from fieldsync.testing import Fault

ORDER = {"title": "Replace the pump seal"}


def test_expired_token_is_refreshed_once_and_the_same_bytes_go_again(
    server: Any, phone: Any
) -> None:
    """The retry after a refresh is the same request."""
    phone["work_orders"].create(ORDER)
    server.faults.append(Fault.EXPIRED)

    report = phone.sync()

    assert [path for _, path, *_ in server.seen[1:]] == [
        "sync/push",
        "auth/refresh",
        "sync/push",
        "sync/pull",
        "sync/digest",
    ]
    assert len(set(server.pushes())) == 1
    assert report.retries == 0


def test_new_tokens_are_stored_before_use(server: Any, phone: Any) -> None:
    """A process that dies right after the refresh goes on with the new pair."""
    phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.EXPIRED, Fault.DOUBLED, *[Fault.CUT_BEFORE] * 6])
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    refreshes = sum(path == "auth/refresh" for _, path, *_ in server.seen)

    phone.restart()
    phone.sync()

    assert sum(path == "auth/refresh" for _, path, *_ in server.seen) == refreshes
    assert phone.client._engine._store.get_meta("access") != "access-1"


def test_lost_answer_of_a_refresh_is_repeated(server: Any, phone: Any) -> None:
    """The same refresh token may be sent again until its successor is used."""
    phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.EXPIRED, Fault.LOST_ANSWER])

    assert phone.sync().pushed == 1


def test_refused_refresh_asks_for_a_login_and_keeps_the_outbox(server: Any, phone: Any) -> None:
    """Two weeks in a drawer cost a password, no work."""
    phone["work_orders"].create(ORDER)
    server.faults.append(Fault.EXPIRED)
    server.refuses_refresh = True

    with pytest.raises(fieldsync.AuthRequired):
        phone.sync()

    assert phone.client.status().sent == 1
    phone.login("tess")
    assert phone.sync().pushed == 1


def test_sync_without_login_asks_for_one(new_phone: Any) -> None:
    """Work may begin before the first login; it is the first user's."""
    phone = new_phone(None)
    phone["work_orders"].create(ORDER)
    with pytest.raises(fieldsync.AuthRequired):
        phone.sync()

    phone.login("tess")

    assert phone.sync().pushed == 1


def test_wrong_password_is_refused(phone: Any) -> None:
    """And leaves who was logged in before."""
    with pytest.raises(fieldsync.AuthRequired) as caught:
        phone.client.login("tess", "wrong")

    assert caught.value.code == "invalid_credentials"
    assert phone.client.status().username == "tess"


@pytest.mark.parametrize("title", ["unsent", "BAD"])
def test_another_user_is_refused_while_there_is_work(server: Any, phone: Any, title: str) -> None:
    """Unsent and refused work alike would go out as somebody else's."""
    phone["work_orders"].create({"title": title})
    if title == "BAD":
        phone.sync()

    with pytest.raises(fieldsync.OtherUsersWork, match="tess"):
        phone.login("tom")

    assert phone.client.status().username == "tess"
    phone.sync()
    assert {device for device, *_ in server.applied} <= {phone.client.status().device}


def test_another_user_starts_with_an_empty_replica(server: Any, phone: Any) -> None:
    """Tom must not see what only tess may."""
    row_id = phone["work_orders"].create(ORDER)
    phone.sync()
    server.hide("tom", "work_orders", row_id)

    phone.login("tom")
    assert phone.client.status().rows == 0
    phone.sync()

    assert phone.view("work_orders") == {}


def test_install_id_is_made_once(server: Any, phone: Any) -> None:
    """The device stays the same device."""
    device = phone.client.status().device
    phone.restart()
    phone.login("tess")

    assert phone.client.status().device == device


def test_store_is_readable_by_its_owner_only(phone: Any) -> None:
    """It holds tokens and customers' data."""
    assert os.stat(phone.path).st_mode & 0o077 == 0


def test_store_of_a_newer_sdk_is_left_alone(phone: Any, server: Any) -> None:
    """An old app must not guess at a new schema."""
    phone.client._engine._store.writer.execute("PRAGMA user_version = 99")

    with pytest.raises(fieldsync.UpgradeRequired):
        phone.restart()

    phone.client._engine._store.writer.close()


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx2.Response(302, headers={"location": "http://portal"}), fieldsync.Unreachable),
        (httpx2.Response(200, json={"status": "please log in"}), fieldsync.Unreachable),
        (httpx2.Response(200, text='{"cursor": "x"}'), fieldsync.Unreachable),
        (httpx2.Response(200, text='{"results": []}'), fieldsync.Unreachable),
        (httpx2.Response(403, html="<html>"), fieldsync.Unreachable),
        (httpx2.Response(403, json={"code": "device_revoked"}), fieldsync.AuthRequired),
        (httpx2.Response(426, json={"code": "x"}), fieldsync.UpgradeRequired),
        (httpx2.Response(400, json={"code": "upgrade_required"}), fieldsync.UpgradeRequired),
        (httpx2.Response(500, json={"code": "internal_error"}), fieldsync.ServerBug),
    ],
)
def test_bad_answers_have_their_class(server: Any, phone: Any, response: Any, error: Any) -> None:
    """One row each: what stands between, what the server says, what it must never say."""
    phone["work_orders"].create(ORDER)
    server._route = lambda *given: response

    with pytest.raises(error) as caught:
        phone.sync()

    assert caught.value.error_class in fieldsync.ErrorClass
    assert phone.client.status().sent == 1


def test_retry_after_may_be_a_date(server: Any, phone: Any) -> None:
    """Counted from when the answer came; longer than the budget means giving up at once."""
    late = httpx2.Response(503, headers={"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"})
    server._route = lambda *given: late

    with pytest.raises(fieldsync.Unreachable) as caught:
        phone.sync()

    assert phone.waits == []
    assert (caught.value.retry_after_s or 0) > 3600


def test_token_refused_again_after_the_refresh_asks_for_a_login(server: Any, phone: Any) -> None:
    """One refresh, not one for ever: the user was deactivated."""
    phone["work_orders"].create(ORDER)
    server._access.clear()
    server._renew = lambda refresh: httpx2.Response(200, json={"access": "x", "refresh": "y"})

    with pytest.raises(fieldsync.AuthRequired, match="token_expired"):
        phone.sync()

    assert [path for _, path, *_ in server.seen[1:]] == ["sync/push", "auth/refresh", "sync/push"]
    assert phone.waits == []
    assert phone.client.status().sent == 1
