"""`requirements/install.sh` on a project of two empty packages, with a real .venv."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 240
PROJECT = """\
[project]
name = "{name}"
version = "1"
[build-system]
requires = []
build-backend = "builder"
backend-path = ["."]
"""
# A build backend that needs no packages; it can be held, and says that it is.
BUILDER = """
import pathlib, time, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    here = pathlib.Path(__file__).parent
    if (here / "hold").exists():
        (here / "held").touch()
        time.sleep(600)
    info = "{name}-1.dist-info"
    wheel = "{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, wheel), "w") as file:
        file.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1\\n")
        file.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr(info + "/RECORD", "")
    return wheel
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A folder with the script in it."""

    folder: Path

    @property
    def stamp(self) -> Path:
        return self.folder / ".venv" / ".fieldsync-installed"

    def popen(self) -> subprocess.Popen[str]:
        """Start the script, in a process group of its own."""
        environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        return subprocess.Popen(  # noqa: S603  # our own script
            [self.folder / "requirements" / "install.sh"],
            env=environ | {"PYTHON": sys.executable, "PIP_NO_INDEX": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def install(self) -> str:
        """Run the script to its end; what it printed."""
        process = self.popen()
        printed, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, printed
        return printed

    def list_packages(self) -> str:
        ask = "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
        python = self.folder / ".venv" / "bin" / "python"
        return subprocess.run(  # noqa: S603  # the .venv that it made
            [python, "-c", ask], capture_output=True, text=True, check=True, timeout=WAIT_S
        ).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "a checkout"
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "requirements" / "install.sh", folder / "requirements")
    (folder / "requirements" / "dev.lock").write_text("")
    for place, name in ((folder, "server"), (folder / "clients" / "python_sdk", "sdk")):
        place.mkdir(parents=True, exist_ok=True)
        (place / "pyproject.toml").write_text(PROJECT.format(name=name))
        (place / "builder.py").write_text(BUILDER.format(name=name))
    return Checkout(folder=folder)


def test_second_run_does_nothing_until_something_has_changed(
    checkout: Checkout, tmp_path: Path
) -> None:
    """Every `make` target begins with it; and a .venv holds the name of its folder."""
    assert "Installing requirements/dev.lock" in checkout.install()
    assert "sdk server" in checkout.list_packages()
    written = checkout.stamp.stat().st_mtime_ns

    assert checkout.install() == ""
    assert checkout.stamp.stat().st_mtime_ns == written

    (checkout.folder / "requirements" / "dev.lock").write_text("# another pin\n")
    assert checkout.install() == "Installing requirements/dev.lock\n"
    assert checkout.install() == ""

    moved = Checkout(folder=checkout.folder.rename(tmp_path / "moved"))
    assert "Making .venv" in moved.install()
    assert moved.install() == ""


def test_killed_installation_starts_anew(checkout: Checkout) -> None:
    """Half of the packages would pass for all of them."""
    (checkout.folder / "hold").touch()
    process = checkout.popen()
    for _ in range(WAIT_S * 10):
        if (checkout.folder / "held").exists():
            break
        assert process.poll() is None
        threading.Event().wait(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=WAIT_S)
    assert not checkout.stamp.exists()
    (checkout.folder / ".venv" / "half").touch()

    (checkout.folder / "hold").unlink()

    assert "Making .venv" in checkout.install()
    assert not (checkout.folder / ".venv" / "half").exists()
    assert "sdk server" in checkout.list_packages()
    assert checkout.install() == ""
