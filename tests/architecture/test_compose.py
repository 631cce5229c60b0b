"""The container files against the code: an image is built too seldom to be noticed as stale."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.devstack import health
from backend.devstack.postgres import NAME, OWNER
from backend.devstack.server import APPLICATION, GRACEFUL_S_MAX, MALLOC, make_arguments
from backend.settings.variables import VARIABLES, Reader, Stage

ROOT = Path(__file__).parents[2]
OF_UVICORN = {"WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"}
OF_COMPOSE = {
    "SITE_ADDRESS", "HTTP_PORT", "HTTPS_PORT", "JOBS_AT", "GRAFANA_PORT", "GRAFANA_PASSWORD",
    "POSTGRES_PASSWORD",
}  # fmt: skip
SECRETS = {"SECRET_KEY", "POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}
# Given by compose itself: where its own Valkey is, and that its own proxy stands before the server.
GIVEN = {"REDIS_URL", "NUM_PROXIES"}
REFUSED = {"DEBUG"}  # no production server takes it
PLACEHOLDER = re.compile(r"\$\{(?P<name>\w+)(?P<rest>[^}]*)\}")
PIN = re.compile(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", re.MULTILINE)


@cache
def read_services() -> dict[str, Any]:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert isinstance(services, dict)
    return services


def read_dockerfile() -> list[tuple[str, str]]:
    """Each instruction with its arguments, in order."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def find_instruction(name: str) -> str:
    """The arguments of the last instruction of this name, which is the one that counts."""
    return [arguments for each, arguments in read_dockerfile() if each == name][-1]


def read_pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / "requirements" / name).read_text()))


def test_every_setting_can_be_given_to_the_containers() -> None:
    """A variable that compose does not pass on cannot be set; a misspelt one is never read."""
    known = {variable.name for variable in VARIABLES} - REFUSED

    assert set(read_services()["web"]["environment"]) == known | OF_UVICORN
    assert set(read_services()["migrate"]["environment"]) == known
    assert set(read_services()["jobs"]["environment"]) == known


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_compose_has_no_defaults_of_its_own(variable: Any) -> None:
    """The defaults are the server's: twins would come to differ."""
    if variable.name in REFUSED:
        return
    value = read_services()["web"]["environment"][variable.name]

    if variable.default_in(Stage.PRODUCTION) is None:
        assert ":?" in value
    elif variable.name not in GIVEN:
        assert value == f"${{{variable.name}:-}}"


def test_no_secret_has_a_default() -> None:
    """A default secret is one that everybody knows: without its own, compose must not start."""
    text = (ROOT / "docker-compose.yml").read_text()
    given = [(found["name"], found["rest"]) for found in PLACEHOLDER.finditer(text)]

    assert {name for name, _ in given} >= SECRETS
    for name, rest in given:
        assert name in {each.name for each in VARIABLES} | OF_UVICORN | OF_COMPOSE
        assert name not in SECRETS or rest.startswith(":?"), name


def test_addresses_inside_compose_are_ones_that_the_server_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The URLs are put together here, and read there."""
    environment = read_services()["web"]["environment"]
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.setenv(name, PLACEHOLDER.sub("secret", environment[name]))
    reader = Reader()

    database = reader.database("DATABASE_URL")
    cache_url = reader.url("REDIS_URL", schemes=("redis",))

    reader.seal()
    assert database["HOST"] in read_services()
    assert database["USER"] == NAME
    assert database["NAME"] == NAME
    assert cache_url.split("/")[2].split(":")[0] in read_services()


def test_container_of_the_database_has_the_roles_that_tests_run_as() -> None:
    """A server that owned its tables would not be bound by row-level security."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    (mounted,) = compose["services"]["postgres"]["configs"]
    statements = compose["configs"][mounted["source"]]["content"].splitlines()

    assert mounted["target"].startswith("/docker-entrypoint-initdb.d/")
    assert statements[1:] == [
        f"CREATE ROLE {OWNER};",
        f"CREATE ROLE {NAME} LOGIN NOINHERIT PASSWORD :'password' IN ROLE {OWNER};",
        f"CREATE DATABASE {NAME} OWNER {OWNER};",
    ]


def test_container_starts_the_server_as_this_machine_does() -> None:
    """Otherwise the tests would test another server than the one that is shipped."""
    expected = make_arguments(APPLICATION, host="0.0.0.0", port=8000)  # noqa: S104  # a container

    assert json.loads(find_instruction("CMD")) == ["python", *expected]
    assert "command" not in read_services()["web"]
    assert find_instruction("EXPOSE") == "8000"
    assert {f"{name}={value}" for name, value in MALLOC.items()} <= set(
        find_instruction("ENV").split()
    )
    assert read_services()["web"]["expose"] == ["8000"]
    assert "ports" not in read_services()["web"], "only the proxy reaches it: it believes all"
    assert read_services()["proxy"]["environment"]["UPSTREAMS"] == "web:8000"


def test_container_is_given_time_to_finish_its_requests() -> None:
    """A shorter time than uvicorn's own would cut off answers at each deployment."""
    assert read_services()["web"]["stop_grace_period"] == "30s"
    assert GRACEFUL_S_MAX < 30


def test_each_service_says_whether_it_is_well() -> None:
    """`depends_on` waits for health, so something must tell it."""
    services = read_services()

    options, _, check = find_instruction("HEALTHCHECK").partition(" CMD ")
    assert json.loads(check) == ["python", "-m", health.__name__]
    assert f"--timeout={health.ANSWER_S_MAX + 1:g}s" in options
    assert find_instruction("EXPOSE") == str(health.PORT)
    for name in ("postgres", "valkey"):
        assert services[name]["healthcheck"]["test"]
    for service in services.values():
        dependencies = service.get("depends_on", {})
        for other, wanted in dependencies.items() if isinstance(dependencies, dict) else []:
            finishes = wanted["condition"] == "service_completed_successfully"
            assert finishes == (other == "migrate")


def test_versions_are_pinned() -> None:
    """`latest` is another server each month, and a new major PostgreSQL cannot read the data."""
    images = [service["image"] for service in read_services().values() if "build" not in service]

    assert len(images) == 5
    for image in images:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+[\w.-]*", image), image
    for each, arguments in read_dockerfile():
        assert each != "FROM" or re.match(r"python:3\.11\.\d+-slim-\w+( AS \w+)?$", arguments)


def test_image_holds_what_is_pinned_and_does_not_run_as_root() -> None:
    """Packages by hash, files that exist, a user by number."""
    instructions = read_dockerfile()

    assert any(
        each == "RUN" and "--require-hashes -r /server.lock" in arguments
        for each, arguments in instructions
    )
    assert int(find_instruction("USER").partition(":")[0]) > 0
    for each, arguments in instructions:
        if each == "COPY" and "--from" not in arguments:
            *sources, _ = arguments.split()
            assert [source for source in sources if not (ROOT / source).exists()] == []
            allowed = (ROOT / ".dockerignore").read_text().splitlines()
            assert [source for source in sources if f"!{source}" not in allowed] == []


def test_image_gets_the_packages_that_were_tested() -> None:
    """`make lock` writes both files; one written alone would ship what no test has seen."""
    server, tested = read_pins("server.lock"), read_pins("dev.lock")
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    names = {re.split(r"[\[<>=]", each)[0] for each in wanted}

    assert names <= server.keys()
    assert server.items() <= tested.items()
    assert "pytest" not in server
