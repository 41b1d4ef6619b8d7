"""The lake engine against a dictionary: random branches, writes, merges, conflicts, resets and restarts.

Ranges are cut every few entries here, so that small trees have the shape of large ones.
"""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from include.stack.lakefs.engine import Engine, ranges
from include.stack.lakefs.model import (
    Conflict,
    DirtyBranch,
    Entry,
    MergeStrategy,
    NoChanges,
    NotFound,
    Page,
)

MEMORY = Path("/dev/shm")  # waiting for the disk would be most of the time
REPOSITORY = "repo"
COMMITTER = "tester"
PATHS = ["a", "a/b", "a/b/c", "a0", "b/1", "b/2", "b/deep/3", "c d", "é", "z/\U0001f30a"]
BULK = [f"bulk/{number:02d}" for number in range(40)]

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


branches = st.sampled_from(["main", "b1", "b2", "b3"])
values = st.integers(0, 5)
strategies = st.sampled_from([MergeStrategy.NONE, *MergeStrategy])
edits = st.dictionaries(st.sampled_from(PATHS), st.none() | values, min_size=1, max_size=5)


class LakeMachine(RuleBasedStateMachine):
    commits = Bundle("commits")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lake-machine-", dir=MEMORY if MEMORY.is_dir() else None))
        self.engine = Engine(self.folder)
        self.model: dict[str, Branch] = {}
        self.known: dict[str, Known] = {}
        self.tree_ids: dict[str, Tree] = {"": {}}
        self.tags: dict[str, str] = {}
        self.serial = itertools.count()

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.folder)

    @initialize(target=commits, base=st.dictionaries(st.sampled_from(PATHS + BULK), values, min_size=5))
    def create_repository(self, base: Tree) -> str:
        self.engine.create_repository(REPOSITORY, "local://x")
        head = self.engine.get_branch(REPOSITORY, "main").commit_id
        self.model["main"] = Branch(head)
        self.known[head] = Known({}, ())
        self.engine.stage_many(REPOSITORY, "main", [entry(path, value) for path, value in base.items()])
        made = self.record("main", self.engine.commit(REPOSITORY, "main", "base", COMMITTER), base, (head,))
        for name in ("b1", "b2"):
            self.engine.create_branch(REPOSITORY, name, "main")
            self.model[name] = Branch(made)
        return made

    # --- what the model knows

    def tree(self, branch: str) -> Tree:
        return self.known[self.model[branch].head].tree

    def effective(self, branch: str) -> dict[str, str]:
        return changed(self.tree(branch), overlay(self.tree(branch), self.model[branch].staged))

    def ancestors(self, commit: str) -> set[str]:
        seen, todo = set(), [commit]
        while todo:
            found = todo.pop()
            if found not in seen:
                seen.add(found)
                todo += self.known[found].parents
        return seen

    def base_of(self, source: str, dest: str) -> Tree:
        """The tree of the merge base that the engine names, once it is known to be a best one."""
        common = self.ancestors(source) & self.ancestors(dest)
        best = {one for one in common if not any(one in self.ancestors(o) for o in common - {one})}
        named = self.engine.merge_base(REPOSITORY, source, dest)
        assert (named.source_commit_id, named.destination_commit_id) == (source, dest)
        assert named.base_commit_id in best
        return self.known[named.base_commit_id].tree

    def record(self, branch: str, commit: Any, tree: Tree, parents: tuple[str, ...]) -> str:
        """Take over a commit that the engine made on a branch."""
        assert commit.parents == parents
        head = self.engine.get_branch(REPOSITORY, branch).commit_id
        assert head == commit.id
        assert self.tree_ids.setdefault(commit.meta_range_id, tree) == tree
        assert [tree_id for tree_id, known in self.tree_ids.items() if known == tree] == [
            commit.meta_range_id
        ]
        known = self.known.setdefault(commit.id, Known(tree, parents))
        assert known.tree == tree
        self.model[branch] = Branch(commit.id)
        return str(commit.id)

    def refused(self, error: type[Exception], act: Callable[[], Any]) -> Any:
        with pytest.raises(error) as caught:
            act()
        return caught.value

    # --- refs

    @rule(name=branches, source=commits | branches)
    def create_branch(self, name: str, source: str) -> None:
        if name in self.model or (source not in self.model and source not in self.known):
            return
        self.engine.create_branch(REPOSITORY, name, source)
        self.model[name] = Branch(source if source in self.known else self.model[source].head)

    @rule(name=branches)
    def delete_branch(self, name: str) -> None:
        if name == "main" or name not in self.model:
            return
        self.engine.delete_branch(REPOSITORY, name)
        del self.model[name]
        self.refused(NotFound, lambda: self.engine.get_branch(REPOSITORY, name))

    @rule(branch=branches, target_commit=commits)
    def set_branch(self, branch: str, target_commit: str) -> None:
        if branch not in self.model:
            return
        if self.effective(branch):
            self.refused(DirtyBranch, lambda: self.engine.set_branch(REPOSITORY, branch, target_commit))
            return
        self.engine.set_branch(REPOSITORY, branch, target_commit)
        self.model[branch] = Branch(target_commit)

    @rule(commit=commits)
    def create_tag(self, commit: str) -> None:
        name = f"t{len(self.tags)}"
        self.engine.create_tag(REPOSITORY, name, commit)
        self.tags[name] = commit

    # --- objects

    @rule(branch=branches, path=st.sampled_from(PATHS), value=values)
    def stage(self, branch: str, path: str, value: int) -> None:
        if branch in self.model:
            self.engine.stage(REPOSITORY, branch, entry(path, value))
            self.model[branch].staged[path] = value

    @rule(branch=branches, step=st.integers(1, 7), value=values)
    def stage_many(self, branch: str, step: int, value: int) -> None:
        if branch in self.model:
            paths = BULK[::step]
            self.engine.stage_many(REPOSITORY, branch, [entry(path, value) for path in paths])
            self.model[branch].staged.update(dict.fromkeys(paths, value))

    @rule(branch=branches, paths=st.lists(st.sampled_from(PATHS + BULK[::5]), min_size=1, max_size=4))
    def delete(self, branch: str, paths: list[str]) -> None:
        if branch not in self.model:
            return
        if len(paths) == 1:
            self.engine.delete(REPOSITORY, branch, paths[0])
        else:
            self.engine.delete_many(REPOSITORY, branch, paths)
        self.model[branch].staged.update(dict.fromkeys(paths))

    @rule(
        branch=branches,
        kind=st.sampled_from(["all", "prefix", "path"]),
        path=st.sampled_from([*PATHS, "bulk/", "b/"]),
    )
    def reset(self, branch: str, kind: Any, path: str) -> None:
        if branch not in self.model:
            return
        staged = self.model[branch].staged
        self.engine.reset(REPOSITORY, branch, kind, "" if kind == "all" else path)
        dropped = {
            "all": lambda _: True,
            "prefix": lambda one: one.startswith(path),
            "path": lambda one: one == path,
        }[kind]
        self.model[branch].staged = {one: value for one, value in staged.items() if not dropped(one)}

    # --- commits

    @rule(target=commits, branch=branches, edits=edits)
    def edit_and_commit(self, branch: str, edits: Edits) -> Any:
        if branch not in self.model:
            return multiple()
        for path, value in edits.items():
            if value is None:
                self.engine.delete(REPOSITORY, branch, path)
            else:
                self.engine.stage(REPOSITORY, branch, entry(path, value))
        self.model[branch].staged.update(edits)
        return self.commit(branch, allow_empty=False)

    @rule(target=commits, branch=branches, allow_empty=st.booleans())
    def commit_staged(self, branch: str, allow_empty: bool) -> Any:
        return self.commit(branch, allow_empty) if branch in self.model else multiple()

    def commit(self, branch: str, allow_empty: bool) -> Any:
        number = next(self.serial)
        act = lambda: self.engine.commit(  # noqa: E731
            REPOSITORY, branch, f"commit {number}", COMMITTER, allow_empty=allow_empty
        )
        if not self.effective(branch) and not allow_empty:
            self.refused(NoChanges, act)
            return multiple()
        tree = overlay(self.tree(branch), self.model[branch].staged)
        return self.record(branch, act(), tree, (self.model[branch].head,))

    @rule(target=commits, source=branches, dest=branches, theirs=edits, ours=edits, strategy=strategies)
    def diverge_and_merge(
        self, source: str, dest: str, theirs: Edits, ours: Edits, strategy: MergeStrategy
    ) -> Any:
        if dest not in self.model or source not in self.model:
            return multiple()
        self.edit_and_commit(source, theirs)
        self.edit_and_commit(dest, ours)
        return self.merge(source, dest, strategy, squash=False)

    @rule(
        target=commits,
        source=commits | branches,
        dest=branches,
        strategy=strategies,
        squash=st.booleans(),
    )
    def merge(self, source: str, dest: str, strategy: MergeStrategy, squash: bool) -> Any:
        if dest not in self.model or (source not in self.known and source not in self.model):
            return multiple()
        act = lambda: self.engine.merge(  # noqa: E731
            REPOSITORY,
            source,
            dest,
            COMMITTER,
            f"merge {next(self.serial)}",
            strategy=strategy,
            squash=squash,
        )
        if self.effective(dest):
            self.refused(DirtyBranch, act)
            return multiple()
        source_id = source if source in self.known else self.model[source].head
        dest_id, source_tree = self.model[dest].head, self.known[source_id].tree
        base = self.base_of(source_id, dest_id)
        if source_tree == base:
            self.refused(NoChanges, act)
            return multiple()
        tree, conflicts = merge_trees(self.tree(dest), source_tree, base, strategy)
        if conflicts and strategy is MergeStrategy.NONE:
            assert list(self.refused(Conflict, act).paths) == conflicts[:10]
            return multiple()
        return self.record(dest, act(), tree, (dest_id,) if squash else (dest_id, source_id))

    @rule(target=commits, branch=branches, commit=commits, parent=st.integers(1, 2), pick=st.booleans())
    def revert_or_pick(self, branch: str, commit: str, parent: int, pick: bool) -> Any:
        parents = self.known[commit].parents
        if branch not in self.model or parent > len(parents):
            return multiple()
        verb = self.engine.cherry_pick if pick else self.engine.revert
        act = lambda: verb(  # noqa: E731
            REPOSITORY, branch, commit, COMMITTER, parent_number=parent, message=f"{next(self.serial)}"
        )
        if self.effective(branch):
            self.refused(DirtyBranch, act)
            return multiple()
        before, after = self.known[parents[parent - 1]].tree, self.known[commit].tree
        base, source = (before, after) if pick else (after, before)
        tree, conflicts = merge_trees(self.tree(branch), source, base, MergeStrategy.NONE)
        if source == base or (not pick and not conflicts and tree == self.tree(branch)):
            self.refused(NoChanges, act)
            return multiple()
        if conflicts:
            self.refused(Conflict, act)
            return multiple()
        return self.record(branch, act(), tree, (self.model[branch].head,))

    @rule(
        target=commits,
        branch=branches,
        prefix=st.sampled_from(["bulk/", "b/", "a", "new/"]),
        values=st.lists(values, max_size=12),
    )
    def import_entries(self, branch: str, prefix: str, values: list[int]) -> Any:
        if branch not in self.model:
            return multiple()
        wanted = {f"{prefix}{number * 3:02d}": value for number, value in enumerate(values)}
        entries = [entry(path, value) for path, value in wanted.items()]
        act = lambda: self.engine.import_entries(  # noqa: E731
            REPOSITORY, branch, entries[::-1], [prefix], COMMITTER, f"import {next(self.serial)}"
        )
        if self.effective(branch):
            self.refused(DirtyBranch, act)
            return multiple()
        kept = {path: value for path, value in self.tree(branch).items() if not path.startswith(prefix)}
        return self.record(branch, act(), {**kept, **wanted}, (self.model[branch].head,))

    # --- reading

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = Engine(self.folder)

    @rule(
        left=commits,
        right=commits,
        amount=st.sampled_from([1, 3, 1000]),
        delimiter=st.sampled_from(["", "/"]),
    )
    def diff(self, left: str, right: str, amount: int, delimiter: str) -> None:
        def found(kind: Any) -> list[tuple[str, str]]:
            lines = joined(
                lambda after: self.engine.diff(
                    REPOSITORY, left, right, type=kind, after=after, amount=amount, delimiter=delimiter
                )
            )
            return [
                ("prefix" if line.path_type == "common_prefix" else line.type, line.path) for line in lines
            ]

        two_dot = changed(self.known[left].tree, self.known[right].tree)
        assert found("two_dot") == self._lines(two_dot, delimiter)
        base = self.base_of(right, left)
        _, conflicts = merge_trees(self.known[left].tree, self.known[right].tree, base, MergeStrategy.NONE)
        three_dot = {
            path: "conflict" if path in conflicts else kind
            for path, kind in changed(base, self.known[right].tree).items()
            if self.known[left].tree.get(path) != self.known[right].tree.get(path)
        }
        assert found("three_dot") == self._lines(three_dot, delimiter)

    @staticmethod
    def _lines(kinds: Mapping[str, str], delimiter: str) -> list[tuple[str, str]]:
        return [(kinds.get(line, "prefix"), line) for line in rolled(list(kinds), "", delimiter)]

    @rule(
        branch=branches,
        prefix=st.sampled_from(["", "a", "a/", "b/", "bulk/", "bulk/1", "none"]),
        delimiter=st.sampled_from(["", "/"]),
        amount=st.sampled_from([1, 2, 7]),
    )
    def listing(self, branch: str, prefix: str, delimiter: str, amount: int) -> None:
        if branch not in self.model:
            return
        expected = sorted(overlay(self.tree(branch), self.model[branch].staged))
        found = joined(
            lambda after: self.engine.list_entries(
                REPOSITORY, branch, prefix=prefix, after=after, delimiter=delimiter, amount=amount
            )
        )
        assert [line.path for line in found] == rolled(expected, prefix, delimiter)

    @rule(branch=branches, amount=st.sampled_from([1, 3, 1000]))
    def log(self, branch: str, amount: int) -> None:
        if branch not in self.model:
            return
        after, listed = "", []
        while True:
            page = self.engine.log(REPOSITORY, branch, after=after, amount=amount)
            listed += [commit.id for commit in page.results]
            if not page.has_more:
                break
            after = page.next_offset
        assert len(listed) == len(set(listed))
        assert set(listed) == self.ancestors(self.model[branch].head)
        place = {commit: at for at, commit in enumerate(listed)}
        assert all(
            place[parent] > at for commit, at in place.items() for parent in self.known[commit].parents
        )

    @invariant()
    def branches_hold_what_the_model_holds(self) -> None:
        if not self.model:
            return
        listed = self.engine.list_branches(REPOSITORY)
        assert {ref.id: ref.commit_id for ref in listed.results} == {
            name: branch.head for name, branch in self.model.items()
        }
        for name, branch in self.model.items():
            committed = self.engine.list_entries(REPOSITORY, f"{name}@").results
            assert {line.path: value_of(line) for line in committed} == self.tree(name)
            staged = self.engine.list_entries(REPOSITORY, name).results
            assert {line.path: value_of(line) for line in staged} == overlay(self.tree(name), branch.staged)
            dirty = self.engine.diff_branch(REPOSITORY, name).results
            assert {line.path: line.type for line in dirty} == self.effective(name)
            assert self.engine.is_dirty(REPOSITORY, name) is bool(dirty)

    @invariant()
    def tags_and_old_commits_stay(self) -> None:
        for name, commit in self.tags.items():
            assert self.engine.get_tag(REPOSITORY, name).commit_id == commit
        for commit in list(self.known)[:: max(1, len(self.known) // 3)]:
            found = self.engine.list_entries(REPOSITORY, commit).results
            assert {line.path: value_of(line) for line in found} == self.known[commit].tree


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_MIN_COUNT", 2)
    monkeypatch.setattr(ranges, "RANGE_MAX_COUNT", 9)
    monkeypatch.setattr(ranges, "_CUT_BELOW", 2**32 // 4)


@pytest.mark.timeout(300)
def test_engine_against_dictionary() -> None:
    machine: Any = LakeMachine
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=250,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
