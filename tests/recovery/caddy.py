"""The proxy of deploy/, as operators run it, where it is installed (apt install caddy)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2

from backend.devstack.listeners import HOST, Listener
from backend.devstack.processes import Child, start_child
from backend.devstack.server import ROOT

FILE = ROOT / "deploy" / "caddy" / "Caddyfile"
READY_S_MAX = 30.0


def is_installed() -> bool:
    return shutil.which("caddy") is not None


@contextmanager
def running_caddy(ports: Sequence[int], folder: Path) -> Iterator[str]:
    """Run it before servers on these ports; yields its address."""

    def launch(port: int) -> Child:
        return start_child(
            name="Caddy",
            command=["caddy", "run", "--config", FILE, "--adapter", "caddyfile"],
            environ={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(folder),
                "SITE_ADDRESS": f"http://{HOST}:{port}",
                "UPSTREAMS": " ".join(f"{HOST}:{each}" for each in ports),
            },
            log=folder / "caddy.log",
            cwd=folder,
        )

    def answers(port: int) -> bool:
        try:
            return httpx2.get(f"http://{HOST}:{port}/readyz", timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False

    listener = Listener(launch=launch, answers=answers, ready_s_max=READY_S_MAX)
    child, port = listener.start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        child.stop()
