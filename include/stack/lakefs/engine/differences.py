"""What differs between two trees, and between three: only ranges that the trees do not share are read."""

import bisect
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from include.stack.lakefs.engine.ranges import Edit, Line, Range, Row
from include.stack.lakefs.engine.trees import Tree
from include.stack.lakefs.model import Change, ChangeType


class Difference(NamedTuple):
    """A path whose entries on two sides are not the same object; None where there is none."""

    path: str
    left: Row | None
    right: Row | None

    @property
    def type(self) -> ChangeType:
        """What happened from left to right."""
        if self.left is None:
            return "added"
        return "removed" if self.right is None else "changed"

    def change(self, type: ChangeType | None = None) -> Change:  # noqa: A002
        """Return it as a line of a diff."""
        shown = (self.right or self.left).entry()  # type: ignore[union-attr]  # one of them is there
        entry = shown if self.right is not None else None
        return Change(type or self.type, "object", self.path, shown.size_bytes, entry)


def tree_differences(left: Tree, right: Tree, start: str = "") -> Iterator[Difference]:
    """Yield in order of path, from `start` on, where two trees differ.

    A range that both hold is equal on both sides, so no path of it differs: it is left out of both,
    and what remains is compared stretch by stretch up to the nearer end.
    """
    lefts = _ranges_only_in(left, right, start)
    rights = _ranges_only_in(right, left, start)
    a, b = next(lefts, None), next(rights, None)
    while a is not None or b is not None:
        end = min(held.paths[-1] for held in (a, b) if held is not None)
        a_head, a = _split(a, end)
        b_head, b = _split(b, end)
        yield from _compare(a_head, b_head)
        a = next(lefts, None) if a is None else a
        b = next(rights, None) if b is None else b


def _ranges_only_in(tree: Tree, other: Tree, start: str) -> Iterator[Range]:
    shared = tree.metarange.ids & other.metarange.ids
    first = bisect.bisect_left(tree.metarange.lasts, start)
    lines: list[Line] = [line for line in tree.metarange.lines[first:] if line.id not in shared]
    for line in lines:
        held = tree.load(line)
        yield held.part(held.index(start), len(held.paths)) if line.first < start else held


def _split(held: Range | None, end: str) -> tuple[Range | None, Range | None]:
    """Return the part up to `end` and the rest; None for an empty one."""
    if held is None or held.paths[-1] <= end:
        return held, None
    at = bisect.bisect_right(held.paths, end)
    return (held.part(0, at) if at else None), held.part(at, len(held.paths))


def _compare(left: Range | None, right: Range | None) -> Iterator[Difference]:
    before = left.identity_of() if left else {}
    after = right.identity_of() if right else {}
    for path in sorted({path for path, _ in before.items() ^ after.items()}):
        yield Difference(path, left.find(path) if left else None, right.find(path) if right else None)


def staged_differences(tree: Tree, edits: Iterable[Edit]) -> Iterator[Difference]:
    """Yield where edits in order of path differ from the tree that they are upon."""
    for path, row in edits:
        held = tree.get(path)
        if (held.identity if held else None) != (row.identity if row else None):
            yield Difference(path, held, row)


def merge_differences(
    destination: Tree, source: Tree, base: Tree, start: str = ""
) -> Iterator[tuple[Difference, bool]]:
    """Yield what merging source into destination changes there, and whether it is a conflict.

    Where the sides differ, the side that still has the base's object did not change it, and the
    other's change counts. Where neither has it, both changed the path differently: a conflict.
    """
    for difference in tree_differences(destination, source, start):
        held = base.get(difference.path)
        origin = held.identity if held else None
        if origin == (difference.right.identity if difference.right else None):
            continue
        yield difference, origin != (difference.left.identity if difference.left else None)
