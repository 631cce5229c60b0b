"""Commands: what a person types, and what a script reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fieldsync.cli.app import app
from fieldsync.testing import Fault, problem

# --- login ---------------------------------------------------------------------------------


def test_first_login_makes_a_store_that_knows_its_server(out: Any, url: str) -> None:
    """Later commands need no address and no password."""
    ending = out.login(url)

    assert ending.exit_code == 0
    assert "tess of wales" in ending.out
    assert out.json("status")["server"] == url
    assert out("sync").exit_code == 0


def test_password_is_never_an_argument_and_never_shown(out: Any, url: str) -> None:
    """Arguments are seen by every user of a machine."""
    ending = out("--url", url, "login", "tess", "fieldsync")

    assert ending.exit_code == 2
    assert "fieldsync" not in out.login(url).out


def test_nobody_to_ask_for_a_password_is_said(out: Any, url: str) -> None:
    """A script that forgot it must not hang."""
    ending = out("--url", url, "login", "tess", stdin="")

    assert ending.exit_code == 2
    assert "--password-stdin" in ending.err
    assert not out.store.exists()


def test_wrong_password_is_exit_4_and_says_what_to_check(out: Any, url: str) -> None:
    """It is not the link, and not the store."""
    ending = out("--url", url, "login", "tess", "--password-stdin", stdin="wrong\n")

    assert ending.exit_code == 4
    assert "check the name and the password" in ending.err


def test_login_without_any_server_is_a_wrong_use(out: Any) -> None:
    """The first one needs --url."""
    assert out("login", "tess", "--password-stdin", stdin="fieldsync\n").exit_code == 2


def test_logout_keeps_the_work(term: Any) -> None:
    """And the next command that needs the server says what to do."""
    term("new", "notes", "text=rust")

    after = term.json("logout")

    assert (after["is_logged_in"], after["pending"], after["username"]) == (False, 1, "tess")
    assert "logged out" in term("status").out
    ending = term("sync")
    assert ending.exit_code == 4
    assert "fieldsync login" in ending.err


def test_another_user_cannot_take_over_unsent_work(term: Any, url: str) -> None:
    """It is never sent in their name."""
    term("new", "notes", "text=rust")

    ending = term.login(url, "tom")

    assert ending.exit_code == 1
    assert "unsent mutations" in ending.err


# --- rows ----------------------------------------------------------------------------------


def test_row_is_made_edited_shown_listed_and_deleted_without_a_link(
    term: Any, server: Any
) -> None:
    """All of it is on the disk when the command returns."""
    made = term.json("new", "work_orders", "title=Pump 3", "priority=2", 'tasks=[{"id": "t1"}]')
    assert made["data"] == {"title": "Pump 3", "priority": 2, "tasks": [{"id": "t1"}]}
    assert (made["version"], made["is_pending"]) == (None, True)

    edited = term.json("edit", "work_orders", made["id"], "priority=1", 'code="17"')
    assert (edited["data"]["priority"], edited["data"]["code"]) == (1, "17")
    assert term.json("show", "work_orders", made["id"]) == edited
    assert term.json("ls", "work_orders")["rows"] == [edited]
    assert "Pump 3" in term("ls", "work_orders").out

    assert term("sync").exit_code == 0
    assert server.live("work_orders")[made["id"]]["priority"] == 1
    assert term.json("rm", "work_orders", made["id"]) == {
        "collection": "work_orders",
        "id": made["id"],
    }
    term("sync")
    assert server.live("work_orders") == {}


def test_fields_come_from_a_file_or_a_pipe_too(term: Any, tmp_path: Path) -> None:
    """What is typed wins over what the file says."""
    file = tmp_path / "row.json"
    file.write_text('{"title": "from a file", "priority": 3}')

    from_file = term.json("new", "work_orders", "--from", str(file), "priority=1")
    piped = term.json("new", "work_orders", "--from", "-", stdin='{"title": "piped"}')

    assert from_file["data"] == {"title": "from a file", "priority": 1}
    assert piped["data"] == {"title": "piped"}


def test_list_is_narrowed_by_fields_and_limited(term: Any) -> None:
    """And says how much it leaves off."""
    for at in range(3):
        term("new", "work_orders", f"title=t{at}", "priority=1", "--id", f"w{at}")
    term("new", "work_orders", "title=other", "priority=2", "--id", "w9")

    found = term.json("ls", "work_orders", "--where", "priority=1", "--limit", "2")

    assert [row["id"] for row in found["rows"]] == ["w0", "w1"]
    assert found["left_off"] == 1
    assert "1 more" in term("ls", "work_orders", "--where", "priority=1", "--limit", "2").err
    both = term.json("ls", "work_orders", "--where", "priority=1", "--where", "title=t2")
    assert [row["id"] for row in both["rows"]] == ["w2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("new", "notes", "text"),                    "field=value"),
        (("new", "notes", "=rust"),                   "field=value"),
        (("new", "notes", "text=a", "text=b"),        "twice"),
        (("new", "notes"),                            "no field"),
        (("edit", "notes", "n1"),                     "no field"),
        (("new", "notes", "--from", "-"),             "no JSON object"),
        (("ls", "notes", "--where", "text"),          "field=value"),
        (("resolve", "7", "--keep", "mine", "--keep", "a=1"), "open"),
    ],
)  # fmt: skip
def test_what_is_typed_wrong_is_said(term: Any, words: tuple[str, ...], said: str) -> None:
    """With what would be right, and nothing done."""
    ending = term(*words, stdin="[1]")

    assert ending.exit_code in {1, 2}
    assert said.lower() in ending.err.lower()
    assert ending.out == ""
    assert term.json("status")["pending"] == 0


def test_row_that_is_not_here_is_refused(term: Any) -> None:
    """Show, edit and delete alike."""
    for words in (("show", "notes", "n1"), ("edit", "notes", "n1", "a=1"), ("rm", "notes", "n1")):
        ending = term(*words)
        assert (ending.exit_code, ending.out) == (1, "")
        assert "is not on this device" in ending.err
        assert "fieldsync ls" in ending.err


def test_text_of_a_row_is_never_markup(term: Any) -> None:
    """Whoever writes a note must not colour, hide or move what others read."""
    term("new", "notes", "text=[red]stop[/red] [link=http://x]y[/link]", "--id", "n1")

    for words in (("ls", "notes"), ("show", "notes", "n1")):
        assert "[red]stop[/red] [link=http://x]y[/link]" in term(*words).out


def test_list_is_sorted_and_compared(term: Any) -> None:
    """Operators are those of queries; a field may be called like one of the options."""
    for at in range(3):
        term("new", "work_orders", f"priority={at}", f"limit={at}", "--id", f"w{at}")

    found = term.json("ls", "work_orders", "--where", "priority__gt=0", "--order", "-priority")

    assert [row["id"] for row in found["rows"]] == ["w2", "w1"]
    (row,) = term.json("ls", "work_orders", "--where", "limit=1")["rows"]
    assert row["id"] == "w1"
    assert "operator" in term("ls", "work_orders", "--where", "priority__near=1").err


def test_edit_that_was_not_sent_is_undone(term: Any, server: Any) -> None:
    """And one that was sent is not."""
    made = term.json("new", "work_orders", "title=Pump")["id"]
    term("sync")
    term("edit", "work_orders", made, "title=Valve")

    undone = term.json("undo", "work_orders", made)

    assert undone["undone"] == {"op": "update", "data": {"title": "Valve"}}
    assert term.json("show", "work_orders", made)["data"]["title"] == "Pump"
    assert "nothing to undo" in term("undo", "work_orders", made).out


def test_store_that_an_app_has_open_is_exit_7(term: Any) -> None:
    """It says which process that is; nothing is read half-way."""
    with term.client():
        ending = term("status")

    assert ending.exit_code == 7
    assert "in use by process" in ending.err


# --- sync ----------------------------------------------------------------------------------


def test_sync_says_what_went_and_came(term: Any, server: Any) -> None:
    """For people, and as counts."""
    term("new", "work_orders", "title=Pump")

    ending = term.json("sync")

    assert ending["report"]["outcomes"] == {"created": 1}
    assert ending["report"]["pulled"] == 1
    assert ending["status"]["pending"] == 0
    server.edit("work_orders", next(iter(server.live("work_orders"))), title="x")
    assert "1 changes" in term("sync").out


@pytest.mark.parametrize(
    ("answer", "exit_code", "remedy"),
    [
        (httpx2.Response(200, html="<html>Wi-Fi</html>"), 3, "fieldsync doctor"),
        (problem(503, "busy", {"Retry-After": "9"}),       3, "try again later"),
        (problem(401, "device_revoked"),                  4, "fieldsync login"),
        (problem(426, "app_version_too_old"),             5, "update fieldsync"),
        (problem(500, "internal_error"),                  6, "operator"),
    ],
)  # fmt: skip
def test_each_trouble_has_its_exit_code_and_its_remedy(
    term: Any, server: Any, answer: Any, exit_code: int, remedy: str
) -> None:
    """A script can tell them apart; a person reads what to do. The work is kept."""
    term("new", "work_orders", "title=Pump")
    server._route = lambda *given: answer

    ending = term("sync", "--wait", "0")
    told = term("sync", "--wait", "0", "--json")

    assert (ending.exit_code, ending.out) == (exit_code, "")
    assert remedy in ending.err
    assert "Traceback" not in ending.err
    assert told.exit_code == told.document["error"]["exit_code"] == exit_code
    assert told.document["error"]["remedy"] in ending.err
    status = term.json("status")
    assert status["pending"] + status["sent"] == 1


def test_sync_in_a_terminal_shows_how_far_it_is(term: Any) -> None:
    """On the side of errors: what was asked for stays clean."""
    term("new", "work_orders", "title=Pump")

    ending = term("sync", FORCE_COLOR="1", TERM="xterm")

    assert "Sending" in ending.err
    assert "Fetching" in ending.err
    assert "Fetching" not in ending.out
    assert term("sync").err == ""


def test_no_server_there_is_exit_3(term: Any) -> None:
    """A closed port."""
    assert term("--url", "http://127.0.0.1:9", "sync", "--wait", "0").exit_code == 3


def test_no_store_there_asks_for_a_login(out: Any) -> None:
    """Reading must not make an empty store in a folder that was mistyped."""
    for words in (("status",), ("ls", "notes"), ("sync",), ("issues",), ("logout",)):
        ending = out(*words)
        assert ending.exit_code == 4
        assert str(out.store) in ending.err
    assert not out.store.exists()


def test_file_that_is_no_store_is_exit_7(out: Any) -> None:
    """As are folders that may not be written to."""
    out.store.parent.mkdir()
    out.store.write_text("This is a shopping list, not a database." * 100)

    ending = out("status")

    assert ending.exit_code == 7
    assert "fieldsync doctor" in ending.err


# --- refused work --------------------------------------------------------------------------


@pytest.fixture
def refused(term: Any, server: Any) -> str:
    """The id of a form whose status both tess and the office changed."""
    row: str = term.json("new", "inspections", "status=open", "note=-")["id"]
    term("sync")
    server.edit("inspections", row, status="reviewed")
    term("edit", "inspections", row, "status=done", "note=leak")
    assert term("sync").exit_code == 1
    return row


def test_refused_work_is_exit_1_and_told_in_full(term: Any, refused: str) -> None:
    """A script notices, and a person sees both sides."""
    assert term("status").exit_code == term("sync").exit_code == 1
    listed = term("issues")
    assert listed.exit_code == 1
    assert refused in listed.out
    (issue,) = term.json("issues")["issues"]
    assert (issue["mine"]["status"], issue["theirs"]["status"]) == ("done", "reviewed")
    full = term("issues", str(issue["id"]))
    for word in ("done", "reviewed", "open", "leak"):
        assert word in full.out


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("resolve", "1", "--keep", "mine"),                               "done"),
        (("resolve", "1", "--keep", "theirs"),                             "reviewed"),
        (("resolve", "1", "--keep", "status=both", "--keep", "note=x"),    "both"),
        (("discard", "1"),                                                 "reviewed"),
    ],
)  # fmt: skip
def test_refused_work_is_settled(
    term: Any, server: Any, refused: str, words: tuple[str, ...], status: str
) -> None:
    """Then the exit code is 0 again, and the choice reaches the server."""
    assert term(*words).exit_code == 0

    assert term("sync").exit_code == 0
    assert server.live("inspections")[refused]["status"] == status
    ending = term(*words)
    assert ending.exit_code == 1
    assert "already settled" in ending.err


def test_retry_sends_refused_work_again(term: Any, server: Any, refused: str) -> None:
    """On the same base, a conflict is one again."""
    assert term.json("retry", "1") == {"id": 1, "collection": "inspections", "queued": refused}

    assert term("sync").exit_code == 1


# --- moving work ---------------------------------------------------------------------------


def test_work_moves_in_a_file(term: Any, url: str, server: Any, tmp_path: Path) -> None:
    """From one store to another of the same user; the passphrase comes by stdin in scripts."""
    term("new", "work_orders", "title=Pump", "--id", "w1")
    file = tmp_path / "work"

    exported = term.json("export", str(file), "--passphrase-stdin", stdin="secret\n")
    assert (exported["pending"], exported["file"]) == (1, str(file))
    other = type(term)(tmp_path / "other.db")
    other.login(url)
    assert other("import", str(file), "--passphrase-stdin", stdin="wrong\n").exit_code == 1
    assert other.json("import", str(file), "--passphrase-stdin", stdin="secret\n")["pending"] == 1
    other("sync")

    assert server.live("work_orders")["w1"] == {"title": "Pump", "number": "WO-1"}


def test_export_overwrites_nothing_unless_forced(term: Any, tmp_path: Path) -> None:
    """The older file may be the only copy of something."""
    file = tmp_path / "work"
    file.write_text("precious")

    ending = term("export", str(file), "--passphrase-stdin", stdin="secret\n")

    assert (ending.exit_code, file.read_text()) == (2, "precious")
    assert term("export", str(file), "--passphrase-stdin", "--force", stdin="s\n").exit_code == 0


def test_clash_at_import_is_exit_1(term: Any, url: str, tmp_path: Path) -> None:
    """A person has to decide."""
    term("new", "work_orders", "title=Pump", "--id", "w1")
    term("sync")
    other = type(term)(tmp_path / "other.db")
    other.login(url)
    other("sync")
    term("edit", "work_orders", "w1", "title=one")
    other("edit", "work_orders", "w1", "title=two")
    file = tmp_path / "work"
    term("export", str(file), "--passphrase-stdin", stdin="s\n")

    ending = other("import", str(file), "--passphrase-stdin", stdin="s\n")

    assert ending.exit_code == 1
    assert "fieldsync issues" in ending.out


def test_file_that_is_not_there_is_exit_7(term: Any, tmp_path: Path) -> None:
    """Not a wrong passphrase."""
    ending = term("import", str(tmp_path / "none"), "--passphrase-stdin", stdin="s\n")

    assert ending.exit_code == 7


# --- output --------------------------------------------------------------------------------


def test_json_is_one_document_and_nothing_else(term: Any, refused: str) -> None:
    """Whatever the command, and whether it ends well."""
    ends = [
        term("status", "--json"),
        term("sync", "--json"),
        term("ls", "inspections", "--json"),
        term("ls", "inspections", "--limit", "1", "--json"),
        term("show", "inspections", refused, "--json"),
        term("show", "inspections", "none", "--json"),
        term("issues", "--json"),
        term("discard", "1", "--json"),
        term("discard", "1", "--json"),
    ]

    for ending in ends:
        assert isinstance(json.loads(ending.out), dict)
        assert ending.err == ""


def test_pipe_gets_whole_ids_and_no_colours(term: Any) -> None:
    """`fieldsync ls … | grep` must not meet a table cut to the width of a terminal."""
    made = term.json("new", "work_orders", "title=" + "x" * 50, "other=" + "y" * 50)

    listed = term("ls", "work_orders", COLUMNS="20").out

    assert made["id"] in listed
    assert "x" * 50 in listed
    assert "\x1b" not in listed


def test_no_color_is_obeyed_where_colours_would_be(term: Any, refused: str) -> None:
    """By a person who cannot read them."""
    assert "\x1b[3" in term("status", FORCE_COLOR="1", TERM="xterm").out
    assert "\x1b[3" not in term("status", FORCE_COLOR="1", TERM="xterm", NO_COLOR="1").out


def test_every_command_has_help_with_a_sentence(out: Any) -> None:
    """And help needs no store."""
    names = {command.name for command in app.registered_commands}
    assert len(names) >= 16
    for name in names:
        ending = out(str(name), "--help")
        assert ending.exit_code == 0
        assert "Usage" in ending.out
    assert "Exit codes" in out("--help").out


def test_version_is_told(out: Any) -> None:
    """A support line asks for it first."""
    assert out("--version").out.startswith("fieldsync 0")


# --- the keyring ---------------------------------------------------------------------------


def test_keyring_that_is_not_there_is_said(out: Any, url: str) -> None:
    """A machine without a desktop has none: nothing is stored in its place."""
    ending = out(
        "--url", url, "--keyring", "login", "tess", "--password-stdin",
        stdin="fieldsync\n",
        PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring",
    )  # fmt: skip

    assert ending.exit_code == 4
    assert "unlock the keyring" in ending.err
    assert not out.json("status")["is_logged_in"]


def test_answer_that_is_lost_is_not_work_done_twice(term: Any, server: Any) -> None:
    """The command just goes on; what was repeated is told."""
    term("new", "work_orders", "title=Pump")
    server.faults.append(Fault.LOST_ANSWER)

    ending = term("sync")

    assert ending.exit_code == 0
    assert "1 requests" in ending.out
    assert len(server.applied) == 1
