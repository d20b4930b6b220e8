"""`python -m payments`: one process of the payments service."""

from chassis.process.cli import run
from payments.handlers import SERVICE
from payments.importing import IMPORT


def main() -> None:
    run(SERVICE, IMPORT)
