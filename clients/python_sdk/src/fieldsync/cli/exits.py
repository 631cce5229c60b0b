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
    RateLimited,
    RowNotFound,
    ServerBug,
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


class Refusal(Exception):
    """An ending that the command line itself decides on."""

    def __init__(self, exit_code: Exit, code: str, message: str, remedy: str) -> None:
        self.exit_code = exit_code
        self.code = code
        self.remedy = remedy
        super().__init__(message)


def exit_of(error: Exception) -> Exit:
    """The exit code of a command that ended in `error`."""
    match error:
        case Refusal():
            return error.exit_code
        case TransportFailure() | RateLimited():
            return Exit.UNREACHABLE
        case AuthRequired():
            return Exit.LOGIN
        case UpgradeRequired():
            return Exit.TOO_OLD
        case ServerBug():
            return Exit.SERVER
        case FieldsyncError():
            return Exit.REFUSED
        case sqlite3.Error() | OSError():
            return Exit.STORE
        case _:
            return Exit.USAGE


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
    match error:
        case Refusal():
            return error.remedy
        case AuthRequired(code="keyring_unavailable"):
            return "unlock the keyring, or log in without --keyring"
        case AuthRequired(code="tokens_elsewhere"):
            return "add --keyring, or log in anew: fieldsync login NAME"
        case AuthRequired(code="invalid_credentials"):
            return "check the name and the password"
        case AuthRequired():
            return "fieldsync login NAME; unsent work is kept"
        case TransportFailure() | RateLimited():
            return "all work is kept; try again later, or see what fieldsync doctor says"
        case UpgradeRequired():
            return "update fieldsync; all work is kept"
        case ServerBug():
            return "all work is kept; tell the server's operator what is written above"
        case _:
            return _remedy_of_row(error) or _remedy_of_file(error)


def _remedy_of_row(error: Exception) -> str:
    match error:
        case IssueClosed():
            return "fieldsync issues lists those that are open"
        case Unresolvable():
            return f"fieldsync discard {error.issue_id}, or make a new row with fieldsync new"
        case RowNotFound():
            return f"fieldsync ls {error.collection} lists those that are here"
        case _:
            return ""


def _remedy_of_file(error: Exception) -> str:
    match error:
        case OtherUsersWork():
            return f"let {error.owner} log in and sync, or take another --store"
        case WorkOfAnother():
            return "log in as that user, in another --store"
        case WorkUnreadable():
            return "check the passphrase and the file"
        case sqlite3.Error():
            return "fieldsync doctor says what is wrong with the store"
        case OSError():
            return "check the path, and whether you may read and write there"
        case _:
            return "fieldsync COMMAND --help says how it is used"
