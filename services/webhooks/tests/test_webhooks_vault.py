"""Secrets are sealed under keys that can be replaced, and only for their endpoint."""

from __future__ import annotations

from uuid import uuid4

import pytest
from pydantic import ValidationError

from webhooks.settings import Settings
from webhooks.vault import Closed, Unreadable, Vault

OLD, NEW, ENDPOINT = "old" * 20, "new" * 20, uuid4()


def test_the_first_key_seals_and_every_key_opens() -> None:
    sealed = Vault([OLD]).seal(ENDPOINT, "whsec_é")
    assert "whsec" not in sealed
    assert Vault([NEW, OLD]).open(ENDPOINT, sealed) == "whsec_é"
    with pytest.raises(Unreadable):
        Vault([NEW]).open(ENDPOINT, sealed)
    anew = Vault([NEW, OLD]).seal(ENDPOINT, "x")
    assert Vault([NEW]).open(ENDPOINT, anew) == "x"


def test_the_same_secret_is_sealed_otherwise_each_time() -> None:
    assert Vault([OLD]).seal(ENDPOINT, "x") != Vault([OLD]).seal(ENDPOINT, "x")


@pytest.mark.parametrize("changed", ["", "%", "AAAA", "other"])
def test_a_changed_text_and_another_endpoints_are_not_opened(changed: str) -> None:
    sealed = Vault([OLD]).seal(ENDPOINT, "x")
    text = Vault([OLD]).seal(uuid4(), "x") if changed == "other" else changed
    for one in (text, sealed[:-4] + "AAAA", sealed[4:]):
        with pytest.raises(Unreadable):
            Vault([OLD]).open(ENDPOINT, one)


def test_without_a_key_nothing_is_sealed_or_opened() -> None:
    with pytest.raises(Closed):
        Vault([]).seal(ENDPOINT, "x")
    with pytest.raises(Unreadable):
        Vault([]).open(ENDPOINT, Vault([OLD]).seal(ENDPOINT, "x"))


@pytest.mark.parametrize("wrong", [
    {"secret_keys": "short"}, {"secret_keys": f"{OLD} short"}, {"endpoint_ports": "https"}, {"endpoint_ports": "0"},
    {"endpoint_ports": "65536"}, {"allowed_networks": "10.0.0.1/8"}, {"allowed_networks": "local"},
])  # fmt: skip
def test_a_setting_that_cannot_be_used_stops_the_start(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings(database_url="postgresql://x", **wrong)  # type: ignore[arg-type]


def test_a_key_is_never_printed() -> None:
    assert OLD not in repr(Settings(database_url="postgresql://x", secret_keys=OLD))
