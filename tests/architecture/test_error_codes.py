"""`docs/errors.md` against the code, both ways: no code is missing there, and none is invented."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.accounts import errors as account_errors
from backend.accounts.errors import AccountError
from sync import database_verdict, errors as sync_errors, push, row_edits, row_errors
from sync.api.exception_handler import FRAMEWORK_ERRORS, RENAMED
from sync.errors import SyncError
from sync.registry import ranked_collections
from sync.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "errors.md").read_text()
SOURCES = sorted(path for top in ("sync", "backend") for path in (ROOT / top).rglob("*.py"))
FOR_CODERS = "For whoever writes code on the server"


def rows(*titles: str) -> list[list[str]]:
    """Return the cells of every table row in the sections with these titles, without backticks."""
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCS, re.MULTILINE | re.DOTALL))
    lines = [line for title in titles for line in sections[title].splitlines()]
    return [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("| `")
    ]


# --- requests ------------------------------------------------------------------------------


def is_answered(error: type[SyncError]) -> bool:
    """Whether a client gets to see the error; others become a clean 500."""
    return error.status < 500 or error.retryable


def leaves(module: Any, root: type[Exception], code: str) -> list[type[Any]]:
    """Return the classes of `module` below `root` that have a code of their own."""
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass)]
    return [each for each in classes if issubclass(each, root) and code in vars(each)]


REFUSED = sorted({row_errors.RowRefused.status, *row_edits.REFUSED.values()})


def request_codes() -> dict[str, str]:
    """Return every code that a request can end in, with its status."""
    found = [*leaves(sync_errors, SyncError, "code"), *leaves(row_errors, SyncError, "code")]
    of_sync = [each for each in found if is_answered(each)]
    of_accounts = leaves(account_errors, AccountError, "default_code")
    return {
        "batch_rejected": f"{push.CONFLICT}, {push.UNPROCESSABLE}",
        **{code: str(error.status) for code, error in FRAMEWORK_ERRORS.items()},
        **{each.code: str(each.status) for each in of_sync},
        sync_errors.QuarantineRefused.code: f"{push.CONFLICT}, {push.UNPROCESSABLE}",
        row_errors.RowRefused.code: ", ".join(map(str, REFUSED)),
        **{each.default_code: str(each.status_code) for each in of_accounts},
    }


def test_docs_list_every_request_error_with_its_status() -> None:
    """Apps decide by these codes."""
    documented = [(code, status) for code, status, *_ in rows("Requests", "Logging in")]

    assert len(documented) == len(dict(documented))
    assert dict(documented) == request_codes()


def test_docs_say_rightly_whether_a_retry_helps() -> None:
    """A client that retries for ever, or never, is what this column is for."""
    documented = {code: retry for code, *_, retry in rows("Requests", "Logging in")}
    found = [*leaves(sync_errors, SyncError, "code"), *leaves(row_errors, SyncError, "code")]
    of_sync = [each for each in found if is_answered(each)]

    assert {retry.partition(",")[0] for retry in documented.values()} == {"yes", "no"}
    for leaf in of_sync:
        assert documented[leaf.code].startswith("yes") is leaf.retryable, leaf.code


def test_docs_list_the_errors_that_only_coders_see() -> None:
    """They are in the same tree, and found in the log."""
    hidden = [each for each in leaves(sync_errors, SyncError, "code") if not is_answered(each)]

    assert {code for code, _ in rows(FOR_CODERS)} == {each.code for each in hidden}


def test_renamed_codes_are_known() -> None:
    """What the frameworks call their errors ends in codes of the table."""
    assert set(RENAMED.values()) <= FRAMEWORK_ERRORS.keys()


# --- refused mutations ---------------------------------------------------------------------


def calls(*names: str) -> Iterator[ast.Call]:
    """Yield every call of these functions in the code."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names:
                yield node


def texts(node: ast.expr | None) -> set[str]:
    """Return the texts that an argument may be; a variable's are where it was given its value."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp():
            return texts(node.body) | texts(node.orelse)
        case _:
            return set()


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """Return the value that `call` gives to a keyword."""
    return next((each.value for each in call.keywords if each.arg == name), None)


def refusal_codes() -> dict[str, set[str]]:
    """Return every code of a refused mutation that is written in the code, by outcome."""
    found: dict[str, set[str]] = {}
    for call in calls("Refusal"):
        outcome = keyword(call, "outcome")
        if isinstance(outcome, ast.Attribute):
            codes = texts(keyword(call, "code"))
            found.setdefault(Outcome[outcome.attr].value, set()).update(codes)
    for call in calls("conflict"):
        found.setdefault("conflict", set()).update(texts(call.args[2]))
    for call in calls("forbidden"):
        found.setdefault("forbidden", set()).update(texts(call.args[0]))
    return found


def test_docs_list_every_code_of_a_refused_mutation() -> None:
    """With the outcome that it comes with: an app reads both."""
    documented: dict[str, set[str]] = {}
    for code, outcome, _ in rows("Refused mutations"):
        documented.setdefault(outcome, set()).add(code)

    assert documented == refusal_codes()


def test_every_refusing_outcome_has_a_code() -> None:
    """Found ones, so that a call that is written in another way is noticed here."""
    refusing = {each.value for each in Outcome if not each.is_applied}
    refusing -= {Outcome.QUARANTINED}  # what is parked keeps the code that it was refused with

    assert refusal_codes().keys() == refusing
    assert all(refusal_codes().values())


# --- field errors --------------------------------------------------------------------------


def serializer_codes(fields: Iterable[Any]) -> set[str]:
    """Return every code that serializer fields may refuse a value with."""
    found: set[str] = set()
    for field in fields:
        child = getattr(field, "child", None)
        inner = [child] if child is not None else list(getattr(field, "fields", {}).values())
        found |= set() if field.read_only else set(field.error_messages)
        found |= {each.code for each in field.validators if hasattr(each, "code")}
        found |= serializer_codes(inner)
    return found


def field_codes() -> set[str]:
    """Return every code of a field error: the engine's, the database's, the collections'."""
    found = set(database_verdict._CODES.values())
    for call in calls("FieldError"):
        found |= texts(keyword(call, "code"))
    collections = ranked_collections().values()
    return found | serializer_codes([collection.serializer() for collection in collections])


def test_docs_list_every_field_error() -> None:
    """Apps translate by these."""
    documented = [code for code, _ in rows("Field errors")]

    assert len(documented) == len(set(documented))
    assert set(documented) == field_codes()
