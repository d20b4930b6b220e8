"""`python -m payments`: one process of the payments service."""

from chassis.process.cli import run
from payments.handlers import SERVICE


def main() -> None:
    run(SERVICE)
