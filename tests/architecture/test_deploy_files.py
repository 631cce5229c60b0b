"""The files of deploy/ against what they speak of: units, proxy, monitoring, and the first .env."""

from __future__ import annotations

import json
import re
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import load_command_class

from backend.devstack.server import APPLICATION, GRACEFUL_S_MAX, MALLOC, make_arguments
from backend.jobs.management.commands import run_jobs
from backend.settings.variables import VARIABLES, Reader, Stage
from deploy import make_env

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BESIDE = {"GRAFANA_PASSWORD", "POSTGRES_PASSWORD", "SITE_ADDRESS"}


def unit(name: str) -> dict[str, str]:
    lines = (DEPLOY / "systemd" / f"{name}.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_unit_starts_the_server_as_tests_do() -> None:
    """Otherwise the tests would test another server than the one that runs there."""
    given = unit("fieldsync")

    python, *arguments = shlex.split(given["ExecStart"])
    assert arguments == make_arguments(APPLICATION, host="127.0.0.1", port=8000)
    assert python == f"{given['WorkingDirectory']}/.venv/bin/python"
    assert int(given["TimeoutStopSec"]) > GRACEFUL_S_MAX
    assert [given["Environment"]] == [f"{name}={value}" for name, value in MALLOC.items()]


@pytest.mark.parametrize("where", ["systemd", "compose"])
def test_daily_jobs_are_a_command_that_there_is(where: str) -> None:
    if where == "systemd":
        _, *words = shlex.split(unit("fieldsync-jobs")["ExecStart"])
    else:
        _, *words = COMPOSE["services"]["jobs"]["command"]
        words[-1] = words[-1].removeprefix("${JOBS_AT:-").removesuffix("}")

    manage, name, *options = words
    assert (ROOT / manage).is_file()
    parser = load_command_class("backend.jobs", name).create_parser(manage, name)
    assert parser.parse_args(options).at.isoformat("minutes") == run_jobs.AT


def test_files_that_compose_mounts_are_there() -> None:
    configs = COMPOSE["configs"]
    for service in COMPOSE["services"].values():
        for mounted in service.get("configs", []):
            given = configs[mounted["source"]]
            assert "content" in given or (ROOT / given["file"]).is_file()


def test_proxy_is_given_what_its_file_asks_for() -> None:
    text = (DEPLOY / "caddy" / "Caddyfile").read_text()

    asked = set(re.findall(r"\{\$(\w+)", text))
    assert asked == set(COMPOSE["services"]["proxy"]["environment"])
    assert "flush_interval -1" in text, "events would wait in the proxy"
    ports = {port.rpartition(":")[2] for port in COMPOSE["services"]["proxy"]["ports"]}
    assert ports == {"80", "443"}


def test_prometheus_asks_every_server_by_its_own_port_and_token() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]

    assert found["names"] == ["web"]
    assert [str(found["port"])] == COMPOSE["services"]["web"]["expose"]
    secret = Path(job["authorization"]["credentials_file"])
    assert [secret.name] == COMPOSE["services"]["prometheus"]["secrets"]
    assert COMPOSE["secrets"][secret.name] == {"environment": "METRICS_TOKEN"}
    for name in config["rule_files"]:
        assert (DEPLOY / "prometheus" / name).is_file()


def test_grafana_finds_its_dashboard() -> None:
    boards = yaml.safe_load((DEPLOY / "grafana" / "boards.yml").read_text())
    folder = boards["providers"][0]["options"]["path"]
    targets = [each["target"] for each in COMPOSE["services"]["grafana"]["configs"]]

    assert f"{folder}/fieldsync.json" in targets
    assert json.loads((DEPLOY / "grafana" / "fieldsync.json").read_text())["title"]


@pytest.mark.parametrize("address", ["sync.example.com", "http://localhost", "http://localhost:8080"])  # fmt: skip
def test_first_env_is_one_that_the_server_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    file = tmp_path / ".env"

    assert make_env.main([address], file) == 0

    given = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert given.keys() <= {variable.name for variable in VARIABLES} | BESIDE
    assert stat.S_IMODE(file.stat().st_mode) == make_env.ONLY_MINE
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    reader = Reader()
    reader.secret("SECRET_KEY", Stage.PRODUCTION)
    reader.token("METRICS_TOKEN")
    hosts = reader.names("ALLOWED_HOSTS")
    reader.names("CSRF_TRUSTED_ORIGINS", prefixes=("https://", "http://"))
    reader.seal()
    assert hosts in (["sync.example.com"], ["localhost"])
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert needed <= given.keys()


def test_second_run_keeps_the_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """New ones would log everybody out, and not fit the database's password."""
    file = tmp_path / ".env"
    make_env.main(["sync.example.com"], file)
    before = file.read_text()

    assert make_env.main(["other.example.com"], file) == 0

    assert file.read_text() == before
    assert "is kept" in capsys.readouterr().err
