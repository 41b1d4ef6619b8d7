"""`headrace lint | plan`: what is declared, whether it agrees with itself, and what would run."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from include.cli.consistency import Checks

# A log has no width; paths stay in one piece in this one.
LOG_WIDTH = 200

Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands about declarations to the root."""
    for command in (lint, plan):
        app.command()(command)


def lint(as_json: Json = False) -> None:
    """Check products, sources, the dbt project and the expectations against each other."""
    from include.cli import consistency
    from include.cli.inventory import read_declarations

    declared = read_declarations()
    there = consistency.inventory(declared)
    checks = consistency.check(declared)
    if as_json:
        findings = [asdict(finding) for finding in checks.findings]
        document = {"inventory": there, "checks": checks.count, "findings": findings}
        typer.echo(json.dumps(document, indent=1))
    else:
        _show_findings(there, checks)
    if checks.findings:
        raise typer.Exit(1)


def plan(
    product: Annotated[str, typer.Argument(help="Name of a product.")],
    as_json: Json = False,
) -> None:
    """Show what a product reads, how it is judged, and what would run and be written; nothing runs."""
    from include.cli.inventory import read_declarations
    from include.cli.product_plan import plan_of
    from include.products import product_named

    planned = plan_of(product_named(product), read_declarations())
    if as_json:
        typer.echo(json.dumps(planned, indent=1))
        return
    console = Console(highlight=False)
    for title, part in planned.items():
        _show_part(console, title.replace("_", " "), part)


def _show_findings(there: dict[str, int], checks: "Checks") -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=LOG_WIDTH)
    console.print("Declared: " + ", ".join(f"{count:,} {name}" for name, count in there.items()) + ".")
    if checks.findings:
        table = Table(title="Findings", show_lines=True)
        for name in ("file", "field", "what is wrong", "accepted"):
            table.add_column(name, overflow="fold")
        for finding in checks.findings:
            table.add_row(*map(_plain, asdict(finding).values()))
        console.print(table)
    console.print(f"{checks.count:,} things checked, {len(checks.findings)} findings.")


def _show_part(console: Console, title: str, part: Any) -> None:
    console.print(f"\n[bold]{title}[/bold]")
    for number, row in enumerate(part if isinstance(part, list) else [part]):
        if number:
            console.print()
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for key, value in row.items():
            grid.add_row(f"  {key.replace('_', ' ')}", _plain(value))
        console.print(grid)


def _plain(value: object) -> str:
    if isinstance(value, list):
        text = ", ".join(map(str, value))
    elif isinstance(value, dict):
        text = ", ".join(f"{key} {told}" for key, told in value.items())
    else:
        text = "" if value is None else str(value)
    return text.replace("[", r"\[")
