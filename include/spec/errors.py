"""The one root of our errors: what went wrong, for which ids, and what to do about it."""

from typing import Any


class HeadraceError(Exception):
    """An error that a person reads: one sentence of cause, the ids it concerns, the remedy.

    Each room derives its own few types from it. The command line prints `str(error)` and exits 1;
    a traceback means a defect of ours, never bad input.

    Args:
        message: What went wrong, in one sentence, naming file and field where there are any.
        remedy: What the reader can do now; empty where nothing can be done.
        ids: Names of the things concerned (product, ref, run, path, table), printed as `key=value`.
    """

    def __init__(self, message: str, *, remedy: str = "", **ids: object) -> None:
        super().__init__(message, remedy, ids)
        self.message = message
        self.remedy = remedy
        self.ids = ids

    def __reduce__(self) -> tuple[Any, ...]:
        # By default an exception is rebuilt from its positional arguments, which breaks a process pool.
        return _rebuilt, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        named = ", ".join(f"{key}={value}" for key, value in self.ids.items())
        parts = [self.message, f"[{named}]" if named else "", self.remedy]
        return " ".join(part for part in parts if part)


def _rebuilt(kind: type[HeadraceError], arguments: tuple[Any, ...], state: dict[str, Any]) -> HeadraceError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error
