"""Addresses that no delivery may connect to, and the ways to write one, for tests of the gate."""

from __future__ import annotations

from typing import Final

OF_SVIX: Final = (
    "10.254.0.0", "192.168.10.65", "172.16.10.65", "0.1.2.3", "0.0.0.0", "127.0.0.1", "169.254.45.1", "255.255.255.255",
    "192.0.2.255", "198.51.100.65", "203.0.113.6", "100.100.0.0", "192.0.0.0", "192.0.0.255", "250.10.20.30", "198.18.0.0",
    "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.1", "::ffff:10.254.0.0", "::ffff:192.168.10.65", "::ffff:172.16.10.65",
    "::ffff:169.254.45.1", "::ffff:100.100.0.0", "::ffff:198.18.0.0", "ff02::1", "::1", "fe80::1", "fc02::", "fd00::1", "::",
    "2001:db8::",
)  # fmt: skip
"""What Svix' server refuses: the addresses of its test, some of them also mapped, and one for each kind of IPv6 address that
it names (github.com/svix/svix-webhooks, server/svix-server/src/core/webhook_http_client.rs, `is_allowed` and `is_allowed_test`)."""
PUBLIC_OF_SVIX: Final = ("1.1.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8")
"""What the same test allows. It allows `0:0:0:ffff::1`, too, which is outside of what is assigned (2000::/3)."""

HOSTS: Final = (
    "127.0.0.1", "127.1", "127.0.1", "127.000.000.001", "127.0.0.1.",
    "2130706433", "017700000001", "0177.0.0.1", "00000177.00000000.00000000.00000001", "0177.1",
    "0x7f000001", "0x7f.1", "0x7f.0x0.0x0.0x1", "0X7F.0.0.1", "0177.0x0.0.1",
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",  # IPv4-translated, RFC 2765
    "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]",  # NAT64, RFC 6052 and 8215
    "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]",  # 6to4
    "[2001:0:7f00:1::]",  # Teredo
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",  # digits and dots that IDNA maps
    "%31%32%37.0.0.1", "127%2e0%2e0%2e1",
    "0", "0.0.0.0", "localhost", "LOCALHOST.", "db.localhost", "\u24dbocalhost",
    "169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]",
    "10.0.0.1", "192.168.0.1", "100.64.0.1",
)  # fmt: skip
"""Hosts of a URL that are addresses of the machine, of its network or of the metadata of a cloud, however they are written."""
ZONES: Final = ("[fe80::1%25lo]", "[fe80::1%lo]", "[::1%25lo]", "[fe80::1%251]")
"""Addresses with a zone, which no URL of an endpoint may have."""
WITH_CREDENTIALS: Final = (
    "example.com@127.0.0.1",
    "example.com:443@127.0.0.1",
    "1.1.1.1&@127.0.0.1",
    "127.0.0.1@127.1",
)
"""A reader may take the first part for the host."""
