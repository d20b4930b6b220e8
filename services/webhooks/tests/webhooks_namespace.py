"""Runs in a network namespace in which every address is this machine's, and sends to the URLs that stdin names.

Each TCP connection to the ports 80 and 443 of any address is accepted and recorded, so nothing that passes the gate stays
unseen. A name server resolves every name. Prints what became of each URL, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from collections import Counter
from ipaddress import ip_address, ip_network
from typing import Any, Final

from webhooks.delivery.credentials import credentials_of
from webhooks.delivery.sender import Sender
from webhooks.domain.config import NoAuth, OAuth2Auth

NAME_SERVER: Final = "198.51.100.53"
PORTS: Final = (80, 443)
A, AAAA = 1, 28
PUBLIC: Final = "8.8.8.8"
ANSWERS: Final[dict[str, list[list[str]]]] = {
    "public.example": [[PUBLIC]],
    "rebinding.example": [[PUBLIC], ["127.0.0.1"]],
    "rebinding-tokens.example": [[PUBLIC], ["169.254.169.254"]],
    "metadata.example": [["169.254.169.254"]],
    "both.example": [["127.0.0.1", PUBLIC]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "nat64.example": [["64:ff9b::a9fe:a9fe"]],
    "6to4.example": [["2002:7f00:1::1"]],
}
"""What the name server answers: the first query, the second and so on; all later ones as the last. Other names: loopback."""
OTHERS: Final = [["127.0.0.1", "::1"]]
SETUP: Final = f"""
ip link set lo up && ip addr add 203.0.113.7/32 dev lo && ip -6 addr add 2001:db8::7/128 dev lo nodad &&
ip route add local 0.0.0.0/0 dev lo && ip -6 route add local ::/0 dev lo &&
mount -t tmpfs tmpfs /mnt && echo nameserver {NAME_SERVER} > /mnt/resolv.conf && echo 'hosts: files dns' > /mnt/nsswitch.conf &&
mount --bind /mnt/resolv.conf /etc/resolv.conf && mount --bind /mnt/nsswitch.conf /etc/nsswitch.conf"""


class Names(asyncio.DatagramProtocol):
    """A name server. Its answers may be stored for no time at all."""

    def __init__(self) -> None:
        self._asked: Counter[tuple[str, int]] = Counter()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode(errors="replace").lower())
            at += 1 + length
        question, (kind, _) = data[12 : at + 5], struct.unpack(">HH", data[at + 1 : at + 5])
        records = [self._record(kind, one) for one in self._addresses(".".join(labels), kind)]
        header = data[:2] + struct.pack(">HHHHH", 0x8180, 1, len(records), 0, 0)
        self._transport.sendto(header + question + b"".join(records), address)

    def _addresses(self, name: str, kind: int) -> list[str]:
        answers = ANSWERS.get(name, OTHERS)
        answer = answers[min(self._asked[name, kind], len(answers) - 1)]
        self._asked[name, kind] += 1
        return [one for one in answer if ip_address(one).version == (4 if kind == A else 6) and kind in (A, AAAA)]

    @staticmethod
    def _record(kind: int, address: str) -> bytes:
        packed = ip_address(address).packed
        return struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(packed)) + packed


class Listener:
    """Accepts each connection, records the address that it was made to, and redirects to the metadata of a cloud."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def open(self) -> None:
        for port in PORTS:
            for family, everything in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                await asyncio.start_server(self._serve, everything, port, family=family)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached.append(writer.get_extra_info("sockname")[0])
        try:
            async with asyncio.timeout(2):
                await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        writer.close()


async def main() -> None:
    loop, listener = asyncio.get_running_loop(), Listener()
    await loop.create_datagram_endpoint(Names, (NAME_SERVER, 53))
    await listener.open()
    os.environ.update(dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://10.0.0.1:80"))
    shown = []
    for given in json.load(sys.stdin):
        allowed = [ip_network("0.0.0.0/0"), ip_network("::/0")] if given["gate"] == "open" else []
        auth = (
            NoAuth()
            if not given["is_token_url"]
            else OAuth2Auth(token_url=given["url"], client_id="a", client_secret="b")
        )
        url = given["url"] if not given["is_token_url"] else f"http://{PUBLIC}/"
        answers = []
        listener.reached.clear()
        for _ in range(given["times"]):  # each with a cache of its own, as each process and each verification has
            async with Sender(allowed, connect_seconds_max=1, total_seconds_max=2) as sender:
                answer = await credentials_of(auth, lambda sealed: sealed).post(sender, url, {}, b"{}")
            answers.append([answer.status, answer.error])
        shown.append({"answers": answers, "reached": list(listener.reached)})
    json.dump(shown, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
