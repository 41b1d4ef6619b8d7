"""What a lake holds, as dictionaries: trees from path to value, and what merging and listing make of them."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from include.stack.lakefs.model import Entry, MergeStrategy, Page

Tree = dict[str, int]
Edits = dict[str, int | None]


@dataclass
class Branch:
    head: str
    staged: Edits = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    tree: Tree
    parents: tuple[str, ...]


def entry(path: str, value: int) -> Entry:
    """Values differ by checksum or by metadata alone; equal ones are equal in all, so that trees are too."""
    return Entry(
        path=path,
        physical_address=f"data/{value}",
        checksum=f"sum{value // 2}",
        size_bytes=value // 4,
        mtime=value,
        metadata={"v": str(value % 2)},
    )


def value_of(found: Any) -> int:
    return int(found.checksum.removeprefix("sum")) * 2 + int(found.metadata["v"])


def joined(page: Callable[[str], Page[Any]]) -> Iterator[Any]:
    after = ""
    while True:
        found = page(after)
        yield from found.results
        if not found.has_more:
            return
        assert found.next_offset > after
        after = found.next_offset


def overlay(tree: Tree, edits: Edits) -> Tree:
    merged = {**tree, **edits}
    return {path: value for path, value in merged.items() if value is not None}


def changed(left: Tree, right: Tree) -> dict[str, str]:
    kinds = {}
    for path in sorted(left.keys() | right.keys()):
        before, after = left.get(path), right.get(path)
        if before != after:
            kinds[path] = "added" if before is None else "removed" if after is None else "changed"
    return kinds


def merge_trees(dest: Tree, source: Tree, base: Tree, strategy: MergeStrategy) -> tuple[Tree, list[str]]:
    """The merged tree and the paths that both sides changed differently."""
    merged, conflicts = dict(dest), []
    for path in sorted(changed(base, source)):
        if dest.get(path) == source.get(path):
            continue
        if dest.get(path) != base.get(path):
            conflicts.append(path)
            if strategy is not MergeStrategy.SOURCE_WINS:
                continue
        if path in source:
            merged[path] = source[path]
        else:
            merged.pop(path, None)
    return merged, conflicts


def rolled(paths: list[str], prefix: str, delimiter: str) -> list[str]:
    """Paths under the prefix, with the deeper ones as common prefixes."""
    lines = []
    for path in paths:
        if path.startswith(prefix):
            head, found, _ = path[len(prefix) :].partition(delimiter) if delimiter else (path, "", "")
            lines.append(prefix + head + found if found else path)
    return [line for line, _ in itertools.groupby(lines)]
