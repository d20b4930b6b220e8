"""`python -m orders`."""

from chassis.process.cli import run
from orders.handlers import SERVICE


def main() -> None:
    run(SERVICE)
