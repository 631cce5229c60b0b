"""Syncing: login, logout, sync, watch, status."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from fieldsync.cli.exits import Exit
from fieldsync.cli.options import WAIT_S, AsJson, Wait, ask_secret
from fieldsync.cli.output import make_facts, to_document
from fieldsync.cli.run import running
from fieldsync.cli.watch import watch as watch_client
from fieldsync.client import POLL_S

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fieldsync.cli.run import Run
    from fieldsync.client import Client
    from fieldsync.engine.report import Status, SyncReport


def login(
    ctx: typer.Context,
    username: Annotated[str, typer.Argument(metavar="NAME", help="Who you are.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    wait: Wait = WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Log in; the store keeps you logged in.

    The first login needs --url. Unsent work of somebody else is never sent as yours: their login
    comes first.
    """
    with running(ctx, as_json=as_json) as run:
        password = ask_secret("Password", from_stdin=password_stdin)
        with run.client(is_new=True, wait_s=wait) as client:
            client.login(username, password)
            _show_status(run, client)


def logout(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Forget the login. Unsent work stays."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        client.logout()
        _show_status(run, client)


def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """How the store stands: who is logged in, and what waits."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        _show_status(run, client)
        _note_issues(run, client.status())


def sync(
    ctx: typer.Context,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Prove that the rows are the server's; mend what is not."),
    ] = False,
    wait: Wait = WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Send what waits, then fetch what is new."""
    with running(ctx, as_json=as_json) as run, run.client(wait_s=wait) as client:
        with run.output.progress() as progress:
            report = (client.verify if verify else client.sync)(progress=progress)
        now = client.status()
        run.output.show(
            {"report": to_document(report), "status": _document(run, client)}, *_tell(report, now)
        )
        _note_issues(run, now)


def watch(
    ctx: typer.Context,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks where nothing happens.")
    ] = POLL_S,
    as_json: AsJson = False,
) -> None:
    """Sync whenever there is something to, until Ctrl-C.

    With --json it writes one document a line, one for each round.
    """
    with running(ctx, as_json=as_json) as run, run.client(poll_s=every) as client:
        watch_client(client, run.output)
        _note_issues(run, client.status())


def _note_issues(run: Run, now: Status) -> None:
    if now.issues:
        run.exit_code = Exit.REFUSED


def _document(run: Run, client: Client) -> dict[str, Any]:
    return to_document(client.status(), server=client.url, store=str(run.place.store))


def _show_status(run: Run, client: Client) -> None:
    run.output.show(_document(run, client), make_facts(_facts(run, client)))


def _facts(run: Run, client: Client) -> list[tuple[str, object]]:
    now = client.status()
    who = f"{now.username} of {now.tenant}" if now.username else "nobody"
    if now.username and not now.is_logged_in:
        who += " (logged out)"
    waiting = f"{now.pending} pending, {now.sent} sent without an answer"
    if now.oldest_unsent_at is not None:
        waiting += f", the oldest since {now.oldest_unsent_at:%Y-%m-%d %H:%M} UTC"
    return [
        ("User", who),
        ("Server", client.url),
        ("Store", str(run.place.store)),
        ("Rows", now.rows if now.has_cursor else f"{now.rows} (nothing was pulled yet)"),
        ("Unsent", waiting),
        ("Applied, not seen again", now.acked_unseen),
        ("Refused", _issues(now)),
    ]


def _issues(now: Status) -> Text:
    if not now.issues:
        return Text("none")
    return Text(f"{now.issues}: fieldsync issues", style="yellow")


def _tell(report: SyncReport, now: Status) -> list[RenderableType]:
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(report.outcomes.items()))
    facts: list[tuple[str, object]] = [
        ("Sent", outcomes or "nothing"),
        ("Fetched", f"{report.pulled} changes"),
        ("Refused", _issues(now)),
    ]
    if report.verified is not None:
        facts.append(("Compared", _compared(report)))
    if report.retries:
        facts.append(("Repeated", f"{report.retries} requests"))
    return [make_facts(facts)]


def _compared(report: SyncReport) -> str:
    equal = "equal to the server" if report.verified else "not equal to the server"
    return f"{equal}, {report.repaired} rows mended" if report.repaired else equal


COMMANDS: dict[str, Callable[..., None]] = {
    "login": login,
    "logout": logout,
    "sync": sync,
    "watch": watch,
    "status": status,
}
