"""The root command; each room's commands live in a module beside this one and import it when called."""

from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from include.cli import audit, cdc, declarations, demo, lake, lakefs, quarantine, replay, report, stack
from include.spec.errors import HeadraceError


class _Root(TyperGroup):
    """Prints our own errors as one message and exits 1; a traceback stays the sign of a defect."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HeadraceError as error:
            Console(stderr=True).print(str(error), markup=False, highlight=False, style="red", soft_wrap=True)
            raise typer.Exit(1) from None


app = typer.Typer(name="headrace", cls=_Root, no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def _root() -> None:
    """Data from a versioned lake, through gates, to models, and back."""


stack.register(app)
demo.register(app)
replay.register(app)
report.register(app)
declarations.register(app)
lakefs.register(app)
app.add_typer(lake.app)
app.add_typer(cdc.app)
audit.register(app)
app.add_typer(quarantine.app)
