"""`python -m fulfillment`: the whole service in one process."""

from chassis.process.cli import run
from fulfillment.handlers import SERVICE

if __name__ == "__main__":
    run(SERVICE)
