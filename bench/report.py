"""What a bench measured: ratios between things timed in the same run, as a table and as JSON."""

import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

CONSOLE = Console(width=150)


@dataclass(frozen=True)
class Samples:
    """Times of the same act, in seconds, in the order they were taken."""

    times_s: tuple[float, ...]

    def quantile_s(self, share: float) -> float:
        """The time that this share of the acts took at most."""
        ordered = sorted(self.times_s)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share > 0 else 0)]

    @property
    def p50_s(self) -> float:
        """Median."""
        return self.quantile_s(0.5)

    @property
    def p99_s(self) -> float:
        """All but one in a hundred are faster."""
        return self.quantile_s(0.99)


def timed(act: Callable[[], Any], times: int, *, warm: int = 1) -> Samples:
    """Time an act over and over, after a few that do not count."""
    for _ in range(warm):
        act()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)
    return Samples(tuple(taken))


@dataclass(frozen=True)
class Claim:
    """A ratio that the bench is there to watch.

    Args:
        text: What is claimed, in words.
        ratio: What was measured.
        bound: It holds while the ratio is at most this.
    """

    text: str
    ratio: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.ratio <= self.bound


@dataclass
class Report:
    """The results of one bench.

    Args:
        name: Name of the bench.
        machine: Where it ran: figures of two machines are not to be compared, ratios may be.
        rows: One dictionary per line, by table.
        claims: Ratios with bounds.
    """

    name: str
    machine: dict[str, Any] = field(default_factory=lambda: machine())
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)

    def show(self, title: str, rows: list[dict[str, Any]]) -> None:
        """Keep a table and print it."""
        self.rows[title] = rows
        table = Table(title=title, title_justify="left")
        for column in rows[0]:
            table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
        for row in rows:
            table.add_row(*(_shown(value) for value in row.values()))
        CONSOLE.print(table)

    def claim(self, text: str, ratio: float, bound: float) -> None:
        """Keep a ratio with its bound and print whether it holds."""
        claim = Claim(text, ratio, bound)
        self.claims.append(claim)
        mark = "[green]holds[/green]" if claim.holds else "[red]DOES NOT HOLD[/red]"
        CONSOLE.print(f"{text}: {ratio:.2f} (at most {bound:g}) {mark}")

    def save(self, folder: Path) -> Path:
        """Write it as JSON below the folder; the file name carries the time."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.name}-{time.strftime('%Y%m%dT%H%M%S')}.json"
        claims = [{**asdict(claim), "holds": claim.holds} for claim in self.claims]
        content = {"bench": self.name, "machine": self.machine, "tables": self.rows, "claims": claims}
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return file


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    import psutil

    return {
        "cpus": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load": psutil.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
