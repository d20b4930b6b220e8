"""Checks docker-compose.yml: confined containers, a role per service, no visible password."""

from __future__ import annotations

import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.registry import SERVICES as PUBLISHERS
from contracts.registry import TOPICS
from system.processes import OPTIONAL, SERVICES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {
    "secrets",
    "acls",
    "provision",
    "demo",
    *(f"migrate-{service}" for service in (*SERVICES, *OPTIONAL)),
}
each_container = pytest.mark.parametrize("name", CONTAINERS)


@each_container
def test_a_container_is_confined(name: str) -> None:
    container = CONTAINERS[name]
    assert container["cap_drop"] == ["ALL"] and "cap_add" not in container
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["read_only"] is True and "/tmp" in container["tmpfs"]
    assert "privileged" not in container
    assert re.fullmatch(r"\d+[mg]", container["mem_limit"]) and container["pids_limit"] > 0


@each_container
def test_the_first_process_of_a_container_reaps_what_a_health_check_leaves_behind(name: str) -> None:
    """As the first process, PostgreSQL takes a check that was killed after its time limit for a crashed process of its own,
    and restarts."""
    assert CONTAINERS[name]["init"] is True


@each_container
def test_a_container_that_stays_is_restarted_and_one_that_ends_is_not(name: str) -> None:
    assert CONTAINERS[name]["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")


def test_ports_are_open_to_this_machine_alone() -> None:
    ports = [port for container in CONTAINERS.values() for port in container.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_webhooks_reach_the_receivers_of_the_demo_and_no_other_private_address() -> None:
    assert {name for name in CONTAINERS if "receivers" in CONTAINERS[name].get("networks", ())} == {"webhooks", "demo"}
    [config] = COMPOSE["networks"]["receivers"]["ipam"]["config"]
    assert CONTAINERS["webhooks"]["environment"]["WEBHOOKS_ALLOWED_NETWORKS"] == config["subnet"]
    [name] = CONTAINERS["webhooks"]["networks"]["receivers"]["aliases"]
    assert CONTAINERS["demo"]["environment"]["WEBHOOKS_URL"] == f"http://{name}:8000"


def test_no_password_is_in_the_file_or_in_the_environment_of_a_container() -> None:
    assert not re.search(r"://[^/\s]*:[^/\s]*@", TEXT)
    for name, container in CONTAINERS.items():
        for variable in container.get("environment", {}):
            assert variable.endswith("_FILE") or not re.search("PASSWORD|SECRET", variable), name


@each_container
def test_a_container_reads_only_its_own_secrets_and_writes_none(name: str) -> None:
    mounted = {volume for volume in CONTAINERS[name].get("volumes", ()) if volume.startswith("secrets-")}
    owner = "kafka" if name == "acls" else name.removeprefix("migrate-")
    expected = {f"secrets-{owner}:/run/secrets:ro"} if f"secrets-{owner}" in COMPOSE["volumes"] else set()
    if name == "secrets":
        expected = {f"{volume}:/secrets/{volume.removeprefix('secrets-')}" for volume in COMPOSE["volumes"]
                    if volume.startswith("secrets-")}  # fmt: skip
    assert mounted == expected


def test_secrets_are_random_made_once_and_the_same_for_database_and_service(tmp_path: Path) -> None:
    for reader in ("postgres", "kafka", "provision", "demo", *OPTIONAL, *SERVICES):
        (tmp_path / reader).mkdir()
    script = (ROOT / "deploy" / "secrets.sh").read_text().replace("/secrets/", f"{tmp_path}/")

    def made() -> dict[str, str]:
        subprocess.run(["sh", "-c", script], check=True)
        return {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    first = made()
    words = [first[f"postgres/{role}"] for role in ("postgres", "demo", *OPTIONAL, *SERVICES)]
    assert all(re.fullmatch(r"[0-9a-f]{48}", word) for word in words) and len(set(words)) == len(words)
    for service in SERVICES:
        url = f"postgresql://{service}:{first[f'postgres/{service}']}@postgres:5432/{service}"
        assert first[f"{service}/{service}_database_url"] == url
        assert f'user_{service}="{first[f"{service}/{service}_kafka_sasl_password"]}"' in first["kafka/jaas.conf"]
    for asking, asked in (
        ("dintero_compat", "orders"),
        ("dintero_compat", "payments"),
        *(("console", one) for one in PUBLISHERS),
    ):
        key = first[f"{asked}/{asking}_api_key"]
        assert re.fullmatch(r"tw_[0-9a-f]{12}_[0-9a-f]{64}", key) and first[f"{asking}/{asking}_{asked}_api_key"] == key
    assert made() == first


def test_what_only_some_use_starts_by_its_profile_alone() -> None:
    assert {name: container["profiles"] for name, container in CONTAINERS.items() if "profiles" in container} == {
        "demo": ["demo"], "test-gateway": ["demo"], "dintero_compat": ["dintero_compat"], "migrate-dintero_compat": ["dintero_compat"],
    }  # fmt: skip
    assert CONTAINERS["dintero_compat"]["command"] == ["api"], "it reads no topic, and has no right to one"


def test_a_topic_is_written_by_the_service_that_owns_it_and_commands_by_orders() -> None:
    """The rights of `deploy/acls.sh` are exactly those that the topics of the registry need."""
    script = (ROOT / "deploy" / "acls.sh").read_text().replace("\\\n", " ")
    calls = re.findall(r"^ *allow (.*--operation Write.*)$", script, re.MULTILINE)
    writers: dict[str, set[str]] = {}
    for call in calls:
        for service in PUBLISHERS if "$service" in call else ("",):
            user = re.findall(r"User:([\w$]+)", call)[0].replace("$service", service)
            for topic in re.findall(r"--topic (\S+)", call):
                writers.setdefault(topic.replace("$service", service).strip('"'), set()).add(user)
    assert set(writers) == set(TOPICS) - {"orders.commands.v1"}, "orders is asked over HTTP"
    for topic, users in writers.items():
        owner, _, kind = topic.partition(".")
        assert users == {"demo" if owner == "marketplace" else "orders" if kind.startswith("commands") else owner}
    groups = {
        (user, operation, group)
        for user, operation, group in re.findall(r"User:(\S+?)\"? --operation (\w+) --group (\S+)", script)
    }
    assert groups == {("$service", "Read", '"$service"'), ("console", "Describe", "'*'")}
    kafka = CONTAINERS["kafka"]["environment"]
    assert kafka["KAFKA_AUTHORIZER_CLASS_NAME"].endswith("StandardAuthorizer")
    assert kafka["KAFKA_SUPER_USERS"] == "User:admin"
    assert "PLAINTEXT" not in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].replace("SASL_PLAINTEXT", "")


def test_each_variable_of_the_containers_is_a_setting_of_its_service() -> None:
    """A misspelt one would be ignored, and the service would start with a default."""
    fields = {
        f"{name}_{field}".upper()
        for name in (*SERVICES, *OPTIONAL)
        for field in import_module(f"{name}.handlers").SERVICE.settings.model_fields
    }
    assert COMPOSE["x-settings"].keys() <= fields | {"PYTHONUNBUFFERED"}, COMPOSE["x-settings"].keys() - fields


def test_an_image_is_built_for_every_service_and_only_from_what_the_lock_pins_for_it() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name in (*SERVICES, *OPTIONAL):
        assert f"COPY services/{name}/pyproject.toml services/{name}/" in dockerfile, name
        assert re.search(rf"runtime_lock\.py [^>]*services/{name}\b[^>]*> runtime\.lock", dockerfile), name
        for container in (name, f"migrate-{name}"):
            assert CONTAINERS[container]["build"]["args"] == {"SERVICE": name}, container
