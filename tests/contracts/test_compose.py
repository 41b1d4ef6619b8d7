"""docker-compose.yaml: what it holds, and what it must never do. No Docker is needed to check it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
JOBS = {"initialise-lake", "initialise-airflow"}
SERVERS = {
    "postgres", "seaweedfs", "lakefs", "mlflow", "spark-master", "spark-worker",
    "airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer",
}  # fmt: skip
EXAMPLE = dict(
    line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if re.match("[A-Z]", line)
)
SECRETS = {name for name, value in EXAMPLE.items() if not value}
# Of the keys of a service, those that Compose 1.29 knows as well as v2 does.
KNOWN_TO_V1_AND_V2 = {
    "image", "build", "init", "security_opt", "cap_drop", "restart", "environment", "volumes", "depends_on",
    "command", "ports", "healthcheck",
}  # fmt: skip


def test_the_whole_stack_is_there():
    assert set(SERVICES) == SERVERS | JOBS


def test_only_keys_that_both_versions_of_compose_know():
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"services", "volumes"}
    for name, service in SERVICES.items():
        assert set(service) <= KNOWN_TO_V1_AND_V2, name


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_a_server_tells_its_health_and_comes_back(name):
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_job_runs_once(name):
    assert "restart" not in SERVICES[name]
    assert SERVICES[name]["command"][:2] == ["python", "docker/initialise.py"]


def test_every_dependency_waits_for_health_or_for_the_job():
    waits = [
        (wait, how["condition"]) for s in SERVICES.values() for wait, how in s.get("depends_on", {}).items()
    ]
    assert len(waits) > 10
    for wait, condition in waits:
        assert condition == ("service_completed_successfully" if wait in JOBS else "service_healthy")
    assert {"initialise-airflow", "initialise-lake"} <= {wait for wait, _ in waits}


@pytest.mark.parametrize("name", sorted(SERVERS | JOBS))
def test_images_are_pinned_and_nothing_is_privileged(name):
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?(-[a-z]+)?", service["image"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_ports_are_published_on_loopback_only(name):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z0-9_]+:-\d+\}:\d+", port)


def test_the_ports_that_people_need_are_published():
    published = {name for name, service in SERVICES.items() if service.get("ports")}
    assert published == {"airflow-api-server", "lakefs", "mlflow", "postgres", "seaweedfs", "spark-master"}


def test_secrets_come_from_the_environment_file_only():
    values = [(key, str(value)) for s in SERVICES.values() for key, value in s.get("environment", {}).items()]
    secret = [
        (key, value)
        for key, value in values
        if re.search("PASSWORD$|SECRET|FERNET|JWT|_DSN|_CONN|STORE_URI", key)
    ]
    assert len(secret) > 20
    for key, value in secret:
        given = re.findall(r"\$\{([A-Z0-9_]+):\?", value)
        assert given, f"{key} holds a secret of its own: {value}"
        assert set(given) <= SECRETS


def test_no_secret_stands_on_a_command_line():
    for name, service in SERVICES.items():
        assert "${" not in str(service.get("command", "")) + str(service.get("healthcheck", "")), name


def test_the_example_lists_each_variable_and_no_more():
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", TEXT))
    assert len(used) > 15
    assert used == set(EXAMPLE)


def test_defaults_are_those_of_the_example():
    for name, default in re.findall(r"\$\{([A-Z0-9_]+):-([^}]+)\}", TEXT):
        assert EXAMPLE[name] == default


def test_our_variables_are_those_of_the_settings():
    known = {f"HEADRACE_{name.upper()}" for name in Settings.model_fields}
    ours = [key for s in SERVICES.values() for key in s.get("environment", {}) if key.startswith("HEADRACE_")]
    assert len(set(ours)) > 10
    assert set(ours) <= known


def test_airflow_reads_plugins_and_values_as_in_the_embedded_stack():
    embedded = (ROOT / "include" / "stack" / "airflow.py").read_text()
    environment = SERVICES["airflow-scheduler"]["environment"]
    classes = environment["AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES"]
    assert f'"CORE__ALLOWED_DESERIALIZATION_CLASSES": "{classes}"' in embedded
    assert (
        environment["AIRFLOW__CORE__PLUGINS_FOLDER"] == f"{environment['AIRFLOW__CORE__DAGS_FOLDER']}/plugins"
    )


def test_releases_can_be_signed():
    assert "SIGNING_KEY" in SECRETS
    for name in ("airflow-scheduler", "airflow-triggerer"):
        assert SERVICES[name]["environment"]["HEADRACE_SIGNING_KEY"].startswith("${SIGNING_KEY:?")


def test_volumes_are_named_and_only_read_only_files_come_from_the_checkout():
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith((".", "/"))}
    assert named == set(COMPOSE["volumes"])
    assert all(mount.endswith(":ro") for mount in mounts if mount.startswith("."))
    assert not [mount for mount in mounts if mount.startswith("/")]


def test_the_image_takes_its_base_as_an_argument_and_runs_as_a_user():
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    assert COMPOSE["x-headrace"]["build"]["args"]["BASE_IMAGE"].startswith("${BASE_IMAGE:-")
    assert re.search(r"^ARG BASE_IMAGE=python:3\.11\S+\nFROM \$\{BASE_IMAGE\}$", dockerfile, re.MULTILINE)
    assert "# syntax=" not in dockerfile
    users = re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)
    assert users == ["headrace"]
    assert "bootstrap.py" in dockerfile
    assert "latest" not in dockerfile


def test_the_environment_file_stays_out_of_the_image_and_of_git():
    assert ".env" in (ROOT / ".dockerignore").read_text().splitlines()
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_compose_itself_takes_the_file(tmp_path):
    """With whichever Compose the machine has, v1 or v2."""

    commands = [["docker-compose"]] if shutil.which("docker-compose") else []
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    ):
        commands.append(["docker", "compose"])
    if not commands:
        pytest.skip("this machine has neither docker-compose nor the compose plugin")
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}={value or 'x'}\n" for name, value in EXAMPLE.items()))
    for command in commands:
        whole = [*command, "--env-file", str(env_file), "--file", str(ROOT / "docker-compose.yaml"), "config"]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert set(yaml.safe_load(done.stdout)["services"]) == SERVERS | JOBS
