"""Work: export and import of unsent work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldsync.cli.exits import Exit, Refusal
from fieldsync.cli.options import AsJson, ask_secret
from fieldsync.cli.output import make_facts, to_document
from fieldsync.cli.run import running

if TYPE_CHECKING:
    from fieldsync.cli.run import Run
    from fieldsync.engine.report import CarryReport

PassphraseStdin = Annotated[
    bool, typer.Option("--passphrase-stdin", help="Read the passphrase from standard input.")
]


def export_work(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    passphrase_stdin: PassphraseStdin = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write unsent and refused work to a signed file. It stays here as well.

    The file can be read by whoever has it; the passphrase keeps it from being changed.
    """
    with running(ctx, as_json=as_json) as run:
        if file.exists() and not force:
            raise Refusal(Exit.USAGE, "file_exists", f"{file} is there already", "add --force")
        with run.client() as client:
            passphrase = ask_secret("Passphrase", from_stdin=passphrase_stdin, is_new=True)
            _tell(run, client.export_work(file, passphrase), file)


def import_work(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `export` wrote.")],
    passphrase_stdin: PassphraseStdin = False,
    as_json: AsJson = False,
) -> None:
    """Take over unsent work from a file. Safe to repeat.

    Log in first, as the user whose work it is; after a sync less of it is left to send.
    """
    with running(ctx, as_json=as_json) as run, run.client() as client:
        passphrase = ask_secret("Passphrase", from_stdin=passphrase_stdin)
        report = client.import_work(file, passphrase)
        _tell(run, report, file)
        if report.clashes:
            run.exit_code = Exit.REFUSED


def _tell(run: Run, report: CarryReport, file: Path) -> None:
    facts = [
        ("File", str(file)),
        ("Sent, without an answer", report.sent),
        ("Pending", report.pending),
        ("Applied, not seen again", report.acked_unseen),
        ("Refused", report.issues),
        ("Known before", report.known),
        ("Edited here too: fieldsync issues", report.clashes),
    ]
    told = [fact for fact in facts if fact[1] != 0]
    run.output.show(to_document(report, file=str(file)), make_facts(told))


COMMANDS: dict[str, Callable[..., None]] = {"export": export_work, "import": import_work}
