"""What no tracked file may say: things that are true of one machine, or were left for later."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Written so that this file does not find itself.
FORBIDDEN = {
    "a package index": re.compile(
        r"https?://\S*(?:[p]ypi|[p]ythonhosted|[n]pmjs|[a]rtifactory|/[s]imple\b)"
        r"|(?:extra-)?[i]ndex-url\s*=|[i]ndex-url\s+h|\[\[tool\.uv\.[i]ndex|trusted-[h]ost",
        re.IGNORECASE,
    ),
    "a folder of one machine": re.compile(
        r"(?<![\w.)}\]>*-])/(?:home|root|work|workspace|Users|mnt|srv|builds)/[\w.-]"
        r"|\b[A-Z]:\\\\?Users\b"
    ),
    "work that was left": re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X|HAC[K])\b"),
}


def tracked() -> list[Path]:
    """Return the files that git knows, without those that are deleted in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607  # whatever git the developer has
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def findings(what: str) -> list[str]:
    """Return every place in the tracked files that says `what`."""
    pattern = FORBIDDEN[what]
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    """A clone must work anywhere, and promise nothing that it does not do."""
    assert findings(what) == []


@pytest.mark.parametrize(
    ("what", "line", "is_found"),
    [
        ("a package index",         "--index~-url https://mirror/x",              True),
        ("a package index",         "https://files.p~ythonhosted.org/a.whl",      True),
        ("a package index",         "https://sync.example.com",                   False),
        ("a folder of one machine", "see /~home/ann/fieldsync",                   True),
        ("a folder of one machine", '"/~root/x"',                                 True),
        ("a folder of one machine", "C:\\~Users\\ann",                            True),
        ("a folder of one machine", "/usr/lib/postgresql, /tmp/x",                False),
        ("a folder of one machine", "/api/v1/jobs/x",                             False),
        ("work that was left",      "# TO~DO: later",                             True),
        ("work that was left",      "methodology",                                False),
    ],
)  # fmt: skip
def test_search_finds_what_it_is_for(what: str, line: str, is_found: bool) -> None:
    """An expression that matches nothing would pass for ever.

    A `~` only keeps the lines above from being found themselves.
    """
    found = FORBIDDEN[what].search(line.replace("~", ""))

    assert bool(found) is is_found


def test_locks_name_packages_and_hashes_only() -> None:
    """Whoever installs decides from where; the hashes decide what."""
    locks = sorted((ROOT / "requirements").glob("*.lock"))

    assert [lock.name for lock in locks] == ["dev.lock", "server.lock"]
    for lock in locks:
        text = lock.read_text()
        pins = re.findall(r"^[A-Za-z0-9._-]+(?:\[[^]]+\])?==.*\\$", text, re.MULTILINE)
        starts = re.findall(r"^[A-Za-z0-9-].*$", text, re.MULTILINE)
        assert "://" not in text
        assert pins == starts
        assert text.count("--hash=sha256:") >= len(pins) > 0
