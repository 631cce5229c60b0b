"""`python -m backend.devstack run`: whatever ends it, nothing that it started is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no types of its own
import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 60
NOBODY = "nobody"
SAY_READY = "import time; print('ready', flush=True); time.sleep(600)"
SAY_URLS = "import os; print(os.environ['DATABASE_URL'], os.environ['REDIS_URL'])"
COUNT_INTERRUPTS = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
for _ in range(600):
    time.sleep(1)
"""
LOOK_INSIDE = """
import os, socket, urllib.parse, psycopg
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    ask = lambda query: connection.execute(query).fetchone()[0]
    print(ask("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
    print(ask("SHOW server_encoding"), ask("SHOW fsync"), ask("SHOW listen_addresses"))
    connection.execute("SET ROLE fieldsync_owner")
    connection.execute("CREATE DATABASE test_fieldsync")
cache = urllib.parse.urlsplit(os.environ["REDIS_URL"])
with socket.create_connection((cache.hostname, cache.port), timeout=20) as connection:
    connection.sendall(b"PING\\r\\n")
    print(connection.recv(100).split()[0].decode())
    connection.sendall(f"AUTH {cache.password}\\r\\nPING\\r\\nQUIT\\r\\n".encode())
    print(connection.makefile().read().split()[1])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs the command, as somebody, with a temporary folder that we can look into."""

    python: str
    user: str | None
    place: Path

    @property
    def folders(self) -> list[Path]:
        """The stack's folders that are there now."""
        return sorted(self.place.glob("fieldsync-*"))

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command."""
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DATABASE_URL", "REDIS_URL"} and not name.startswith("PYTEST")
        }
        packages = [path for path in sys.path if path.endswith("site-packages")]
        environ |= {"TMPDIR": str(self.place), "PYTHONPATH": os.pathsep.join(packages)}
        return subprocess.Popen(  # noqa: S603  # our own command
            [self.python, "-m", "backend.devstack", *arguments],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=self.user,
            group="nogroup" if self.user else None,
            extra_groups=[] if self.user else None,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        process = self.popen(*arguments)
        out, err = process.communicate(timeout=WAIT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @contextmanager
    def running(self, program: str = SAY_READY) -> Iterator[Running]:
        """The command with `program` as its CMD, once that has said that it is ready."""
        process = self.popen("run", "--fast", "--", self.python, "-c", program)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            children = psutil.Process(process.pid).children(recursive=True)
            yield Running(process=process, children=children)
        finally:
            process.terminate()
            process.communicate(timeout=WAIT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A command under way, and the processes below it."""

    process: subprocess.Popen[str]
    children: list[psutil.Process]

    def find(self, name: str) -> psutil.Process:
        """The first child of this name."""
        return next(child for child in self.children if name in child.name())

    def has_left_nothing(self) -> bool:
        """Whether every child has ended, after a bounded wait."""
        _, alive = psutil.wait_procs(self.children, timeout=WAIT_S)
        return not alive


def find_python_for_others() -> str | None:
    """A Python of our version that `nobody` may run: ours may be below a closed folder."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}"):
        try:
            subprocess.run(  # noqa: S603  # one of two fixed programs
                [python, "-c", ""], user=NOBODY, check=True, timeout=WAIT_S
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return python
    return None


@pytest.fixture
def place() -> Iterator[Path]:
    """A temporary folder that every account may use, as /tmp is."""
    path = Path(tempfile.mkdtemp(prefix="devstack-tests-"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["as ourselves", "as another user"])
def runner(request: pytest.FixtureRequest, place: Path) -> Runner:
    """The command as we are, and once more without root's rights."""
    if request.param == "as ourselves":
        return Runner(python=sys.executable, user=None, place=place)
    if os.geteuid() != 0:
        pytest.skip("only root can start a process as another user")
    python = find_python_for_others()
    if python is None:
        pytest.skip("no Python of this version that another user may run")
    return Runner(python=python, user=NOBODY, place=place)


def test_command_gets_a_database_and_a_cache_of_its_own(runner: Runner) -> None:
    """No superuser, UTF-8, loopback only; the cache wants its password."""
    done = runner.run("run", "--fast", "--", runner.python, "-c", LOOK_INSIDE)

    assert done.stdout.split() == ["False", "UTF8", "off", "127.0.0.1", "-NOAUTH", "+PONG"], (
        done.stderr
    )
    assert done.returncode == 0
    assert runner.folders == []


def test_without_fast_the_disk_is_waited_for(runner: Runner) -> None:
    """What a person keeps must survive a power cut."""
    done = runner.run("run", "--", runner.python, "-c", LOOK_INSIDE)

    assert "UTF8 on" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("program", "status"),
    [("raise SystemExit(5)", 5), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_exit_status_is_the_commands(runner: Runner, program: str, status: int) -> None:
    """`make test` must fail when the tests do."""
    done = runner.run("run", "--fast", "--", runner.python, "-c", program)

    assert done.returncode == status
    assert runner.folders == []


def test_two_at_once_do_not_meet(runner: Runner) -> None:
    """Another start neither shares the services nor sweeps the folder of one that lives."""
    with runner.running() as first:
        (folder,) = runner.folders
        done = runner.run("run", "--fast", "--", runner.python, "-c", SAY_URLS)

        assert done.returncode == 0, done.stderr
        assert runner.folders == [folder]
        assert first.find("postgres").is_running()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_everything(runner: Runner, signum: signal.Signals) -> None:
    """Ctrl-C, a service manager and a closed terminal leave no process and no folder."""
    with runner.running() as running:
        running.process.send_signal(signum)

        assert running.process.wait(WAIT_S) == 128 + signum
        assert running.has_left_nothing()
        assert runner.folders == []


@pytest.mark.parametrize(
    ("moment", "signum"),
    [
        ("", signal.SIGHUP),  # the folder is there
        ("pgdata.new", signal.SIGINT),  # initdb
        ("pgdata", signal.SIGTERM),  # PostgreSQL starts
        ("valkey.conf", signal.SIGINT),  # Valkey starts
    ],
)
def test_signal_while_starting_ends_everything(
    runner: Runner, moment: str, signum: signal.Signals
) -> None:
    """Who sees at once that it was the wrong command does not wait for it."""
    process = runner.popen("run", "--fast", "--", runner.python, "-c", SAY_READY)
    try:
        for _ in range(WAIT_S * 200):
            if any((folder / moment).exists() for folder in runner.folders):
                break
            assert process.poll() is None
            threading.Event().wait(0.005)

        process.send_signal(signum)

        out, err = process.communicate(timeout=WAIT_S)
        assert process.returncode == 128 + signum, err
        assert (out, err) == ("", "")
        assert list_session(process.pid) == []
        assert runner.folders == []
    finally:
        process.kill()
        process.wait(WAIT_S)


def list_session(leader: int) -> list[str]:
    """Names of the processes that `leader` and its children have left behind."""
    names = []
    for other in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(other.pid) == leader and other.status() != psutil.STATUS_ZOMBIE:
                names.append(other.name())
    return names


def test_interrupting_again_and_again_still_cleans_up(runner: Runner) -> None:
    """An impatient person presses Ctrl-C until the prompt is back."""
    with runner.running() as running:
        for _ in range(50):
            running.process.send_signal(signal.SIGINT)
            try:
                running.process.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
            break

        assert running.process.wait(WAIT_S) in {128 + signal.SIGINT, -signal.SIGINT}
        assert running.has_left_nothing()
        assert runner.folders == []


def test_command_decides_when_it_is_done(runner: Runner) -> None:
    """A debugger or a test run takes Ctrl-C itself; the services stay as long as it does."""
    with runner.running(COUNT_INTERRUPTS) as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "interrupted\n"
        assert running.find("postgres").is_running()
        assert running.find("valkey").is_running()

        running.process.send_signal(signal.SIGTERM)

        assert running.process.wait(WAIT_S) == 7
        assert running.has_left_nothing()


def test_killed_parent_leaves_no_child_and_the_next_start_sweeps(runner: Runner) -> None:
    """Kill -9 gives us no chance to clean up: the kernel ends the children, the next start the rest."""
    with runner.running() as running:
        (folder,) = runner.folders

        running.process.kill()

        running.process.wait(WAIT_S)
        assert running.has_left_nothing()
        assert runner.folders == [folder]

    done = runner.run("run", "--fast", "--", runner.python, "-c", "")
    assert done.returncode == 0, done.stderr
    assert runner.folders == []


def test_nothing_of_others_is_swept(runner: Runner) -> None:
    """Only folders that the stack has made go: a file or a link of that name stays."""
    (runner.place / "kept").mkdir()
    (runner.place / "fieldsync-link").symlink_to(runner.place / "kept")
    (runner.place / "fieldsync-file").write_text("mine")

    assert runner.run("run", "--fast", "--", runner.python, "-c", "").returncode == 0

    assert (runner.place / "kept").is_dir()
    assert (runner.place / "fieldsync-link").is_symlink()
    assert (runner.place / "fieldsync-file").read_text() == "mine"


@pytest.fixture
def ourselves(place: Path) -> Runner:
    """The command as we are."""
    return Runner(python=sys.executable, user=None, place=place)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["run", "--fast", "--"], 2, "no command given"),
        (["run", "--fast", "--", "no-such-program"], 127, "no such program: no-such-program"),
        (["run", "--fast", "--", "/etc/passwd"], 126, "may not be executed"),
        (["serve", "--port", "nonsense"], 2, "invalid int value"),
        ([], 2, "serve|run"),
    ],
)
def test_mistakes_on_the_command_line_are_named(
    ourselves: Runner, arguments: list[str], status: int, words: str
) -> None:
    """A person sees what was wrong, not a traceback."""
    done = ourselves.run(*arguments)

    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["run", "--help"]])
def test_help_is_given(ourselves: Runner, arguments: list[str]) -> None:
    """Each command says what it does."""
    done = ourselves.run(*arguments)

    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m backend.devstack")


def test_importing_loads_no_django(ourselves: Runner) -> None:
    """The settings read the addresses that the stack has not made yet."""
    program = "import sys, backend.devstack.__main__; sys.exit('django' in sys.modules)"

    done = subprocess.run(  # noqa: S603  # ourselves
        [ourselves.python, "-c", program], cwd=ROOT, timeout=WAIT_S, check=False
    )

    assert done.returncode == 0
