"""What an audit says about one invariant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["kept", "broken", "nothing to check"]


@dataclass(frozen=True)
class Violation:
    """One thing that breaks an invariant.

    Args:
        id: What it is: a commit, a table, a version, a file.
        what: How it breaks the invariant, in one clause.
    """

    id: str
    what: str


@dataclass(frozen=True)
class Result:
    """One invariant, as far as the flow has reached.

    Args:
        invariant: Its number.
        promise: What it promises.
        subject: What was checked, in the plural.
        checked: How many of these.
        violations: Those that do not hold.
        note: What else a reader must know, such as why nothing could be checked.
    """

    invariant: str
    promise: str
    subject: str
    checked: int
    violations: tuple[Violation, ...] = ()
    note: str = ""

    @property
    def outcome(self) -> Outcome:
        """Kept only where something was looked at and nothing was wrong."""
        if self.violations:
            return "broken"
        return "kept" if self.checked else "nothing to check"


@dataclass(frozen=True)
class Checked:
    """The outcome of one kind of check; an invariant is made of a few.

    Args:
        subject: What was checked, in the plural.
        count: How many of these.
        violations: Those that do not hold.
    """

    subject: str
    count: int
    violations: tuple[Violation, ...] = ()


def combined(invariant: str, promise: str, parts: Iterable[Checked], note: str = "") -> Result:
    """The result of an invariant from its kinds of checks."""
    kinds: Sequence[Checked] = [part for part in parts if part.count or part.violations]
    subject = ", ".join(f"{part.count:,} {part.subject}" for part in kinds)
    return Result(
        invariant,
        promise,
        subject,
        sum(part.count for part in kinds),
        tuple(violation for part in kinds for violation in part.violations),
        note,
    )
