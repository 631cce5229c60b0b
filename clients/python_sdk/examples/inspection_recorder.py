"""Records inspections at the prompt, with or without a network.

    python inspection_recorder.py http://127.0.0.1:8000 tess.db --user tess

An inspection with its answers, and a work order for each defect, stand or fall together. They are
on the disk when the last question is answered; sent now or whenever it is started next. Whatever
the server did not accept is asked about first.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import uuid
from typing import TYPE_CHECKING, Any

import fieldsync

if TYPE_CHECKING:
    from collections.abc import Sequence

TEMPLATE = "PUMP-1"
QUESTIONS = {"noise": "Does it sound right?", "seal": "Is the seal dry?", "bolts": "Bolts tight?"}
PATIENCE = fieldsync.RetryPolicy(attempts_max=2, wait_s_max=5)  # somebody is waiting


def log_in(client: fieldsync.Client, username: str) -> bool:
    """Whether somebody is logged in, now or from before."""
    if client.status().username == username:
        return True
    try:
        client.login(username, getpass.getpass(f"Password of {username}: "))
    except (fieldsync.AuthRequired, fieldsync.OtherUsersWork, fieldsync.Unreachable) as error:
        print(error)
        return False
    return True


def sync(client: fieldsync.Client) -> None:
    """Send and receive if there is a network, and say what came of it."""
    try:
        report = client.sync()
        print(f"Sent {report.pushed}, received {report.pulled}.")
    except fieldsync.Unreachable:
        print(f"No network. {client.status().unsent} unsent; they are kept.")
    except fieldsync.AuthRequired:
        print("Your login is over; start again to log in. Nothing is lost.")


def settle(client: fieldsync.Client) -> None:
    """Ask about everything that the server did not accept."""
    for issue in client.issues():
        print(f"Not accepted: {issue.op} of {issue.collection}. {issue.detail}")
        for problem in issue.errors:
            print(f"  {problem['path']}: {problem['detail']}")
        for field in issue.fields:
            theirs = (issue.theirs or {}).get(field)
            print(f"  {field}: mine {issue.mine.get(field)!r}, theirs {theirs!r}")
        try:
            answer_to(
                issue, input("Keep (m) mine or (t) theirs, (d) discard mine, (l) decide later? ")
            )
        except fieldsync.Unresolvable as error:
            print(error)


def answer_to(issue: fieldsync.Issue, answer: str) -> None:
    """Do what the person says about an issue."""
    match answer:
        case "m":
            issue.resolve("mine")
        case "t":
            issue.resolve("theirs")
        case "d":
            issue.discard()
        case _:
            print("Later, then.")


def choose_asset(client: fieldsync.Client) -> fieldsync.Row | None:
    """The asset that the person chooses from those on this device."""
    sites = {site.id: site.data["name"] for site in client.collection("sites").all()}
    assets = client.collection("assets").all()
    for number, asset in enumerate(assets, start=1):
        print(
            f"{number:3} {asset.data['category']} {asset.data['tag']}, {sites[asset.data['site']]}"
        )
    chosen = input("Which one (nothing to end)? ")
    return (
        assets[int(chosen) - 1] if chosen.isdecimal() and 0 < int(chosen) <= len(assets) else None
    )


def record(client: fieldsync.Client, asset: fieldsync.Row) -> None:
    """Ask all questions about `asset`, and keep the answers."""
    answers: list[dict[str, Any]] = []
    for code, question in QUESTIONS.items():
        is_fine = input(f"{question} [y/n] ") == "y"
        note = "" if is_fine else input("What is wrong? ")
        value = "ok" if is_fine else "defect"
        answers.append({"id": str(uuid.uuid4()), "item_code": code, "value": value, "note": note})
    with client.group(f"inspection {uuid.uuid4()}"):
        client.collection("inspections").create(
            {
                "asset": asset.id,
                "template_code": TEMPLATE,
                "status": "submitted",
                "answers": answers,
            }
        )
        for answer in answers:
            if answer["value"] == "defect":
                client.collection("work_orders").create(
                    {
                        "kind": "repair",
                        "site": asset.data["site"],
                        "asset": asset.id,
                        "title": f"{answer['item_code'].capitalize()}: {answer['note']}",
                    }
                )
    print("Recorded.")


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; the exit status."""
    parser = argparse.ArgumentParser(description="Record inspections, with or without a network.")
    parser.add_argument("url")
    parser.add_argument("store")
    parser.add_argument("--user", required=True)
    options = parser.parse_args(arguments)
    with fieldsync.Client(options.url, store=options.store, retry=PATIENCE) as client:
        if not log_in(client, options.user):
            return 1
        sync(client)
        if client.issues():
            settle(client)
            sync(client)
        while (asset := choose_asset(client)) is not None:
            record(client, asset)
            sync(client)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
