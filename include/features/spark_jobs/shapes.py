"""A table whose columns changed along its log: which column of each file is which column of the result.

The log tells shapes and not what was done to them (docs/adr/0011-staged-tables.md). From one to the next a
column goes on under its name; or under another, where it alone changed its name and kept place and type; and
one that moved behind others that it stood before was dropped and made anew, since no database moves a column.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, groupby
from typing import Any


@dataclass(frozen=True)
class ShapeColumn:
    """A column as a file of the log has it.

    Args:
        name: Its name then.
        type: Its type, as the source and as Arrow call it.
        told: Whether changes tell the old row's value of it.
    """

    name: str
    type: str
    told: bool


@dataclass(frozen=True)
class Shape:
    """The columns of a table in one file of its log.

    Args:
        relation: Number by which the source knows the table; a table made anew has another.
        columns: In order.
    """

    relation: int
    columns: tuple[ShapeColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @classmethod
    def of(cls, fields: Any) -> "Shape":
        """The shape that `asdict` made such fields of."""
        return cls(fields["relation"], tuple(ShapeColumn(**column) for column in fields["columns"]))


@dataclass(frozen=True)
class Period:
    """A stretch of the log in which the table had one shape.

    Args:
        shape: That one.
        first, end: Places of its first file and behind its last one, among all files in order.
        names: Name in the result of each of the shape's columns, in order.
        anew: Whether the table was made anew at its begin: rows before it are gone without a change.
    """

    shape: Shape
    first: int
    end: int
    names: tuple[str, ...]
    anew: bool


@dataclass(frozen=True)
class Layout:
    """What the result's columns are, and where each comes from.

    Args:
        periods: In order of the log; at least one.
        current: Columns that the table has at the end of the log, in its order.
        dropped: Columns that it had, in order of their first coming; another name where theirs was taken.
    """

    periods: tuple[Period, ...]
    current: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All of the history's."""
        return (*self.current, *self.dropped)

    @property
    def fingerprint(self) -> str:
        """Of all that decides how rows come out; more changes of the last shape leave it as it is."""
        told = [[asdict(period.shape), period.names] for period in self.periods]
        return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()


def layout(shapes: Sequence[Shape]) -> Layout:
    """The layout of a log.

    Args:
        shapes: Of its files, in order; at least one.
    """
    stretches = [(shape, len(list(files))) for shape, files in groupby(shapes)]
    identities = list(_identities([shape for shape, _ in stretches]))
    last = stretches[-1][0]
    named = dict(zip(identities[-1], last.names, strict=True))
    dropped = []
    for (shape, _), own in zip(reversed(stretches), reversed(identities), strict=True):
        for identity, name in reversed(list(zip(own, shape.names, strict=True))):
            if identity not in named:
                named[identity] = _free(name, named.values())
                dropped.append(identity)
    periods, first = [], 0
    for place, ((shape, files), own) in enumerate(zip(stretches, identities, strict=True)):
        anew = place > 0 and shape.relation != stretches[place - 1][0].relation
        periods.append(Period(shape, first, first + files, tuple(named[one] for one in own), anew))
        first += files
    return Layout(tuple(periods), last.names, tuple(named[identity] for identity in sorted(dropped)))


def _identities(shapes: Sequence[Shape]) -> Iterator[tuple[int, ...]]:
    """A number per column of each shape; a column that goes on keeps its own."""
    numbers = count()
    own: tuple[int, ...] = ()
    before = Shape(0, ())
    for shape in shapes:
        kept = dict(zip(before.names, own, strict=True))
        renamed = _renamed(before, shape)
        goes_on = _going_on(before, shape)
        own = tuple(
            kept[renamed.get(name, name)] if name in renamed or name in goes_on else next(numbers)
            for name in shape.names
        )
        before = shape
        yield own


def _renamed(before: Shape, after: Shape) -> dict[str, str]:
    """The former name by the new one, where that is all that happened."""
    if len(before.columns) != len(after.columns):
        return {}
    pairs = [
        (old, new) for old, new in zip(before.columns, after.columns, strict=True) if old.name != new.name
    ]
    gone, come = {old.name for old, _ in pairs}, {new.name for _, new in pairs}
    alike = all(old.type == new.type for old, new in pairs)
    return {new.name: old.name for old, new in pairs} if alike and not gone & come else {}


def _going_on(before: Shape, after: Shape) -> set[str]:
    places = {name: place for place, name in enumerate(before.names)}
    found, furthest = set(), -1
    for name in after.names:
        if places.get(name, -1) > furthest:
            furthest = places[name]
            found.add(name)
    return found


def _free(name: str, taken: Iterable[str]) -> str:
    there = set(taken)
    names = (name, *(f"{name}__{number}" for number in range(2, len(there) + 3)))
    return next(one for one in names if one not in there)
