"""`headrace up | down | status | logs`: the embedded stack."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from include.settings import home_folder

_STYLES = {"healthy": "green", "failed": "red", "failing": "red", "unanswering": "red", "stopped": "dim"}

Home = Annotated[Path | None, typer.Option("--home", help="The state folder; HEADRACE_HOME where not given.")]


def register(app: typer.Typer) -> None:
    """Add the commands of the stack to the root."""
    for command in (up, down, status, logs):
        app.command()(command)


def up(
    home: Home = None,
    only: Annotated[str, typer.Option(help="Names of servers, by commas; with what they wait for.")] = "",
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Take free ports, and keep them.")] = False,
    timeout_s: Annotated[float, typer.Option(help="For each server, from its start to health.")] = 180,
) -> None:
    """Start the stack, or what of it does not run; returns when all is healthy."""
    from include.stack import start

    names = tuple(filter(None, only.replace(" ", "").split(",")))
    with progress() as report:
        state = start.up(
            home or home_folder(),
            only=names,
            choose_free_ports=free_ports,
            timeout_s=timeout_s,
            report=report,
        )
    Console().print(f"Keys and passwords: {state.home}/stack.env. Stop with: headrace down.", highlight=False)


def down(home: Home = None) -> None:
    """Stop the stack; no process of it is left."""
    from include.stack import start

    folder = home or home_folder()
    with progress() as report:
        ended = start.down(folder, report=report)
    also = f" {ended} processes without a supervisor were ended." if ended else ""
    Console().print(f"Nothing of the stack in {folder} runs.{also}", highlight=False)


def status(
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show state, address, memory and uptime of every server; exit code 3 unless all are healthy."""
    from include.stack.status import status as read

    rows = read(home or home_folder())
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        table = Table("server", "state", "address", "pid")
        table.add_column("memory", justify="right")
        table.add_column("uptime", justify="right")
        for row in rows:
            style = _STYLES.get(row.state, "yellow")
            mebibytes = f"{row.memory_bytes / 2**20:.0f} MiB" if row.pid else ""
            uptime = _duration(row.uptime_s) if row.pid else ""
            table.add_row(row.name, f"[{style}]{row.state}", row.url, str(row.pid or ""), mebibytes, uptime)
        total = sum(row.memory_bytes for row in rows) / 2**20
        table.caption = f"{total:.0f} MiB in all" if rows else "No stack was ever started here."
        Console().print(table)
    if not rows or any(row.state != "healthy" for row in rows):
        raise typer.Exit(3)


def logs(
    name: Annotated[str, typer.Argument(help="The server; `headrace status` lists them.")],
    home: Home = None,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new lines.")] = False,
) -> None:
    """Show the last lines of a server's log, and with -f what follows."""
    from include.stack.logs import tail

    try:
        for line in tail(home or home_folder(), name, lines=lines, follow=follow):
            typer.echo(line)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


class _Progress:
    """One line per server with what it does and since when; drawn anew several times a second."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._steps: dict[str, tuple[str, float | None]] = {}
        self._lock = threading.Lock()

    def report(self, server: str, step: str) -> None:
        ended = time.monotonic() - self._started if step in ("healthy", "failed", "stopped") else None
        with self._lock:
            self._steps[server] = (step, ended)

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic() - self._started
        with self._lock:
            for server, (step, ended) in self._steps.items():
                style = _STYLES.get(step, "yellow")
                table.add_row(server, f"[{style}]{step}", f"{now if ended is None else ended:5.1f} s")
        return table


@contextmanager
def progress() -> Iterator[Callable[[str, str], None]]:
    """A line per server on the terminal while the block lasts; one line per finished server elsewhere."""
    shown_lines, console = _Progress(), Console(stderr=True)
    if console.is_terminal:
        with Live(shown_lines, console=console, refresh_per_second=8):
            yield shown_lines.report
        return
    started = time.monotonic()

    def report(server: str, step: str) -> None:
        if step in ("healthy", "failed", "stopped"):
            console.print(f"{time.monotonic() - started:6.1f} s  {server}: {step}", highlight=False)

    yield report


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
