from chassis.process.cli import run
from dintero.handlers import SERVICE

run(SERVICE)
