"""`python -m payments`: one process of the payments service."""

from chassis.app import run
from payments.handlers import SERVICE


def main() -> None:
    run(SERVICE)
