"""No delivery connects to an address of the house. The addresses are those of the registries of IANA, in several spellings."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from webhooks_addresses import OF_SVIX, PUBLIC_OF_SVIX

from webhooks.domain.addresses import is_allowed

REFUSED = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.3", "192.168.0.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::1", "64:ff9b::c0a8:0", "64:ff9b:1::1",
    "100::1", "2001::1", "2001:20::1", "2001:db8::1", "2002:c0a8:1::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
)  # fmt: skip
ALLOWED = (
    "1.1.1.1",
    "8.8.8.8",
    "100.128.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "::ffff:8.8.8.8",
    "2606:4700::1111",
    "2a00:1450::5",
)


@pytest.mark.parametrize("address", [*REFUSED, *OF_SVIX])
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", [*ALLOWED, *PUBLIC_OF_SVIX])
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(address)


def test_an_operator_allows_networks() -> None:
    allowed = [ip_network("127.0.0.0/8"), ip_network("fd00::/8")]
    assert is_allowed("127.0.0.1", allowed) and is_allowed("fd00::9", allowed)
    assert not is_allowed("10.0.0.1", allowed) and not is_allowed("::1", allowed)
