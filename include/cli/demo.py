"""`headrace demo`: the whole flow on real data."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from include.cli.report import Home, show
from include.settings import STACK_ENV, Settings, home_folder


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(demo)


def demo(
    home: Home = None,
    households: Annotated[int | None, typer.Option(min=1, help="Only the first so many households.")] = None,
    weeks: Annotated[
        int | None, typer.Option(min=1, max=53, help="Only the first weeks of promotions.")
    ] = None,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Take free ports, and keep them.")] = False,
) -> None:
    """Start the stack, fill a shop and a landing bucket with real data, and let Airflow do all the rest."""
    from include.demo import flow
    from include.demo.complete_journey import Slice
    from include.stack import start

    folder = (home or home_folder()).absolute()
    with _progress() as progress:
        made = flow.run(
            lambda heard: start.up(folder, choose_free_ports=free_ports, report=heard),
            lambda: Settings(_env_file=folder / STACK_ENV, home=folder),  # type: ignore[call-arg]
            progress,
            Slice(households, weeks),
        )
    show(made, folder)


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
            self._console.print(
                f"{seconds:6.1f} s  {name}: {mark}{text}", highlight=False, markup=False, soft_wrap=True
            )


@contextmanager
def _progress() -> Iterator[_Lines | _Printed]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Printed(console)
        return
    lines = _Lines()
    with Live(lines, console=console, refresh_per_second=8):
        yield lines
