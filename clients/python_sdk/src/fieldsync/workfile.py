"""Workfile: unsent work as bytes that can be carried elsewhere, and be trusted there. Pure.

    {"format": "fieldsync-work", "version": 1, "salt": "…"}      a line each
    {"user": …, "batches": […], "pending": […], …}
    9f2c…                                                        HMAC-SHA256 of both lines

The key of the signature comes from a passphrase by scrypt. A file that was changed, cut, or signed
with another passphrase is refused as a whole. It is signed, not encrypted: its rows can be read.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from typing import Any, TypeVar

import msgspec

from fieldsync.errors import UpgradeRequired, WorkUnreadable
from fieldsync.wire import Op

FORMAT = "fieldsync-work"
VERSION = 1
SALT_BYTES = 16
# A third of a second and 32 MiB for each guess at the passphrase. Source: OWASP, password storage.
SCRYPT = {"n": 2**15, "r": 8, "p": 3, "maxmem": 64 * 2**20, "dklen": 32}
FILE_BYTES_MAX = 256 * 2**20  # read into memory at once; work of months is a few MiB
NO_WORK = "it is no file of unsent work"
T = TypeVar("T")


class CarriedEdit(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of an outbox; `base` is the JSON of the row that the edit was made on."""

    collection: str
    row_id: str
    revision: int
    op: Op
    data: dict[str, Any]
    base_version: int | None
    base: str | None
    groups: list[str]
    created_at: str


class CarriedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen push. `body` is the text of its exact bytes, which are UTF-8."""

    key: str
    body: str
    edits: list[CarriedEdit]


class CarriedAck(msgspec.Struct, frozen=True, kw_only=True):
    """A mutation that the server applied as `version`, and that no pull has shown."""

    collection: str
    row_id: str
    op: Op
    data: dict[str, Any]
    base_version: int | None
    groups: list[str]
    version: int


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The unsent work of one user. Ids are the server's; times are RFC 3339."""

    user: str
    username: str
    tenant: str
    tenant_slug: str
    device: str
    exported_at: str
    batches: list[CarriedBatch]
    pending: list[CarriedEdit]
    acked: list[CarriedAck]
    issues: list[dict[str, Any]]


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    salt: str = ""


_HEAD = msgspec.json.Decoder(_Head)
_WORK = msgspec.json.Decoder(Work)


def seal(work: Work, passphrase: str, *, salt: bytes) -> bytes:
    """The file of `work`. Raises: ValueError for an empty passphrase."""
    if not passphrase:
        raise ValueError("an empty passphrase signs nothing")
    head = _Head(format=FORMAT, version=VERSION, salt=salt.hex())
    signed = msgspec.json.encode(head) + b"\n" + msgspec.json.encode(work) + b"\n"
    return signed + _sign(signed, passphrase, salt).encode() + b"\n"


def unseal(file: bytes, passphrase: str) -> tuple[Work, str]:
    """The work in `file`, and the signature, which is its name.

    Raises: WorkUnreadable; UpgradeRequired for a file of a later version of the format.
    """
    head, _, rest = file.partition(b"\n")
    work, _, signature = rest.partition(b"\n")
    salt = _read_salt(head)
    signed = head + b"\n" + work + b"\n"
    expected = _sign(signed, passphrase, salt)
    if not hmac.compare_digest(signature.strip(), expected.encode()):
        raise WorkUnreadable("its signature does not fit: another passphrase, or it was changed")
    return _decode(_WORK, work), expected


def _read_salt(line: bytes) -> bytes:
    head = _decode(_HEAD, line)
    if head.format != FORMAT:
        raise WorkUnreadable(NO_WORK)
    if head.version > VERSION:
        raise UpgradeRequired(
            code="work_too_new", detail=f"the file is of version {head.version} of its format"
        )
    try:
        return bytes.fromhex(head.salt)
    except ValueError as error:
        raise WorkUnreadable(NO_WORK) from error


def _sign(signed: bytes, passphrase: str, salt: bytes) -> str:
    # The same letters, however a keyboard composes them.
    letters = unicodedata.normalize("NFC", passphrase).encode()
    key = hashlib.scrypt(letters, salt=salt, **SCRYPT)
    return hmac.new(key, signed, hashlib.sha256).hexdigest()


def _decode(decoder: msgspec.json.Decoder[T], text: bytes) -> T:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WorkUnreadable(NO_WORK) from error
