"""How far a table is staged, as a document in the same commit as its files, and what is to be done next.

`staged/<source>/<table>__history/_staged.json` names the files of the change log that the tables hold. It
follows from the log alone, as the tables do.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from include.features.spark_jobs.change_files import ChangeFile, shapes_document
from include.features.spark_jobs.shapes import Layout, Period, Shape, layout

VERSION = 2
FILE = "_staged.json"

Mode = Literal["nothing", "forward", "late", "all"]


@dataclass(frozen=True)
class Progress:
    """What a pair of tables holds.

    Args:
        files: Of the change log, in the order of the log.
        key: Columns that name a row.
        buckets: Parts that keys are hashed into.
        fingerprint: Of the layout of all files.
    """

    files: tuple[ChangeFile, ...]
    key: tuple[str, ...]
    buckets: int
    fingerprint: str

    @property
    def last(self) -> int:
        """The highest commit position that they hold."""
        return max((file.last for file in self.files), default=-1)

    def document(self) -> str:
        """As it is written; the same progress always gives the same text."""
        shapes = list(dict.fromkeys(file.shape for file in self.files))
        fields = {
            "version": VERSION,
            "key": list(self.key),
            "buckets": self.buckets,
            "layout": self.fingerprint,
            "shapes": shapes_document(shapes),
            "files": [file.document() | {"shape": shapes.index(file.shape)} for file in self.files],
        }
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"


def parse_progress(document: bytes) -> Progress | None:
    """The progress of such a document; None for one that another version wrote: all is built anew then."""
    fields: Mapping[str, Any] = json.loads(document)
    if fields["version"] != VERSION:
        return None
    shapes = [Shape.of(one) for one in fields["shapes"]]
    files = tuple(ChangeFile(**{**one, "shape": shapes[one["shape"]]}) for one in fields["files"])
    return Progress(files, tuple(fields["key"]), fields["buckets"], fields["layout"])


@dataclass(frozen=True)
class Plan:
    """What is to be done to a pair of tables.

    Args:
        mode: `forward`, where all that is new comes after what is held; `late`, where some of it does not,
            and the touched buckets are made of the whole log; `all`, where there is nothing to build on.
        layout: Of the whole log.
        progress: Once it is done.
        new: The files that are not held.
    """

    mode: Mode
    layout: Layout
    progress: Progress
    new: tuple[ChangeFile, ...]

    def by_period(self, files: Sequence[ChangeFile]) -> list[tuple[Period, list[str]]]:
        """Names of some files of the log, by the period that each is of."""
        wanted = {file.name for file in files}
        names = [file.name for file in self.progress.files]
        of_each = [
            (period, [name for name in names[period.first : period.end] if name in wanted])
            for period in self.layout.periods
        ]
        return [(period, own) for period, own in of_each if own]

    @property
    def made_anew(self) -> tuple[int, ...]:
        """Positions at which the table was made anew."""
        files = self.progress.files
        return tuple(
            min(file.first for file in files[period.first : period.end])
            for period in self.layout.periods
            if period.anew
        )


def plan(held: Progress | None, files: Sequence[ChangeFile], key: tuple[str, ...], buckets: int) -> Plan:
    """What brings a pair of tables to what a log says.

    Args:
        held: What they hold; None where they are not there.
        files: Of the log, each content once, in the order of the log; at least one.
        key: Columns that name a row.
        buckets: Parts to hash keys into.
    """
    whole = layout([file.shape for file in files])
    progress = Progress(tuple(files), key, buckets, whole.fingerprint)
    contents = {file.content for file in held.files} if held is not None else set()
    new = tuple(file for file in files if file.content not in contents)
    same = ("key", "buckets", "fingerprint")
    if (
        held is None
        or any(getattr(held, name) != getattr(progress, name) for name in same)
        or contents - {file.content for file in files}
    ):
        return Plan("all", whole, progress, tuple(files))
    if not new:
        return Plan("nothing", whole, progress, ())
    forward = min(file.first for file in new) > held.last
    return Plan("forward" if forward else "late", whole, progress, new)
