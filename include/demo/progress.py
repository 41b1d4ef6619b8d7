"""What a long command tells while it works: steps that begin, go on and end."""

from typing import Protocol


class Progress(Protocol):
    """Told from several threads."""

    def step(self, name: str, text: str) -> None:
        """A step began, or goes on; `text` is what it does now."""

    def end(self, name: str, text: str, *, failed: bool = False) -> None:
        """A step ended; `text` is what came of it."""
