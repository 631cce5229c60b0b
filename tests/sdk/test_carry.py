"""Carrying: unsent work in a signed file. Nothing of it is lost, doubled, or sent as another's."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fieldsync
from fieldsync import workfile
from fieldsync.testing import Fault

WORDS = "correct horse battery staple"
ORDER = {"title": "Replace the pump seal", "priority": 3}


@pytest.fixture(autouse=True)
def _cheap_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase costs a second here otherwise, at each use."""
    monkeypatch.setitem(workfile.SCRYPT, "n", 2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where work is exported to."""
    return tmp_path / "work.fieldsync"


def lose_answers(server: Any, phone: Any) -> None:
    """A sync whose push reaches the server, and whose answers never come back."""
    server.faults.extend([Fault.LOST_ANSWER] * 6)
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    server.faults.clear()


def counts(report: Any) -> dict[str, int]:
    return {name: getattr(report, name) for name in report.__slots__ if getattr(report, name)}


def test_broken_tablet_goes_on_where_its_owner_logs_in_next(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """Every kind of unsent work arrives: pending, on its way, and refused."""
    phone["work_orders"].create({"title": "BAD"}, id="refused")
    phone.sync()
    phone["work_orders"].create(ORDER, id="sent")
    phone["work_orders"].create(ORDER, id="also sent")
    lose_answers(server, phone)
    phone["work_orders"].create(ORDER, id="pending")

    exported = phone.client.export_work(file, WORDS)
    imported = second.client.import_work(file, WORDS)
    second.sync()

    assert counts(exported) == counts(imported) == {"sent": 2, "pending": 1, "issues": 1}
    assert [(op, row) for _, _, op, row in server.applied] == [
        ("create", "sent"),
        ("create", "also sent"),
        ("create", "pending"),
    ]
    (issue,) = second.client.issues()
    assert (issue.row_id, issue.mine) == ("refused", {"title": "BAD"})
    assert second.view("work_orders") == server.live("work_orders")


def test_work_stays_where_it_was_exported(phone: Any, server: Any, file: Path) -> None:
    """A file may get lost."""
    phone["work_orders"].create(ORDER, id="w1")
    before = phone.client.status()

    phone.client.export_work(file, WORDS)

    assert phone.client.status() == before
    phone.sync()
    assert server.live("work_orders").keys() == {"w1"}


def test_batch_keeps_its_key_and_its_bytes(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """Where the device is the same one, the server knows the key, and answers from its receipts."""
    phone["work_orders"].create({"title": "Grüße"}, id="w1")
    lose_answers(server, phone)
    phone.client.export_work(file, WORDS)

    second.client.import_work(file, WORDS)
    second.sync()

    assert len(set(server.pushes())) == 1


def test_carried_batch_waits_behind_what_is_on_its_way(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """Whoever was first stays first."""
    phone["work_orders"].create(ORDER, id="w1")
    lose_answers(server, phone)
    phone.client.export_work(file, WORDS)
    second["work_orders"].create(ORDER, id="w2")
    lose_answers(server, second)
    carried, own = dict.fromkeys(server.pushes())

    second.client.import_work(file, WORDS)
    second.sync()

    assert server.pushes()[-2:] == [own, carried]


def test_restored_phone_gets_its_batch_back_and_the_server_answers_it_again(
    phone: Any, server: Any, file: Path
) -> None:
    """The batch was answered after the export: the same key finds the same answer."""
    phone["work_orders"].create(ORDER, id="w1")
    server.faults.extend([Fault.CUT_BEFORE] * 6)
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    phone.client.export_work(file, WORDS)
    phone.sync()
    server.edit("work_orders", "w1", title="Theirs")
    phone.sync()

    phone.client.import_work(file, WORDS)
    report = phone.sync()

    assert (report.replays, report.issues) == (1, 0)
    assert len(server.applied) == 1
    assert phone.view("work_orders") == server.live("work_orders")
    assert server.live("work_orders")["w1"]["title"] == "Theirs"


def test_importing_twice_changes_nothing(phone: Any, second: Any, server: Any, file: Path) -> None:
    """The same file at once, after its work was sent, and after its issues were settled."""
    phone["work_orders"].create({"title": "BAD"}, id="refused")
    phone.sync()
    phone["work_orders"].create(ORDER, id="w1")
    phone.client.export_work(file, WORDS)

    second.client.import_work(file, WORDS)
    before = second.client.status()
    again = second.client.import_work(file, WORDS)
    assert counts(again) == {"known": 2}
    assert second.client.status() == before
    for issue in second.client.issues():
        issue.discard()
    second.sync()
    second.client.import_work(file, WORDS)

    assert second.client.issues() == []
    assert second.client.status().pending == 0
    assert len(server.applied) == 1


def test_two_files_of_the_same_work_are_one_work(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """Exported at nine and again at ten: the later state of each edit is what counts."""
    phone["work_orders"].create({"title": "BAD"}, id="refused")
    phone.sync()
    orders = phone["work_orders"]
    orders.create({"title": "nine"}, id="w1")
    phone.client.export_work(file, WORDS)
    orders.update("w1", {"title": "ten"})
    later = file.with_name("later")
    phone.client.export_work(later, WORDS)

    second.client.import_work(file, WORDS)
    assert counts(second.client.import_work(later, WORDS)) == {"pending": 1, "known": 1}
    second.client.import_work(file, WORDS)
    third = file.with_name("third")
    second.client.export_work(third, WORDS)
    assert counts(phone.client.import_work(third, WORDS)) == {"known": 2}
    second.sync()

    assert len(second.client.issues()) == 1
    assert server.live("work_orders")["w1"]["title"] == "ten"


def test_work_that_was_sent_meanwhile_is_not_sent_again(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """The old tablet came to life once more; the new one has pulled what it did."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.client.export_work(file, WORDS)
    phone.sync()
    second.sync()

    report = second.client.import_work(file, WORDS)
    second.sync()

    assert counts(report) == {"known": 1}
    assert len(server.pushes()) == 1


def test_work_sent_meanwhile_and_edited_by_others_overwrites_nothing(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """The server sees the old base, and asks."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.sync()
    phone["work_orders"].update("w1", {"title": "mine"})
    phone.client.export_work(file, WORDS)
    phone.sync()
    server.edit("work_orders", "w1", title="theirs")
    second.sync()

    second.client.import_work(file, WORDS)
    second.sync()

    assert server.live("work_orders")["w1"]["title"] == "theirs"
    (issue,) = second.client.issues()
    assert (issue.outcome, issue.mine) == ("conflict", {"title": "mine"})


@pytest.mark.parametrize("pulls_first", [False, True])
def test_edit_behind_a_batch_that_arrived_is_no_conflict(
    phone: Any, second: Any, server: Any, file: Path, *, pulls_first: bool
) -> None:
    """The answer was lost, the row edited again: on the new device both are one history."""
    phone["inspections"].create({"status": "open", "note": ""}, id="i1")
    lose_answers(server, phone)
    phone["inspections"].update("i1", {"status": "done"})
    phone.client.export_work(file, WORDS)
    if pulls_first:
        second.sync()

    second.client.import_work(file, WORDS)
    second.sync()

    assert second.client.issues() == []
    assert server.live("inspections")["i1"]["status"] == "done"


def test_edit_that_takes_back_what_is_on_its_way_is_not_taken_for_done(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """The row is as the last edit wants it only until the one before arrives."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.sync()
    second.sync()
    phone["work_orders"].update("w1", {"priority": 1})
    server.faults.extend([Fault.CUT_BEFORE] * 6)
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    phone["work_orders"].update("w1", {"priority": ORDER["priority"]})
    phone.client.export_work(file, WORDS)

    second.client.import_work(file, WORDS)
    second.sync()

    assert server.live("work_orders")["w1"]["priority"] == ORDER["priority"]


def test_store_from_a_backup_takes_the_rest_of_its_own_work(
    phone: Any, new_phone: Any, server: Any, file: Path
) -> None:
    """The batch was on its way when the backup was made; later edits of its row stand behind it."""
    phone["work_orders"].create(ORDER, id="w1")
    lose_answers(server, phone)
    old = new_phone(None)
    phone.client._engine._store.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old.client.close()
    shutil.copy(phone.path, old.path)
    old.client = old._start()
    phone["work_orders"].update("w1", {"title": "later"})
    phone.client.export_work(file, WORDS)

    report = old.client.import_work(file, WORDS)
    old.sync()

    assert counts(report) == {"known": 1, "pending": 1}
    assert old.client.issues() == []
    assert server.live("work_orders")["w1"]["title"] == "later"


def test_row_made_and_deleted_around_a_lost_answer_stays_deleted(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """The create may have been applied, so its deletion is not nothing."""
    phone["work_orders"].create(ORDER, id="w1")
    lose_answers(server, phone)
    phone["work_orders"].delete("w1")
    phone.client.export_work(file, WORDS)
    second["work_orders"].create({"title": "other"}, id="w2")
    second.sync()

    second.client.import_work(file, WORDS)
    second.sync()

    assert server.live("work_orders").keys() == {"w2"}


def test_what_was_acked_and_never_seen_survives_a_restore_of_the_server(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """An ack is no echo: the backup that the server went back to may be older."""
    backup = server.backup()
    phone["work_orders"].create(ORDER, id="w1")
    phone.push()
    phone["work_orders"].update("w1", {"priority": 1})
    phone.push()
    assert phone.client.status().acked_unseen == 2
    phone.client.export_work(file, WORDS)
    server.restore(backup)
    second.sync()

    second.client.import_work(file, WORDS)
    second.sync()

    row = server.live("work_orders")["w1"]
    assert (row["title"], row["priority"]) == (ORDER["title"], 1)


def test_what_was_acked_and_seen_is_not_sent_again(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """The other device shows it already."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.push()
    phone.client.export_work(file, WORDS)
    second.sync()

    assert counts(second.client.import_work(file, WORDS)) == {"known": 1}


def test_what_was_acked_and_seen_is_done_also_if_others_went_on(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """The row is not any more what the edit made of it, and that is no conflict."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.push()
    phone.client.export_work(file, WORDS)
    server.edit("work_orders", "w1", title="theirs")
    second.sync()

    assert counts(second.client.import_work(file, WORDS)) == {"known": 1}
    second.sync()

    assert second.client.issues() == []


def test_row_acked_and_deleted_again_is_deleted(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """The server has it: to make and delete it was not to do nothing."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.push()
    phone["work_orders"].delete("w1")
    phone.client.export_work(file, WORDS)

    second.client.import_work(file, WORDS)
    second.sync()

    assert server.live("work_orders") == {}


def test_other_fields_of_a_row_edited_on_both_devices_go_together(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """One edit here, one there, on different fields: both are what the user wants."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.sync()
    second.sync()
    phone["work_orders"].update("w1", {"title": "from the old one"})
    second["work_orders"].update("w1", {"priority": 1})
    phone.client.export_work(file, WORDS)

    second.client.import_work(file, WORDS)
    second.sync()

    row = server.live("work_orders")["w1"]
    assert (row["title"], row["priority"]) == ("from the old one", 1)


@pytest.mark.parametrize(
    ("keep", "title"),
    [("mine", "old device"), ("theirs", "new device"), ("nothing", "new device")],
)
def test_same_field_edited_on_both_devices_is_a_question(
    phone: Any, second: Any, server: Any, file: Path, keep: str, title: str
) -> None:
    """No clock decides, and neither edit vanishes without a word."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.sync()
    second.sync()
    phone["work_orders"].update("w1", {"title": "old device"})
    second["work_orders"].update("w1", {"title": "new device"})
    phone.client.export_work(file, WORDS)

    report = second.client.import_work(file, WORDS)

    assert counts(report) == {"clashes": 1}
    (issue,) = second.client.issues()
    assert (issue.code, issue.fields) == ("edited_here_too", ["title"])
    assert (issue.mine["title"], issue.theirs["title"]) == ("old device", "new device")
    if keep != "nothing":
        issue.resolve(keep=keep)
    second.sync()
    assert server.live("work_orders")["w1"]["title"] == title


def test_edit_chosen_over_a_deletion_that_waits_undoes_the_deletion(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """To keep "mine" means that the row is to live."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.sync()
    second.sync()
    phone["work_orders"].update("w1", {"title": "worth keeping"})
    second["work_orders"].delete("w1")
    phone.client.export_work(file, WORDS)

    second.client.import_work(file, WORDS)
    (issue,) = second.client.issues()
    issue.resolve(keep="mine")
    second.sync()

    assert server.live("work_orders")["w1"]["title"] == "worth keeping"


def test_row_on_its_way_here_does_not_carry_the_imported_edit_along(
    phone: Any, second: Any, server: Any, file: Path
) -> None:
    """Its answer would move the base of the imported edit over what others did meanwhile."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.sync()
    second.sync()
    phone["work_orders"].update("w1", {"title": "old device"})
    phone.client.export_work(file, WORDS)
    server.edit("work_orders", "w1", title="office")
    second.sync()
    second["work_orders"].update("w1", {"priority": 1})
    lose_answers(server, second)

    assert counts(second.client.import_work(file, WORDS)) == {"clashes": 1}
    second.sync()

    assert server.live("work_orders")["w1"]["title"] == "office"


def test_group_stays_whole(phone: Any, second: Any, server: Any, file: Path) -> None:
    """A visit is applied by the server whole or not at all, wherever it is sent from."""
    with phone.client.group("visit-17"):
        phone["work_orders"].create({"title": "BAD"}, id="w1")
        phone["work_orders"].create(ORDER, id="w2")
    phone.client.export_work(file, WORDS)

    second.client.import_work(file, WORDS)
    second.sync()

    assert server.live("work_orders") == {}
    assert {issue.row_id for issue in second.client.issues()} == {"w1", "w2"}


# --- the file ------------------------------------------------------------------------------


def test_work_of_somebody_else_is_not_taken(
    phone: Any, new_phone: Any, server: Any, file: Path
) -> None:
    """It would go out in the wrong name."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.client.export_work(file, WORDS)
    tom = new_phone("tom")

    with pytest.raises(fieldsync.WorkOfAnother, match="tess of wales"):
        tom.client.import_work(file, WORDS)

    assert tom.client.status().pending == 0


def test_nobodys_store_neither_gives_nor_takes(phone: Any, new_phone: Any, file: Path) -> None:
    """Work belongs to a user."""
    nobody = new_phone(None)
    phone.client.export_work(file, WORDS)

    with pytest.raises(fieldsync.AuthRequired, match="log in first"):
        nobody.client.import_work(file, WORDS)
    with pytest.raises(fieldsync.AuthRequired, match="log in first"):
        nobody.client.export_work(file, WORDS)


def test_every_byte_of_the_file_is_signed(phone: Any, second: Any, file: Path) -> None:
    """Whoever changes a work order on the way is noticed, whichever byte it is."""
    phone["work_orders"].create(ORDER, id="w1")
    phone.client.export_work(file, WORDS)
    whole = file.read_bytes()
    ends = [at for at, byte in enumerate(whole) if byte == 0x0A]
    middles = [whole.index(b"wales"), whole.index(b"pump"), ends[1] + 5]

    for at in [12, ends[0] - 4, ends[0], *middles, ends[1]]:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(fieldsync.WorkUnreadable):
            second.client.import_work(file, WORDS)
    for part in (b"", whole[: ends[0]], whole[: ends[1] + 1], whole[:-9]):
        file.write_bytes(part)
        with pytest.raises(fieldsync.WorkUnreadable):
            second.client.import_work(file, WORDS)

    assert second.client.status().pending == 0


def test_wrong_passphrase_is_noticed(phone: Any, second: Any, file: Path) -> None:
    """And an empty one protects nothing."""
    phone.client.export_work(file, WORDS)

    with pytest.raises(fieldsync.WorkUnreadable, match="passphrase"):
        second.client.import_work(file, "wrong")
    with pytest.raises(ValueError, match="empty"):
        phone.client.export_work(file, "")


def test_passphrase_is_the_same_however_it_is_typed(phone: Any, file: Path) -> None:
    """One keyboard composes an accent, another sends it by itself."""
    phone.client.export_work(file, "\u00e9t\u00e9")

    phone.client.import_work(file, "e\u0301te\u0301")


def test_file_of_a_later_version_asks_for_an_update(phone: Any, file: Path) -> None:
    """Not for another passphrase."""
    phone.client.export_work(file, WORDS)
    head, rest = file.read_bytes().split(b"\n", 1)
    newer = json.dumps({**json.loads(head), "version": 2}).encode()
    file.write_bytes(newer + b"\n" + rest)

    with pytest.raises(fieldsync.UpgradeRequired, match="version 2"):
        phone.client.import_work(file, WORDS)


def test_file_is_its_owners_and_whole(phone: Any, file: Path) -> None:
    """It holds customers' data; and a full disk leaves no half of it."""
    phone.client.export_work(file, WORDS)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (folder := file.with_name("folder.work")).mkdir()
    with pytest.raises(OSError, match="irectory"):
        phone.client.export_work(folder, WORDS)
    assert {path.name for path in file.parent.glob("*work*")} == {file.name, folder.name}
    with pytest.raises(FileNotFoundError):
        phone.client.export_work(file.parent / "nowhere" / "x", WORDS)


def test_guess_at_the_passphrase_is_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests make cheap is not cheap as it is delivered."""
    monkeypatch.undo()

    cost = workfile.SCRYPT["n"] * workfile.SCRYPT["r"] * workfile.SCRYPT["p"]
    assert cost >= 2**15 * 8 * 3


def test_who_never_exports_does_not_wait_for_what_signs() -> None:
    """The SDK is imported in a moment, on slow devices too."""
    code = "import sys, fieldsync; print(sorted(sys.modules))"
    told = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    for name in ("fieldsync.workfile", "fieldsync.cli", "fieldsync.doctor", "typer", "keyring"):
        assert f"'{name}'" not in told.stdout
