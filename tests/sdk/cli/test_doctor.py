"""Doctor: a stranger is told what is wrong, and what to do, in each of many broken set-ups."""

from __future__ import annotations

import os
import shutil
import sqlite3
import ssl
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from sockets import serve

from fieldsync.cli.exits import exit_of_findings
from fieldsync.doctor import Finding, Level, examine
from fieldsync.doctor.storage import check_storage
from fieldsync.testing import problem

if TYPE_CHECKING:
    from collections.abc import Iterator

CERTIFICATE = Path(__file__).parent / "self_signed.pem"
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def synced(term: Any) -> Any:
    """A terminal of a healthy store, with a row in it."""
    term("new", "work_orders", "title=Pump", "--id", "w1")
    assert term("sync").exit_code == 0
    return term


def troubles(term: Any, *options: str) -> tuple[int, list[dict[str, str]]]:
    """The exit code, and what is not as it should be."""
    ending = term(*options, "doctor", "--json")
    found = [each for each in ending.document["findings"] if each["level"] != "ok"]
    for each in found:
        assert each["remedy"], f"{each} says not what to do"
    return ending.exit_code, found


def only(term: Any, *options: str) -> tuple[int, dict[str, str]]:
    """The same, where one thing alone is wrong: nothing else may lead astray."""
    exit_code, found = troubles(term, *options)
    (one,) = found
    return exit_code, one


def test_healthy_set_up_is_all_ok(synced: Any) -> None:
    """Nobody is sent to look for what is not there."""
    ending = synced("doctor")

    assert ending.exit_code == 0
    assert "warning" not in ending.out
    assert "broken" not in ending.out
    checks = [each["check"] for each in synced.json("doctor")["findings"]]
    for check in ("store file", "store content", "name", "port", "server", "clock", "login"):
        assert check in checks


def test_doctor_changes_nothing(synced: Any, server: Any) -> None:
    """It may be run by anybody, at any time."""
    before = synced.json("status")
    pushes = len(server.pushes())

    synced("doctor")

    assert synced.json("status") == before
    assert len(server.pushes()) == pushes


# --- the way to the server -----------------------------------------------------------------


def test_1_wrong_name_in_the_address(synced: Any) -> None:
    exit_code, found = only(synced, "--url", "http://sync.invalid")

    assert (exit_code, found["check"]) == (3, "name")
    assert "sync.invalid cannot be found" in found["found"]
    assert "typing error" in found["remedy"]


@pytest.mark.parametrize(
    "address", ["sync.example.com", "ftp://x.example.com", "http://", "http://x:y"]
)
def test_1_address_that_is_none(synced: Any, address: str) -> None:
    exit_code, found = only(synced, "--url", address)

    assert (exit_code, found["check"]) == (3, "address")
    assert "https://" in found["remedy"]


def test_2_server_that_is_down(synced: Any) -> None:
    exit_code, found = only(synced, "--url", "http://127.0.0.1:9")

    assert (exit_code, found["check"]) == (3, "port")
    assert "nothing listens at 127.0.0.1, port 9" in found["found"]


@pytest.mark.parametrize(
    "page",
    [
        httpx2.Response(200, html="<html>Welcome to the station's Wi-Fi</html>"),
        httpx2.Response(302, headers={"location": "http://portal.example.com"}),
        httpx2.Response(511, html="<html>Log in</html>"),
    ],
)
def test_3_captive_portal(synced: Any, page: httpx2.Response) -> None:
    with serve(lambda request: page) as url:
        exit_code, found = only(synced, "--url", url)

    assert (exit_code, found["check"]) == (3, "server")
    assert "captive portal" in found["found"]
    assert "open a browser" in found["remedy"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, json={"status": "fine"}),
        httpx2.Response(404, json={"error": "no such route"}),
        httpx2.Response(200, text="hello"),
    ],
)
def test_4_another_server_answers(synced: Any, answer: httpx2.Response) -> None:
    with serve(lambda request: answer) as url:
        exit_code, found = only(synced, "--url", url)

    assert (exit_code, found["check"]) == (3, "server")
    assert "no Fieldsync server" in found["found"]


def test_5_certificate_that_nobody_signed(synced: Any, server: Any) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    with serve(server.handle, tls=tls) as url:
        exit_code, found = only(synced, "--url", url)

    assert (exit_code, found["check"]) == (3, "tls")
    assert "self-signed certificate" in found["found"]
    assert "do not go on" in found["remedy"]


def test_5_https_where_http_is_spoken(synced: Any, url: str) -> None:
    exit_code, found = only(synced, "--url", url.replace("http:", "https:"))

    assert (exit_code, found["check"]) == (3, "tls")
    assert "http://" in found["remedy"]


@pytest.mark.parametrize(
    ("ahead_s", "words"),
    [(7_200, "2 h 0 min behind the server's"), (-7_200, "2 h 0 min ahead of the server's")],
)
def test_6_clock_that_is_two_hours_off(
    synced: Any, server: Any, ahead_s: float, words: str
) -> None:
    with serve(server.handle, ahead_s=ahead_s) as url:
        exit_code, found = only(synced, "--url", url)

    assert (exit_code, found["check"], found["level"]) == (1, "clock", "warning")
    assert found["found"] == words
    assert "set the clock" in found["remedy"]


def test_6_clock_that_is_days_off(synced: Any, server: Any) -> None:
    """Then certificates seem to be over."""
    with serve(server.handle, ahead_s=3 * 86_400) as url:
        exit_code, found = only(synced, "--url", url)

    assert (exit_code, found["level"], found["found"]) == (
        3,
        "broken",
        "3 d 0 h behind the server's",
    )


def test_server_in_trouble_is_told_to_its_operator(synced: Any) -> None:
    """No setting here would help."""
    with serve(lambda request: problem(500, "internal_error")) as url:
        exit_code, found = only(synced, "--url", url)

    assert (exit_code, found["area"]) == (6, "server")
    assert "operator" in found["remedy"]


def test_server_that_is_busy_is_a_warning(synced: Any) -> None:
    """A retry does."""
    with serve(lambda request: problem(503, "busy", {"Retry-After": "9"})) as url:
        _, found = troubles(synced, "--url", url)

    assert found[0]["level"] == "warning"
    assert "busy" in found[0]["found"]


def test_app_that_is_too_old_is_told_to_update(synced: Any) -> None:
    """A login would not help."""
    with serve(lambda request: problem(426, "app_version_too_old")) as url:
        exit_code, found = only(synced, "--url", url)

    assert (exit_code, found["check"]) == (5, "app version")


def test_proxy_is_named(synced: Any) -> None:
    """What stands between is asked for names and ports then, not we."""
    proxy = "http://127.0.0.1:9"
    ending = synced("--url", "http://sync.invalid", "doctor", http_proxy=proxy, no_proxy="")

    assert ending.exit_code == 3
    assert f"through the proxy {proxy}" in ending.out
    assert "the talk broke off" in ending.out


# --- the login -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "remedy"),
    [("token_expired", "fieldsync login"), ("device_revoked", "only the office")],
)
def test_7_login_that_the_server_takes_no_more(
    synced: Any, server: Any, code: str, remedy: str
) -> None:
    server._access.clear()
    server._renew = lambda *given: problem(401, code)

    exit_code, found = only(synced)

    assert (exit_code, found["check"]) == (4, "login")
    assert code in found["found"]
    assert remedy in found["remedy"]
    assert "unsent work stays" in found["remedy"]


def test_7_nobody_is_logged_in(synced: Any) -> None:
    synced("logout")

    exit_code, found = only(synced)

    assert (exit_code, found["check"]) == (4, "login")
    assert "nobody is logged in; tess was" in found["found"]


def test_token_that_is_over_is_refreshed_and_kept(synced: Any, server: Any) -> None:
    """As any sync would do: that is no trouble."""
    server._access.clear()

    assert synced("doctor").exit_code == 0
    assert synced("sync").exit_code == 0


# --- the store -----------------------------------------------------------------------------


def test_8_no_store_there(out: Any) -> None:
    exit_code, found = only(out)

    assert (exit_code, found["check"]) == (7, "store file")
    assert str(out.store) in found["found"]
    assert "--store" in found["remedy"]
    assert not out.store.exists()


def test_8_store_that_is_damaged(synced: Any) -> None:
    """Half of it was overwritten, as a card does that comes to its end."""
    for at in range(300):
        synced_edit = {"title": f"row {at}"}
        with closing(sqlite3.connect(synced.store)) as connection, connection:
            connection.execute(
                "INSERT INTO replica VALUES ('notes', ?, 1, ?, 1)", (f"n{at}", str(synced_edit))
            )
    with closing(sqlite3.connect(synced.store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = synced.store.stat().st_size
    with synced.store.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))

    exit_code, found = troubles(synced)

    assert exit_code == 7
    assert found[-1]["check"] == "store content"
    assert "damaged" in found[-1]["found"]
    assert "keep a copy" in found[-1]["remedy"]


@pytest.mark.parametrize("content", [b"This is a shopping list. " * 99, b"\0" * 8192])
def test_8_file_that_is_no_database(out: Any, content: bytes) -> None:
    out.store.parent.mkdir()
    out.store.write_bytes(content)
    out.store.chmod(0o600)

    exit_code, found = only(out)

    assert (exit_code, found["check"]) == (7, "store content")


def test_8_database_of_another_program(out: Any) -> None:
    out.store.parent.mkdir()
    with closing(sqlite3.connect(out.store)) as connection, connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    out.store.chmod(0o600)

    exit_code, found = only(out)

    assert exit_code == 7
    assert "no store" in found["found"]


def test_8_store_of_a_newer_version(synced: Any) -> None:
    with closing(sqlite3.connect(synced.store)) as connection:
        connection.execute("PRAGMA user_version = 99")

    exit_code, found = only(synced)

    assert (exit_code, found["remedy"]) == (5, "update fieldsync")


def test_9_store_that_others_may_read(synced: Any) -> None:
    """It was copied by hand."""
    synced.store.chmod(0o644)

    exit_code, found = only(synced)

    assert (exit_code, found["check"], found["level"]) == (1, "store mode", "warning")
    assert found["remedy"] == f"chmod 600 {synced.store}"


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """This process is another user's for the time of the test."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user for a moment")
    os.seteuid(65_534)
    yield
    os.seteuid(0)


@pytest.mark.parametrize("is_hidden", [False, True])
def test_9_store_that_belongs_to_another_user(
    synced: Any, request: pytest.FixtureRequest, *, is_hidden: bool
) -> None:
    """It was made with sudo."""
    for folder in (synced.store.parent, *synced.store.parent.parents):
        folder.chmod(folder.stat().st_mode | 0o011)
    if is_hidden:
        synced.store.parent.chmod(0o700)

    request.getfixturevalue("as_nobody")
    exit_code, found = only(synced)

    assert exit_code == 7
    assert "this user may not" in found["found"]
    assert "chown" in found["remedy"]


def test_10_store_that_another_process_holds(synced: Any) -> None:
    """A program hangs with the store open."""
    with subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-c", HOLD, str(synced.store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            exit_code, found = only(synced)
        finally:
            holder.communicate(b"")

    assert (exit_code, found["check"]) == (7, "store lock")
    assert "another process" in found["found"]


def test_10_store_that_an_app_has_open(synced: Any) -> None:
    """The kiosk runs; its process is named."""
    with synced.client():
        exit_code, found = only(synced)

    assert (exit_code, found["check"]) == (7, "store lock")
    assert f"in use by process {os.getpid()}" in found["found"]
    assert found["remedy"] == "close it there first"


def test_11_disk_that_is_nearly_full(synced: Any) -> None:
    """More is asked for here than this disk has."""
    free = shutil.disk_usage(synced.store.parent).free

    (found,) = [
        each for each in check_storage(synced.store, free_bytes_min=free * 2) if each.remedy
    ]

    assert (found.check, found.level) == ("disk space", Level.WARNING)
    assert "MiB are left" in found.found


# --- the work ------------------------------------------------------------------------------


def test_12_refused_work_that_waits(synced: Any) -> None:
    synced("new", "work_orders", "title=BAD")
    synced("sync")

    exit_code, found = only(synced)

    assert (exit_code, found["check"]) == (1, "refused work")
    assert found["found"] == "1 edits were refused and wait for a decision"
    assert found["remedy"] == "fieldsync issues"


def test_13_work_that_was_never_sent(synced: Any) -> None:
    synced("new", "work_orders", "title=Pump")
    later = datetime.now(UTC) + timedelta(days=9)  # noqa: TID251  # a person looks at it then

    found = [each for each in examine(synced.store, now=lambda: later) if each.remedy]

    assert [each.check for each in found] == ["clock", "unsent work"]
    assert "has waited for 9 days" in found[1].found
    assert "fieldsync export" in found[1].remedy


def test_young_work_is_no_trouble(synced: Any) -> None:
    """It waits for the next sync."""
    synced("new", "work_orders", "title=Pump")

    assert synced("doctor").exit_code == 0


def test_14_row_that_was_altered_by_hand(synced: Any, server: Any) -> None:
    """Somebody has "repaired" the store with another program; a sync that verifies mends it."""
    with closing(sqlite3.connect(synced.store)) as connection, connection:
        connection.execute("UPDATE replica SET data = replace(data, 'Pump', 'Bump')")

    exit_code, found = only(synced)

    assert (exit_code, found["check"], found["level"]) == (7, "rows", "broken")
    assert found["found"] == "differ from the server's: work_orders"
    assert found["remedy"].startswith("fieldsync sync --verify")
    assert "1 rows mended" in synced("sync", "--verify").out
    assert synced("doctor").exit_code == 0


def test_15_pull_that_is_due(synced: Any, server: Any) -> None:
    """Then the rows cannot be compared yet."""
    server.edit("work_orders", "w1", title="theirs")

    exit_code, found = only(synced)

    assert (exit_code, found["check"], found["level"]) == (1, "rows", "warning")
    assert "pull first" in found["found"]


def test_exit_code_is_that_of_the_first_thing_to_mend(synced: Any) -> None:
    """Warnings alone are 1; what is broken comes before them."""
    synced.store.chmod(0o644)
    assert troubles(synced, "--url", "http://sync.invalid")[0] == 3

    def finding(**changes: Any) -> Finding:
        given = {"check": "x", "area": "link", "level": Level.OK, "found": "y"} | changes
        return Finding(**given)

    assert exit_of_findings([finding()]) == 0
    assert exit_of_findings([finding(level=Level.WARNING), finding()]) == 1


def test_finding_that_is_broken_is_told_even_without_a_client(out: Any, url: str) -> None:
    """The way to the server is looked at, too, where the store is not to be had."""
    checks = [each["check"] for each in out("--url", url, "doctor", "--json").document["findings"]]

    assert checks[:1] == ["store file"]
    assert "server" in checks
