"""All that may happen to a lake, in any order, done to the engine and to a model of dictionaries."""

import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
)

from include.stack.lakefs.engine import Engine
from include.stack.lakefs.model import Conflict, DirtyBranch, MergeStrategy, NoChanges, NotFound
from tests.unit.lakefs.dictionary_lake import (
    Branch,
    Edits,
    Known,
    Tree,
    changed,
    entry,
    merge_trees,
    overlay,
)

MEMORY = Path("/dev/shm")  # waiting for the disk would be most of the time
REPOSITORY = "repo"
COMMITTER = "tester"
PATHS = ["a", "a/b", "a/b/c", "a0", "b/1", "b/2", "b/deep/3", "c d", "é", "z/\U0001f30a"]
BULK = [f"bulk/{number:02d}" for number in range(40)]

branches = st.sampled_from(["main", "b1", "b2", "b3"])
values = st.integers(0, 5)
strategies = st.sampled_from([MergeStrategy.NONE, *MergeStrategy])
edits = st.dictionaries(st.sampled_from(PATHS), st.none() | values, min_size=1, max_size=5)


class WritingMachine(RuleBasedStateMachine):
    """Everything that changes the lake; `model` and `known` are what it must then hold."""

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
