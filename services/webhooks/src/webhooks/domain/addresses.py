"""Which addresses a delivery may connect to: public ones, and those that the operator allows.

The list is our own, from the registries of special-purpose addresses (IANA, iana.org/assignments/iana-ipv4-special-registry
and iana-ipv6-special-registry): `ipaddress.is_global` counts some of them as global. An IPv4 address that is mapped
into an IPv6 address is judged by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOT_PUBLIC_V4: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
PUBLIC_V6: Final = ip_network("2000::/3")
"""All that is assigned for global unicast. NAT64 (64:ff9b::/96) is outside."""
NOT_PUBLIC_V6: Final[tuple[Network, ...]] = tuple(
    ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)


def is_allowed(address: str, allowed: Iterable[Network] = ()) -> bool:
    """Returns whether a delivery may connect to a numeric address. allowed: networks of the operator."""
    found = ip_address(address.partition("%")[0])
    return any(found.version == one.version and found in one for one in allowed) or _is_public(found)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return address in PUBLIC_V6 and not any(address in network for network in NOT_PUBLIC_V6)
    v4 = address.ipv4_mapped if isinstance(address, IPv6Address) else address
    return not any(v4 in network for network in NOT_PUBLIC_V4)
