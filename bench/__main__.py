"""`python -m bench`: measures, prints, and writes `bench/results.json` and `bench/results.svg`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

from rich.console import Console

from bench import picture, report
from bench.machine import is_quiet, machine
from bench.session import INSTANCE, NAMES, QUICK, Session, Sizes, Violated
from bench.shop import Stalled
from bench.targets import TARGETS
from devservices.errors import DevservicesError


def main() -> int:
    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the speed of the whole system on this machine."
    )
    parser.add_argument("--quick", action="store_true", help="one small run of each measurement: a few minutes")
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}; may be repeated"
    )
    parser.add_argument("--out", type=Path, help="the directory of results.json and results.svg (full runs: bench/)")
    arguments = parser.parse_args()
    console = Console(width=max(Console().width, 120), highlight=False)
    whole = not arguments.quick and not arguments.only
    out: Path = arguments.out or (root / "bench" if whole else root / ".devservices" / INSTANCE)
    only = arguments.only or NAMES
    if "dbos" in only and importlib.util.find_spec("dbos") is None:
        console.print("DBOS, the peer, is not installed: pip install --require-hashes -r requirements-bench.lock")
        return 1
    on = machine()
    if not is_quiet(on["load_average_before"]):
        console.print(
            f"The machine is busy (load average {on['load_average_before']}): the figures will be lower than on an idle one."
        )
    sizes = QUICK if arguments.quick else Sizes()
    session = Session(root, sizes, only, show=console.print)
    try:
        results = session.run()
    except (DevservicesError, Stalled, Violated, RuntimeError) as error:
        report.show(report.figures(session.results, sizes, on), console)
        console.print(f"The run failed and wrote no results. {type(error).__name__}: {error}")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted: everything that the run started has ended.")
        return 130
    figures = report.figures(results, sizes, on)
    report.show(figures, console)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(figures, indent=1) + "\n")
    (out / "results.svg").write_text(picture.drawn(figures))
    console.print(f"written: {out / 'results.json'}, {out / 'results.svg'}")
    low = [TARGETS[name].text for name, one in report.judged(figures).items()
           if TARGETS[name].verdict(one["median"]) == "below the floor"]  # fmt: skip
    if low:
        console.print(f"below the floor: {', '.join(low)}")
    return 1 if low and whole else 0


if __name__ == "__main__":
    sys.exit(main())
