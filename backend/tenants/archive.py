"""A tenant's archive: lines of JSON in a gzip stream, with a checksum at the end. No database.

    {"format": …, "version": 1, "tenant": {…}, "rows": {table: number}, …}     the manifest
    {"table": "site"}                                                          what follows is of
    {"id": …, "name": …}                                                       a row
    …
    {"end": 20218, "sha256": "…"}                       number of rows; sum of all bytes before

`zcat` shows one. It is written and read line by line, in the memory of one.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from typing import IO, Any, Final

import msgspec

FORMAT: Final = "fieldsync-tenant"
VERSION: Final = 1
LEVEL: Final = 3  # of gzip: beyond it, time grows and the file does not shrink
LINE_BYTES_MAX: Final = 64 * 1024 * 1024  # a row with its stored answer is far below


class ArchiveInvalid(Exception):
    """The file is no archive, or not a whole one."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive says of itself; `migrations` names the newest applied one of each app."""

    tenant: dict[str, str]  # id, slug, name
    exported_at: str
    migrations: dict[str, str]
    rows: dict[str, int]  # by table, in the order in which they come
    format: str = FORMAT
    version: int = VERSION


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, as JSON."""

    table: str
    text: bytes


class Writer:
    """Writes one archive to a binary file, which stays open."""

    def __init__(self, file: IO[bytes], manifest: Manifest) -> None:
        self._packed = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=LEVEL, mtime=0)
        self._sum = hashlib.sha256()
        self._rows = 0
        self._line(msgspec.json.encode(manifest))

    def begin(self, table: str) -> None:
        """Say that what follows is of this table."""
        self._line(msgspec.json.encode({"table": table}))

    def add(self, row: bytes) -> None:
        """Write one row: a JSON object without line feeds."""
        self._line(row)
        self._rows += 1

    def end(self) -> None:
        """Write the sum; without it the archive is not one."""
        self._line(msgspec.json.encode({"end": self._rows, "sha256": self._sum.hexdigest()}))
        self._packed.close()

    def _line(self, text: bytes) -> None:
        line = text + b"\n"
        self._sum.update(line)
        self._packed.write(line)


class Reader:
    """Reads one archive from a binary file.

    Raises:
        ArchiveInvalid: it is none, or one of a later format.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._packed = gzip.GzipFile(fileobj=file, mode="rb")
        self._sum = hashlib.sha256()
        try:
            self.manifest = msgspec.json.decode(self._line(), type=Manifest)
        except msgspec.MsgspecError as error:
            message = "it does not begin as an archive of a tenant does"
            raise ArchiveInvalid(message) from error
        if (self.manifest.format, self.manifest.version) != (FORMAT, VERSION):
            message = f"it is a {self.manifest.format} of version {self.manifest.version}"
            raise ArchiveInvalid(message)

    def rows(self) -> Iterator[Row]:
        """Yield all rows. Whether they are all, and unharmed, is known at the end only.

        Raises:
            ArchiveInvalid: cut off, or altered.
        """
        number, table = 0, ""
        for expected, count in self.manifest.rows.items():
            table = self._begin(expected)
            for _ in range(count):
                yield Row(table, self._line())
                number += 1
        self._end(number)

    def _begin(self, expected: str) -> str:
        said = _decode(self._line()).get("table")
        if said != expected:
            message = f"rows of {expected} should follow, and {said!r} does"
            raise ArchiveInvalid(message)
        return expected

    def _end(self, number: int) -> None:
        summed = self._sum.hexdigest()
        end = _decode(self._line())
        if end != {"end": number, "sha256": summed}:
            message = "its checksum is not that of what it holds"
            raise ArchiveInvalid(message)
        try:
            if self._packed.read(1):  # also has gzip check its own sum
                message = "something follows its end"
                raise ArchiveInvalid(message)
        except (OSError, EOFError, zlib.error) as error:
            raise ArchiveInvalid(str(error)) from error

    def _line(self) -> bytes:
        try:
            line = self._packed.readline(LINE_BYTES_MAX)
        except (OSError, EOFError, zlib.error) as error:
            raise ArchiveInvalid(str(error)) from error
        if not line.endswith(b"\n"):
            message = "it is cut off" if len(line) < LINE_BYTES_MAX else "a line is too long"
            raise ArchiveInvalid(message)
        self._sum.update(line)
        return line[:-1]


def _decode(line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        message = "a line is no JSON"
        raise ArchiveInvalid(message) from error
