"""`python -m orders`."""

from chassis.process.app import run
from orders.handlers import SERVICE


def main() -> None:
    run(SERVICE)
