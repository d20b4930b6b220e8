"""`results.svg`: each judged figure as a bar with its floor and goal, the peer, and the CPU seconds per process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.report import judged
from bench.targets import TARGETS
from chassis.svg import COLOURS, STYLE, picture, shape, words

WIDTH, LEFT, RIGHT, ROW, BAR = 880, 320, 150, 34, 14


def drawn(figures: dict[str, Any]) -> str:
    machine = figures["machine"]
    about = f"{machine['cpu']}, {machine['cores']} cores, everything and the load on one machine, fsync on, {figures['date']}"
    rows = [*_bars(figures), *_cpu(figures)]
    parts = [
        words("What was measured", x=12, y=22, class_="head"),
        words(f"{about}. Grey line: floor, green line: goal.", x=12, y=40, class_="dim"),
        *(shape("g", row, transform=f"translate(0 {54 + n * ROW})") for n, row in enumerate(rows)),
    ]
    height = 54 + len(rows) * ROW + 8
    body = "\n" + "\n".join(parts) + "\n"
    return picture("Measured speed", about, body, width=WIDTH, height=height, style=STYLE) + "\n"


def _bars(figures: dict[str, Any]) -> Iterator[str]:
    width = WIDTH - LEFT - RIGHT
    peers = figures["parts"].get("dbos", {})
    for name, one in judged(figures).items():
        target, value = TARGETS[name], one["median"]
        scale = width / (1.15 * (max(value, target.floor, target.goal) or 1))
        tone = "low" if target.verdict(value) == "below the floor" else "bar"
        parts = [
            words(target.text, x=12, y=BAR - 2),
            words(
                f"floor {target.floor:,.0f}, goal {target.goal:,.0f} {target.unit}{'' if target.more_is_better else ' (less is better)'}",
                x=12, y=BAR + 11, class_="dim",
            ),
            shape("rect", x=LEFT, width=width, height=BAR, rx=2, class_="track"),
            shape("rect", x=LEFT, width=value * scale, height=BAR, rx=2, class_=tone),
            *(
                shape("line", x1=LEFT + mark * scale, x2=LEFT + mark * scale, y1=-3, y2=BAR + 3, class_=kind)
                for kind, mark in (("mark", target.floor), ("goal", target.goal))
            ),
            words(f"{value:,.{0 if value >= 100 else 1}f} {target.unit}", x=WIDTH - RIGHT + 12, y=BAR - 2),
        ]  # fmt: skip
        if name == "orders_per_second" and (dbos := peers.get("workflows_per_second")):
            length, rate = dbos["median"] * scale, f"DBOS, four steps: {dbos['median']:.0f} /s{_times(peers)}"
            parts.append(shape("rect", x=LEFT, y=BAR + 2, width=length, height=5, class_="peer"))
            parts.append(words(rate, x=LEFT + 6 + length, y=BAR + 10, class_="dim"))
        yield "".join(parts)


def _times(peers: dict[str, Any]) -> str:
    times = peers.get("times_dbos")
    return f"; {times['median']} times as many here ({times['min']:.1f} to {times['max']:.1f})" if times else ""


def _cpu(figures: dict[str, Any]) -> Iterator[str]:
    """CPU seconds per process as one stacked bar with its legend."""
    ours = figures["parts"].get("throughput", {})
    costs = {name.removeprefix("cpu_"): one["median"] for name, one in ours.items() if name.startswith("cpu_")}
    if not costs:
        return
    whole, width = sum(costs.values()), WIDTH - LEFT - RIGHT
    x, at, bar, legend = float(LEFT), 12, [], []
    for number, (name, cost) in enumerate(costs.items()):
        part, label, colour = cost / whole * width, f"{name} {cost:.2f}", f"c{number % COLOURS}"
        bar.append(shape("rect", x=x, width=part, height=BAR, class_=colour))
        legend.append(shape("rect", x=at, y=0, width=10, height=10, class_=colour))
        legend.append(words(label, x=at + 15, y=9, class_="dim"))
        x, at = x + part, at + 34 + 6 * len(label)
    yield "".join(
        (words("CPU seconds per 1,000 orders", x=12, y=BAR - 2), *bar,
         words(f"{whole:.2f} s", x=WIDTH - RIGHT + 12, y=BAR - 2))
    )  # fmt: skip
    yield "".join(legend)
