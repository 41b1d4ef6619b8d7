"""Branches, tags and ref expressions."""

import itertools

from include.stack.lakefs.engine import names, protection, records, staging
from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.engine.paging import name_page
from include.stack.lakefs.engine.records import BranchRow, RepositoryRow
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.model import (
    AlreadyExists,
    Conflict,
    DirtyBranch,
    NotFound,
    Page,
    Protected,
    Ref,
    Resolved,
)


class Refs(Core):
    """Part of the engine: names for commits."""

    def resolve(self, repository: str, expression: str) -> Resolved:
        """Resolve a ref expression: a branch, tag or (prefix of a) commit id, then `~N ^N @ $`.

        `@` is the branch's last commit without its uncommitted changes, `$` its staging area; both
        only on a branch and only as the last modifier.

        Raises:
            NotFound: Nothing has that name, or the chain leaves the history.
            InvalidRef: The expression cannot be read.
        """
        with self._reading(repository) as (tx, row):
            return self._resolve(tx, row.number, expression)[0]

    def create_branch(
        self, repository: str, name: str, source: str, *, force: bool = False, hidden: bool = False
    ) -> Ref:
        """Create a branch at the commit that `source` resolves to (uncommitted changes stay behind).

        Raises:
            AlreadyExists: The name is taken by a branch.
            Invalid: The name is bad, or would be read as a tag or commit id.
            NotFound: `source` does not exist.
        """
        names.check_branch(name)

        def create(tx: Transaction, row: RepositoryRow) -> Ref:
            protection.check_read_only(row, force=force)
            if self._commits_starting_with(tx, row.number, name) == [name]:
                raise Conflict(f"commit ID {name}: conflict found")
            if records.find_tag(tx, row.number, name) is not None:
                raise Conflict(f"tag ID {name}: conflict found")
            if records.find_branch(tx, row.number, name) is not None:
                raise AlreadyExists("branch already exists: not unique", branch=name)
            head = self._resolve_commit(tx, row.number, source).id
            records.put_branch(tx, row.number, BranchRow(name, head, staging.new_token(tx), (), hidden))
            return Ref(name, head)

        return self._write(repository, create)

    def get_branch(self, repository: str, name: str) -> Ref:
        """Return the branch.

        Raises:
            NotFound: `branch not found`.
        """
        with self._reading(repository) as (tx, row):
            return Ref(name, records.get_branch(tx, row.number, name).head)

    def list_branches(
        self,
        repository: str,
        *,
        prefix: str = "",
        search: str = "",
        after: str = "",
        amount: int = 1000,
        show_hidden: bool = False,
    ) -> Page[Ref]:
        """List branches by name; hidden ones only on request."""
        with self._reading(repository) as (tx, row):
            matching = (
                Ref(branch.name, branch.head)
                for branch in records.scan_branches(tx, row.number, max(prefix, after))
                if branch.name != after and branch.name.startswith(prefix) and search in branch.name
                if show_hidden or not branch.hidden
            )
            return name_page(list(itertools.islice(matching, amount + 1)), amount, lambda ref: ref.id)

    def delete_branch(self, repository: str, name: str, *, force: bool = False) -> None:
        """Delete the branch and its uncommitted changes.

        Raises:
            Invalid: It is the default branch.
            NotFound: `branch not found`.
            Protected: A rule blocks deleting it.
        """

        def delete(tx: Transaction, row: RepositoryRow) -> None:
            protection.check_read_only(row, force=force)
            if name == row.repository.default_branch:
                raise Protected("cannot delete repository default branch", branch=name)
            branch = records.get_branch(tx, row.number, name)
            staging.drop(tx, branch.tokens)
            tx.execute("DELETE FROM branches WHERE repository = ? AND name = ?", (row.number, name))

        self._write(repository, delete)

    def set_branch(self, repository: str, name: str, target: str, *, force: bool = False) -> Ref:
        """Move the branch to the commit that `target` resolves to: a hard reset.

        lakeFS lets it pass over staged changes, which then lie upon another commit than the one they
        were made on; here it asks for a clean branch, as merge does.

        Raises:
            DirtyBranch: It has uncommitted changes.
            NotFound: Branch or target do not exist.
            Protected: A rule blocks commits or staging writes on it.
        """

        def move(tx: Transaction, row: RepositoryRow) -> Ref:
            protection.check_action(tx, row, name, "commit", force=force)
            protection.check_action(tx, row, name, "staging_write", force=force)
            branch = records.get_branch(tx, row.number, name)
            if self._is_dirty(tx, row.number, branch):
                raise DirtyBranch(f"{name}: uncommitted changes (dirty branch)")
            head = self._resolve_commit(tx, row.number, target).id
            staging.drop(tx, branch.tokens)  # edits that change nothing here might change something there
            records.put_branch(tx, row.number, branch._replace(head=head, sealed=()))
            return Ref(name, head)

        return self._write(repository, move)

    def create_tag(self, repository: str, name: str, target: str, *, force: bool = False) -> Ref:
        """Create a tag at the commit that `target` resolves to; tags never move.

        Raises:
            AlreadyExists: The tag exists.
            Invalid: The name is bad.
            InvalidRef: `target` is a staging area.
        """
        names.check_tag(name)

        def create(tx: Transaction, row: RepositoryRow) -> Ref:
            protection.check_read_only(row, force=force)
            if self._commits_starting_with(tx, row.number, name) == [name]:
                raise Conflict(f"commit ID {name}: conflict found")
            if records.find_branch(tx, row.number, name) is not None:
                raise Conflict(f"branch name {name}: conflict found")
            commit_id = self._resolve_commit(tx, row.number, target).id
            if records.find_tag(tx, row.number, name) is not None:
                raise AlreadyExists("tag already exists: not unique", tag=name)
            tx.execute("INSERT INTO tags VALUES (?, ?, ?)", (row.number, name, commit_id))
            return Ref(name, commit_id)

        return self._write(repository, create)

    def get_tag(self, repository: str, name: str) -> Ref:
        """Return the tag.

        Raises:
            NotFound: `tag not found`.
        """
        with self._reading(repository) as (tx, row):
            commit_id = records.find_tag(tx, row.number, name)
        if commit_id is None:
            raise NotFound("tag not found", tag=name)
        return Ref(name, commit_id)

    def list_tags(
        self, repository: str, *, prefix: str = "", search: str = "", after: str = "", amount: int = 1000
    ) -> Page[Ref]:
        """List tags by name."""
        with self._reading(repository) as (tx, row):
            query = "SELECT name, commit_id FROM tags WHERE repository = ? AND name >= ? ORDER BY name"
            matching = (
                Ref(*found)
                for found in tx.execute(query, (row.number, max(prefix, after)))
                if found[0] != after and found[0].startswith(prefix) and search in found[0]
            )
            return name_page(list(itertools.islice(matching, amount + 1)), amount, lambda ref: ref.id)

    def delete_tag(self, repository: str, name: str, *, force: bool = False) -> None:
        """Delete the tag.

        Raises:
            NotFound: `tag not found`.
        """

        def delete(tx: Transaction, row: RepositoryRow) -> None:
            protection.check_read_only(row, force=force)
            removed = tx.execute("DELETE FROM tags WHERE repository = ? AND name = ?", (row.number, name))
            if not removed.rowcount:
                raise NotFound("tag not found", tag=name)

        self._write(repository, delete)
