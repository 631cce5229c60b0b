"""Exits: the exit code of every ending, and what a person can do about an error."""

from __future__ import annotations

import sqlite3
from enum import IntEnum
from typing import TYPE_CHECKING

from fieldsync.doctor import Area, Level
from fieldsync.errors import (
    AuthRequired,
    FieldsyncError,
    IssueClosed,
    OtherUsersWork,
    RowNotFound,
    ServerBug,
    StoreInUse,
    TransportFailure,
    Unresolvable,
    UpgradeRequired,
    WorkOfAnother,
    WorkUnreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fieldsync.doctor import Finding


class Exit(IntEnum):
    """How a command can end. The numbers are stable."""

    OK = 0
    REFUSED = 1  # refused work waits for a person, or this was refused
    USAGE = 2  # the command was not given right
    UNREACHABLE = 3
    LOGIN = 4
    TOO_OLD = 5  # this program, for the server or for the store
    SERVER = 6  # the server has a fault
    STORE = 7  # the store's file, or another one


OF_AREA = {
    Area.STORE: Exit.STORE,
    Area.LINK: Exit.UNREACHABLE,
    Area.LOGIN: Exit.LOGIN,
    Area.APP: Exit.TOO_OLD,
    Area.SERVER: Exit.SERVER,
    Area.WORK: Exit.REFUSED,
}


# The first that fits.
OF_ERROR: tuple[tuple[type[Exception], Exit], ...] = (
    (TransportFailure, Exit.UNREACHABLE),
    (AuthRequired, Exit.LOGIN),
    (UpgradeRequired, Exit.TOO_OLD),
    (ServerBug, Exit.SERVER),
    (StoreInUse, Exit.STORE),
    (FieldsyncError, Exit.REFUSED),
    (sqlite3.Error, Exit.STORE),
    (OSError, Exit.STORE),
)
HELP = "fieldsync COMMAND --help says how it is used"
REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (AuthRequired, "fieldsync login NAME; unsent work is kept"),
    (TransportFailure, "all work is kept; try again later, or see what fieldsync doctor says"),
    (UpgradeRequired, "update fieldsync; all work is kept"),
    (ServerBug, "all work is kept; tell the server's operator what is written above"),
    (IssueClosed, "fieldsync issues lists those that are open"),
    (Unresolvable, "fieldsync discard ISSUE, or make a new row with fieldsync new"),
    (RowNotFound, "fieldsync ls COLLECTION lists those that are here"),
    (OtherUsersWork, "let them log in and sync, or take another --store"),
    (StoreInUse, "end that program first, or take another --store"),
    (WorkOfAnother, "log in as that user, in another --store"),
    (WorkUnreadable, "check the passphrase and the file"),
    (FieldsyncError, ""),
    (sqlite3.Error, "fieldsync doctor says what is wrong with the store"),
    (OSError, "check the path, and whether you may read and write there"),
)
REMEDIES_BY_CODE = {
    "keyring_unavailable": "unlock the keyring, or log in without --keyring",
    "tokens_elsewhere": "add --keyring, or log in anew: fieldsync login NAME",
    "invalid_credentials": "check the name and the password",
}


class Refusal(Exception):
    """An ending that the command line itself decides on."""

    def __init__(self, exit_code: Exit, code: str, message: str, remedy: str) -> None:
        self.exit_code = exit_code
        self.code = code
        self.remedy = remedy
        super().__init__(message)


def exit_of(error: Exception) -> Exit:
    """The exit code of a command that ended in `error`."""
    if isinstance(error, Refusal):
        return error.exit_code
    return next((code for kind, code in OF_ERROR if isinstance(error, kind)), Exit.USAGE)


def exit_of_findings(findings: Iterable[Finding]) -> Exit:
    """The exit code of an examination: that of the first thing that is broken."""
    troubles = [finding for finding in findings if finding.level is not Level.OK]
    broken = [finding for finding in troubles if finding.level is Level.BROKEN]
    if broken:
        return OF_AREA[broken[0].area]
    return Exit.REFUSED if troubles else Exit.OK


def code_of(error: Exception) -> str:
    """A stable name for `error`."""
    match error:
        case Refusal() | FieldsyncError():
            return error.code
        case sqlite3.Error():
            return "store_unusable"
        case OSError():
            return "file_unusable"
        case _:
            return "value_invalid"


def remedy_of(error: Exception) -> str:
    """What a person can do about `error`; empty where the message says it all."""
    if isinstance(error, Refusal):
        return error.remedy
    by_kind = next((words for kind, words in REMEDIES if isinstance(error, kind)), HELP)
    return REMEDIES_BY_CODE.get(code_of(error), by_kind)
