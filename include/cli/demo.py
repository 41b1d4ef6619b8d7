"""`headrace demo | report`: the whole flow on real data, and what came of it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from include.settings import STACK_ENV, Settings, home_folder

if TYPE_CHECKING:
    from include.demo.report import Report

Home = Annotated[Path | None, typer.Option("--home", help="The state folder; HEADRACE_HOME where not given.")]


def register(app: typer.Typer) -> None:
    """Add the commands of the demo to the root."""
    for command in (demo, report):
        app.command()(command)


def demo(
    home: Home = None,
    households: Annotated[int | None, typer.Option(min=1, help="Only the first so many households.")] = None,
    weeks: Annotated[
        int | None, typer.Option(min=1, max=53, help="Only the first weeks of promotions.")
    ] = None,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Take free ports, and keep them.")] = False,
) -> None:
    """Start the stack, fill a shop and a landing bucket with real data, and let Airflow publish it all."""
    from include.demo import first_light
    from include.demo.complete_journey import Slice
    from include.stack import start

    folder = (home or home_folder()).absolute()
    with _progress() as progress:
        made = first_light.run(
            lambda heard: start.up(folder, choose_free_ports=free_ports, report=heard),
            lambda: Settings(_env_file=folder / STACK_ENV, home=folder),  # type: ignore[call-arg]
            progress,
            Slice(households, weeks),
        )
    _show(made)


def report(home: Home = None) -> None:
    """Print the report of the last demo again."""
    from include.demo.report import load_report

    _show(load_report((home or home_folder()).absolute()))


def _show(made: "Report") -> None:
    console = Console(highlight=False)
    # As narrow as can be: names and numbers must stay whole on 80 columns.
    tables = Table(title="Tables on main", box=SIMPLE, collapse_padding=True, pad_edge=False)
    tables.add_column("table", no_wrap=True)
    for name in ("rows", "files", "MB", "s", "rules", "warn"):
        tables.add_column(name, justify="right", no_wrap=True)
    for line in made.tables:
        seconds = f"{line.seconds:.1f}" if line.seconds is not None else ""
        size = f"{line.size_bytes / 1e6:.1f}"
        rest = (f"{line.files}", size, seconds, f"{line.rules}", f"{line.warnings}")
        tables.add_row(line.table, f"{line.rows:,}", *rest)
    rows, size_bytes = sum(line.rows for line in made.tables), sum(line.size_bytes for line in made.tables)
    tables.caption = f"{rows:,} rows, {size_bytes / 1e6:.0f} MB"
    stages = Table("stage", "seconds", "outcome", title="Stages")
    for stage in made.stages:
        stages.add_row(stage.name, f"{stage.seconds:.1f}", stage.outcome)
    tasks = Table("task", "state", "seconds", "peak MB", title=f"Run {made.run_id}")
    for task in made.tasks:
        seconds = f"{task.seconds:.1f}" if task.seconds is not None else ""
        memory = f"{task.peak_memory_bytes / 1e6:.0f}" if task.peak_memory_bytes else ""
        tasks.add_row(task.name, task.state, seconds, memory)
    for table in (stages, tasks, tables):
        console.print(table)
    for finding in made.warnings:
        console.print(
            f"warning  {finding.table}: {finding.rule}: {finding.observed}", markup=False, soft_wrap=True
        )
    suites = made.suite_hash[:12]
    console.print(f"Commit {made.commit}; gates {made.verdict} (suites {suites}).", soft_wrap=True)
    for name, url in made.urls.items():
        console.print(f"{name:8} {url}", soft_wrap=True)
    done = "Nothing was left to do: all of it was done before." if made.already else "Done"
    console.print(f"{done} in {made.seconds:.0f} s. The stack is running; stop it with: headrace down")


class _Lines:
    """One line per step with what it does and since when; drawn anew several times a second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lines: dict[str, tuple[str, str, float, float | None]] = {}
        self._lock = threading.Lock()

    def step(self, name: str, text: str) -> None:
        """A step began, or goes on."""
        with self._lock:
            began = self._lines[name][2] if name in self._lines else time.monotonic()
            self._lines[name] = ("yellow", text, began, None)

    def end(self, name: str, text: str, *, failed: bool = False) -> None:
        """A step ended."""
        with self._lock:
            _, _, began, ended = self._lines.get(name, ("", "", time.monotonic(), None))
            self._lines[name] = ("red" if failed else "green", text, began, ended or time.monotonic())

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        with self._lock:
            for name, (style, text, began, ended) in self._lines.items():
                table.add_row(name, f"{(ended or now) - began:5.1f} s", f"[{style}]{text}")
        return table


class _Printed:
    """One line per step that ended, for what is no terminal."""

    def __init__(self, console: Console) -> None:
        self._began, self._console = time.monotonic(), console
        self._ended: set[str] = set()

    def step(self, name: str, text: str) -> None:
        """Not told."""

    def end(self, name: str, text: str, *, failed: bool = False) -> None:
        """A step ended; told once."""
        if name not in self._ended:
            self._ended.add(name)
            seconds = time.monotonic() - self._began
            mark = "FAILED " if failed else ""
            self._console.print(f"{seconds:6.1f} s  {name}: {mark}{text}", highlight=False, markup=False)


@contextmanager
def _progress() -> Iterator[_Lines | _Printed]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Printed(console)
        return
    lines = _Lines()
    with Live(lines, console=console, refresh_per_second=8):
        yield lines
