"""docs/cli.md: held to the commands, both ways."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

from fieldsync.cli.app import EXITS, app
from fieldsync.cli.exits import Exit
from fieldsync.doctor import account, link, replica, storage, work
from fieldsync.doctor.finding import Check

PAGE = (Path(__file__).parents[3] / "clients/python_sdk/docs/cli.md").read_text()


def rows(title: str) -> list[list[str]]:
    """The cells of the first table of a section."""
    section = re.split(rf"^## {title}$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words(cell: str) -> set[str]:
    """The names in backticks."""
    return set(re.findall(r"`([a-z_]+)`", cell))


def documented(*commands: str) -> set[str]:
    (cell,) = [cells[1] for cells in rows("JSON") if words(cells[0]) == set(commands)]
    return words(cell)


def test_every_command_is_on_the_page_and_none_is_invented() -> None:
    """As `--help` lists them."""
    on_page = {cells[0].strip("`").split()[0] for cells in rows("Commands")}

    assert on_page == {command.name for command in app.registered_commands}


def test_every_exit_code_is_on_the_page_and_in_the_help() -> None:
    """With one number each."""
    assert [int(cells[0]) for cells in rows("Exit codes")] == list(Exit)
    assert [int(code) for code in re.findall(r"\b(\d) ", EXITS)] == list(Exit)


def test_documents_have_the_members_of_the_page(term: Any, server: Any) -> None:
    """All of them, and no others."""
    made = term.json("new", "inspections", "status=open")
    assert made.keys() == documented("show", "new", "edit")
    synced = term.json("sync")
    assert synced["status"].keys() == documented("login", "logout", "status")
    report = documented("sync") - {"report", "status"}
    assert synced["report"].keys() == report
    assert term.json("ls", "inspections").keys() == {"rows", "left_off"}

    server.edit("inspections", made["id"], status="reviewed")
    term("edit", "inspections", made["id"], "status=done")
    term("sync")
    (issue,) = term.json("issues")["issues"]
    assert issue.keys() == documented("issues") - {"issues"}
    assert term.json("discard", "1").keys() == documented("resolve", "retry", "discard")
    assert term.json("rm", "inspections", made["id"]).keys() == documented("rm")
    carried = term.json("export", str(term.store) + ".work", "--passphrase-stdin", stdin="x\n")
    assert carried.keys() == documented("export", "import")
    (finding, *_) = term.json("doctor")["findings"]
    levels = {"ok", "warning", "broken"}
    assert finding.keys() == documented("doctor") - {"findings"} - levels
    assert term.json("show", "notes", "none")["error"].keys() == {
        "code",
        "message",
        "remedy",
        "exit_code",
    }


def test_every_check_of_the_doctor_is_on_the_page() -> None:
    """By the name that a finding has."""
    on_page = {name.strip() for cells in rows("Doctor") for name in cells[1].split(",")}
    modules = (account, link, replica, storage, work)
    checks = {
        each.name
        for module in modules
        for each in vars(module).values()
        if isinstance(each, Check)
    }

    assert on_page | {"app version"} == checks


def test_file_can_be_checked_as_the_page_says(term: Any, tmp_path: Path) -> None:
    """By whoever reads it with another program."""
    term("new", "notes", "text=rust", "--id", "n1")
    file = tmp_path / "work"
    term("export", str(file), "--passphrase-stdin", stdin="\u00e9t\u00e9\n")

    head, work_line, signature, rest = file.read_text().split("\n")
    salt = bytes.fromhex(json.loads(head)["salt"])
    key = hashlib.scrypt(
        "\u00e9t\u00e9".encode(), salt=salt, n=32_768, r=8, p=3, maxmem=2**26, dklen=32
    )
    signed = f"{head}\n{work_line}\n".encode()
    assert hmac.new(key, signed, hashlib.sha256).hexdigest() == signature
    assert (len(salt), rest) == (16, "")
    told = json.loads(work_line)
    assert told["pending"][0]["data"] == {"text": "rust"}
    section = PAGE.split("### Format, version 1")[1]
    for name in (*told, *told["pending"][0], *json.loads(head)):
        assert f"{name}`" in section or f'"{name}"' in section, name
