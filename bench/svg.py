"""`results.svg`: each judged figure as a bar with its floor and goal, the peer, and the CPU seconds per process.

The SVG is written without a library and is readable on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from bench.report import judged
from bench.targets import TARGETS

WIDTH, LEFT, RIGHT, ROW, BAR = 880, 320, 150, 34, 14
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f } .dim { fill: #57606a; font-size: 11px } .head { font-weight: 600 }
  .bar { fill: #2f81f7 } .low { fill: #cf222e } .peer { fill: #8c959f } .track { fill: #8c959f; fill-opacity: .15 }
  .mark { stroke: #57606a; stroke-width: 1.5 } .goal { stroke: #1a7f37; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .dim { fill: #8b949e } .mark { stroke: #8b949e } .goal { stroke: #3fb950 }
  }"""
COLOURS = ("#2f81f7", "#1a7f37", "#bf8700", "#8250df", "#d4679b", "#57606a", "#0a7ea4", "#bc4c00")


def picture(figures: dict[str, Any]) -> str:
    parts: list[str] = []
    y = 54
    for row in (*_bars(figures), *_cpu(figures)):
        parts.append(f'<g transform="translate(0 {y})">{row}</g>')
        y += ROW
    machine = figures["machine"]
    about = f"{machine['cpu']}, {machine['cores']} cores, everything and the load on one machine, fsync on, {figures['date']}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" width="{WIDTH}" height="{y + 8}"'
        f' role="img" aria-label="Measured speed">\n<style>{STYLE}\n</style>\n'
        f'<text class="head" x="12" y="22">What was measured</text>\n'
        f'<text class="dim" x="12" y="40">{escape(about)}. Grey line: floor, green line: goal.</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bars(figures: dict[str, Any]) -> Iterator[str]:
    width = WIDTH - LEFT - RIGHT
    peers = figures["parts"].get("dbos", {})
    for name, one in judged(figures).items():
        target, value = TARGETS[name], one["median"]
        scale = width / (1.15 * (max(value, target.floor, target.goal) or 1))
        style = "low" if target.verdict(value) == "below the floor" else "bar"
        marks = "".join(
            f'<line class="{kind}" x1="{LEFT + mark * scale:.1f}" x2="{LEFT + mark * scale:.1f}" y1="-3" y2="{BAR + 3}"/>'
            for kind, mark in (("mark", target.floor), ("goal", target.goal))
        )
        peer = ""
        if name == "orders_per_second" and (dbos := peers.get("workflows_per_second")):
            peer = f'<rect class="peer" x="{LEFT}" y="{BAR + 2}" width="{dbos["median"] * scale:.1f}" height="5"/>'
            peer += f'<text class="dim" x="{LEFT + 6 + dbos["median"] * scale:.1f}" y="{BAR + 10}">DBOS, four steps: {dbos["median"]:.0f} /s{_times(peers)}</text>'
        less = "" if target.more_is_better else " (less is better)"
        yield (
            f'<text x="12" y="{BAR - 2}">{escape(target.text)}</text><text class="dim" x="12" y="{BAR + 11}">'
            f"floor {target.floor:,.0f}, goal {target.goal:,.0f} {target.unit}{less}</text>"
            f'<rect class="track" x="{LEFT}" width="{width}" height="{BAR}" rx="2"/>'
            f'<rect class="{style}" x="{LEFT}" width="{value * scale:.1f}" height="{BAR}" rx="2"/>{marks}{peer}'
            f'<text x="{WIDTH - RIGHT + 12}" y="{BAR - 2}">{value:,.{0 if value >= 100 else 1}f} {target.unit}</text>'
        )


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
    x, rects, legend = float(LEFT), "", ""
    at = 12
    for colour, (name, cost) in zip(COLOURS, costs.items(), strict=False):
        part = cost / whole * width
        rects += f'<rect x="{x:.1f}" width="{part:.1f}" height="{BAR}" style="fill:{colour}"/>'
        label = f"{name} {cost:.2f}"
        legend += f'<rect x="{at}" y="0" width="10" height="10" style="fill:{colour}"/>'
        legend += f'<text class="dim" x="{at + 15}" y="9">{escape(label)}</text>'
        x, at = x + part, at + 34 + 6 * len(label)
    yield (
        f'<text x="12" y="{BAR - 2}">CPU seconds per 1,000 orders</text>{rects}'
        f'<text x="{WIDTH - RIGHT + 12}" y="{BAR - 2}">{whole:.2f} s</text>'
    )
    yield legend
