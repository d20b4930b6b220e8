from chassis.process.cli import run
from dintero_compat.handlers import SERVICE

run(SERVICE)
