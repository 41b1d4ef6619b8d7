"""`headrace report`: what came of the last demo, in the terminal; and where its page is."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from include.settings import home_folder

if TYPE_CHECKING:
    from include.demo.report.product_lines import ProductLine
    from include.demo.report.report import Report

Home = Annotated[Path | None, typer.Option("--home", help="The state folder; HEADRACE_HOME where not given.")]
SHOWN_COMMITS = 20
LONGEST_OBSERVED = 120


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(report)


def report(home: Home = None) -> None:
    """Print the report of the last demo again, and say where its page is."""
    from include.demo.report.report import load_report

    folder = (home or home_folder()).absolute()
    show(load_report(folder), folder)


def show(made: "Report", home: Path) -> None:
    """Print a report.

    Args:
        made: What to tell.
        home: The state folder, which holds the page.
    """
    from include.demo.report import story
    from include.demo.report.report import page_path

    console = Console(highlight=False)
    console.print()
    console.print(Text(story.headline(made), style="bold"))
    console.print(Text(story.lede(made)))
    console.print(_stages(made))
    _print_runs(console, made)
    for product in made.products:
        console.print(_product(product))
    console.print(_tables(made))
    if aside := story.apart(made):
        console.print(f"{aside} What each broke: headrace quarantine list", markup=False)
    for finding in made.warnings:
        observed = shorten(finding.observed, LONGEST_OBSERVED, placeholder=" ...")
        console.print(f"warning  {finding.table}: {finding.rule}: {observed}", markup=False)
    console.print(_commits(made))
    if made.audit:
        console.print(_audit(made))
    console.print(Text(f"\n{story.took(made)}"))
    page = page_path(home)
    places = {**made.urls, **({"Page": page.as_uri()} if page.is_file() else {})}
    for name, url in places.items():
        console.print(f"{name:8} {url}", soft_wrap=True, markup=False)
    console.print("The stack is running; stop it with: headrace down")


def _grid(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """As narrow as can be: names and numbers must stay whole on 80 columns."""
    grid = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, title_justify="left")
    grid.title_style = "bold"
    for name in columns:
        grid.add_column(name, justify="right" if name in right else "left", no_wrap=name in right)
    return grid


def _stages(made: "Report") -> Table:
    from include.demo.report import words

    grid = _grid("Stages", "stage", "took", "outcome", right=("took",))
    for stage in made.stages:
        grid.add_row(Text(stage.name), words.seconds(stage.seconds), Text(stage.outcome))
    return grid


def _print_runs(console: Console, made: "Report") -> None:
    """For each run its name, state and time, what came of it, and its address in one piece."""
    from include.demo.report import story, words

    console.print(Text("Runs", style="bold"))
    for run in made.runs:
        took = run.ended - run.started if run.started is not None and run.ended is not None else None
        state = (run.state, "green" if run.state == "success" else "red")
        console.print(Text.assemble("  ", (run.dag, "bold"), "  ", state, f"  {words.seconds(took)}"))
        console.print(Padding(Text(story.outcome(made, run)), (0, 0, 0, 4)))
        console.print(Text(f"    {run.url}", style="dim"), soft_wrap=True)


def _product(product: "ProductLine") -> Group:
    from include.demo.report import story, words

    head = Text(f"\n{words.name(product.name)}", style="bold")
    head.append(f"  {story.standing(product)}", style="green" if product.champion else "yellow")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, text in (*_judged(product), *_served(product)):
        grid.add_row(name, Text(text))
    return Group(head, Padding(grid, (0, 0, 0, 2)))


def _judged(product: "ProductLine") -> Iterator[tuple[str, str]]:
    """What the gate said of the candidate to look at, and of those that met a champion."""
    from include.demo.report import story

    shown, champion = product.shown, product.champion
    if shown is not None:
        yield "test period", "\n".join(story.metric(line) for line in shown.evaluation.metrics)
        yield "gate", f"{'passed' if shown.passed else 'refused'}, {shown.checked} rules"
        for finding in shown.findings:
            yield "", f"{finding.severity}: {finding.rule}: {finding.observed}"
        yield "MLflow", champion.url if champion is not None else shown.url
    if champion is not None:
        signed = "signature holds" if champion.signed else "signature does not hold"
        yield "manifest", f"{champion.manifest}, {signed}" if champion.manifest else "none"
    for one in product.challengers:
        if one.comparison is not None:
            yield "challenger", f"{'won' if one.passed else 'lost'}: {story.comparison(one.comparison)}"


def _served(product: "ProductLine") -> Iterator[tuple[str, str]]:
    """What was predicted, and what monitoring found."""
    from include.demo.report import story, words

    for batch in product.predictions:
        yield "predicted", f"{batch.rows:,} as of {words.moment(batch.as_of)} by version {batch.version}"
    for seen in product.monitoring:
        yield "watched", f"as of {words.moment(seen.as_of)}, version {seen.version}: {story.drift(seen)}"
        yield "", f"{story.matured(seen)}\n{story.decision(seen)}"


def _tables(made: "Report") -> Table:
    from include.demo.report import words

    numbers = ("rows", "size", "rules", "warn")
    grid = _grid("\nTables on main", "table", *numbers, right=numbers)
    for line in made.tables:
        rules, warned = (str(number or "") for number in (line.rules, line.warnings))
        grid.add_row(words.path(line.table), f"{line.rows:,}", words.size(line.size_bytes), rules, warned)
    rows, size_bytes = sum(line.rows for line in made.tables), sum(line.size_bytes for line in made.tables)
    grid.caption = f"{rows:,} rows, {words.size(size_bytes)}"
    return grid


def _commits(made: "Report") -> Table:
    grid = _grid("Commits of main, newest first", "commit", "verdict", "message")
    for line in made.commits[:SHOWN_COMMITS]:
        grid.add_row(line.commit[:12], line.verdict, Text(line.message))
    left_out = len(made.commits) - SHOWN_COMMITS
    if left_out > 0:
        grid.caption = f"and {left_out} before; `headrace lake log` lists them"
    return grid


def _audit(made: "Report") -> Table:
    grid = _grid("Audit", "", "what must hold", "checked", "broken", right=("checked", "broken"))
    for line in made.audit:
        broken = Text(f"{line.broken}", style="red" if line.broken else "green" if line.checked else "dim")
        grid.add_row(line.id, Text(line.what), f"{line.checked:,}", broken)
    return grid
