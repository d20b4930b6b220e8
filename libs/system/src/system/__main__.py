"""The system from the command line; `make up` and `make down` call this.

python -m system up [--servers]   starts Kafka, PostgreSQL and all services (or only the servers) and leaves them running
python -m system down             stops them; their data stays
python -m system status           prints which of them run; the exit status is 3 unless all run
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from devservices.errors import DevservicesError
from devservices.instance import Instance
from devservices.services import explained
from system.background import down, status, up
from system.interrupt import Interrupt
from system.options import add_port_options


def main() -> int:
    arguments = _parser().parse_args()
    with Interrupt() as interrupt:
        try:
            instance = Instance(arguments.root, arguments.name)
            with explained(instance):
                if arguments.command == "up":
                    ports = {"kafka_port": arguments.kafka_port, "postgres_port": arguments.postgres_port}
                    return up(instance, interrupt, servers_only=arguments.servers, **ports)
                return down(instance) if arguments.command == "down" else status(instance)
        except DevservicesError as error:
            print(f"{arguments.command}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopped: everything that this call started has ended.", file=sys.stderr, flush=True)
            os._exit(interrupt.exit_status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m system", description="The whole system, left running.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="up|down|status")
    for command, text in (
        ("up", "start what does not run yet and leave it running"),
        ("down", "stop what runs; the data stays"),
        ("status", "print what runs"),
    ):
        sub = commands.add_parser(command, help=text)
        sub.add_argument("--root", type=Path, default=Path.cwd(), help="the clone; default: the current directory")
        sub.add_argument("--name", default="up", help="the instance: each has data of its own; default: up")
    up_options = commands.choices["up"]
    up_options.add_argument("--servers", action="store_true", help="Kafka and PostgreSQL only, no service")
    add_port_options(up_options)
    return parser


if __name__ == "__main__":
    sys.exit(main())
