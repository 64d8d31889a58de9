"""docker-compose.yml against what Compose expects and what our commands are."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import ingest.cli
from search_app.cli import app as search_app
from search_app.config import describe_settings, load_settings

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
APPS = {"ingest": ingest.cli.app, "search-app": search_app}
ONE_SHOT = {"migrate", "nightly"}
# Of https://github.com/compose-spec/compose-spec, as far as they are used.
KEYS = {
    *("image", "build", "command", "environment", "volumes", "networks", "depends_on", "ports"),
    *("healthcheck", "restart", "deploy", "profiles", "init", "read_only", "tmpfs", "cap_drop"),
    *("security_opt", "shm_size", "stop_grace_period"),
}
SECRETS = {"POSTGRES_PASSWORD", "QDRANT_API_KEY", "UNMOVED_SECRET_KEY"}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


def ours() -> dict[str, dict[str, Any]]:
    return {name: each for name, each in SERVICES.items() if each["image"] == "unmoved:latest"}


def command_lines(service: dict[str, Any]) -> Iterator[list[str]]:
    """Give the command lines of ours that a service runs, those in a shell's script too."""
    command = service["command"]
    test = service.get("healthcheck", {}).get("test", ["CMD", "none"])
    for words in (command, test[1:]):
        if words[0] in APPS:
            yield words
        elif words[:2] == ["sh", "-c"]:
            for line in words[2].splitlines():
                found = re.match(r"\s*((?:ingest|search-app) [^|&;]+)", line)
                if found:
                    yield found[1].split()


def test_services_have_only_what_compose_knows() -> None:
    assert set(COMPOSE) - {"x-unmoved", "x-qdrant"} == {"name", "services", "networks", "volumes"}
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, name


def test_there_is_everything_that_an_installation_takes() -> None:
    assert {"postgres", "migrate", "web", "worker", "nightly", "qdrant"} <= set(SERVICES)
    assert (
        len([name for name, each in SERVICES.items() if each.get("profiles") == ["cluster"]]) == 3
    )
    always = {name for name, each in SERVICES.items() if not each.get("profiles")}
    assert always == {"postgres", "migrate", "web", "worker"}
    assert SERVICES["worker"]["deploy"]["replicas"] == "${WORKERS:-2}"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_a_service_names_is_there(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    for needed, how in service.get("depends_on", {}).items():
        condition = how["condition"]
        if condition == "service_healthy":
            assert "healthcheck" in SERVICES[needed]
        else:
            assert condition == "service_completed_successfully"
            assert needed in ONE_SHOT
        # What only runs in a profile must not be needed by what runs without.
        hidden = set(SERVICES[needed].get("profiles", [])) - set(service.get("profiles", []))
        assert not hidden or how["required"] is False
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    for volume in service.get("volumes", []):
        source = VARIABLE.sub("./variable", volume).split(":")[0]
        assert source.startswith(("./", "/")) or source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_limits_and_says_how_it_is(name: str) -> None:
    service = SERVICES[name]
    if name != "migrate":
        assert service["deploy"]["resources"]["limits"]["memory"]
    if name not in ONE_SHOT:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in service["security_opt"]
    assert ":latest" not in service["image"] or service["image"] == "unmoved:latest"


@pytest.mark.parametrize("name", sorted(ours()))
def test_our_commands_exist(name: str) -> None:
    lines = list(command_lines(SERVICES[name]))
    assert lines
    for program, *words in lines:
        command: Any = typer.main.get_command(APPS[program])
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option: each for each in command.params for option in each.opts}
        assert {word for word in words if word.startswith("--")} <= known.keys()
        for each in command.params:
            if each.param_type_name == "argument" and each.required:
                assert [word for word in words if not word.startswith("--")]


def test_every_setting_given_is_one_of_ours() -> None:
    known = {row.variable for row in describe_settings(load_settings())}
    for service in ours().values():
        assert set(service["environment"]) - {"PGPASSWORD"} <= known


def test_every_variable_is_explained_and_no_secret_has_a_value() -> None:
    used = {found[1]: found for text in strings(COMPOSE) for found in VARIABLE.finditer(text)}
    explained = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, flags=re.MULTILINE))
    # Read by Compose itself.
    assert explained.pop("COMPOSE_PROFILES") == ""
    assert used.keys() == explained.keys()
    for name in SECRETS:
        assert used[name][2] == "?"
        assert explained[name] == ""
    for name, found in used.items():
        if found[2] == "-":
            assert explained[name] == found[3], name
    guides = [ROOT / "docs" / language / "operating.md" for language in ("en", "ja")]
    for guide in guides:
        manual = guide.read_text(encoding="utf-8")
        assert {name for name in SECRETS if name not in manual} == set()


def test_nothing_is_open_that_need_not_be() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert name == "web"
            assert port.startswith("${UNMOVED_BIND:-127.0.0.1}:")
        if name.startswith(("postgres", "qdrant")):
            assert set(service["networks"]) == {"stores"}
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    for service in ours().values():
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True


def test_the_image_brings_what_it_runs() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [
        word
        for line in lines.splitlines()
        if line.startswith("COPY") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    assert {"search_app", "ingest", "pyproject.toml", "uv.lock"} <= set(copied)
    assert "USER unmoved" in lines
    assert "--extra qdrant" in lines


def test_compose_itself_reads_it(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("there is no docker here")
    has_compose = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    if has_compose.returncode:
        pytest.skip("this docker has no compose")
    values = [f"{name}=secret" for name in sorted(SECRETS)]
    environment = tmp_path / "env"
    environment.write_text(EXAMPLE + "\n" + "\n".join(values), encoding="utf-8")
    base = [docker, "compose", "-f", str(ROOT / "docker-compose.yml")]
    profiles = [word for name in ("nightly", "qdrant", "cluster") for word in ("--profile", name)]
    for given, expected in ((str(environment), 0), ("/dev/null", 1)):
        done = subprocess.run(
            [*base, *profiles, "--env-file", given, "config", "--quiet"],
            capture_output=True,
            check=False,
            text=True,
            cwd=tmp_path,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        assert (done.returncode != 0) == (expected != 0), done.stderr
