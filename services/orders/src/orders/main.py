"""`python -m orders`."""

from chassis.app import run
from orders.handlers import SERVICE


def main() -> None:
    run(SERVICE)
