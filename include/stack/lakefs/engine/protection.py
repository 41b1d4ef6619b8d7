"""What a repository forbids: writes to a read-only one, actions on protected branches."""

import fnmatch
import functools

import msgspec

from include.stack.lakefs.engine.records import RepositoryRow, find_document
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.model import BlockedAction, Protected, ProtectionRule, ReadOnly

DOCUMENT = "branch_protection"
_MESSAGES: dict[BlockedAction, str] = {
    "staging_write": "cannot write to protected branch",
    "commit": "cannot commit to protected branch",
}


@functools.lru_cache(maxsize=256)
def decode_rules(body: bytes) -> tuple[ProtectionRule, ...]:
    """Return the rules that a branch protection document holds."""
    return tuple(msgspec.json.decode(body, type=list[ProtectionRule]))


def check_read_only(row: RepositoryRow, *, force: bool) -> None:
    """Check that the repository takes writes.

    Raises:
        ReadOnly: It does not, and `force` is not given.
    """
    if row.repository.read_only and not force:
        raise ReadOnly("read-only repository", repository=row.repository.id)


def check_action(
    tx: Transaction, row: RepositoryRow, branch: str, action: BlockedAction, *, force: bool
) -> None:
    """Check that the repository takes writes and no rule blocks the action on the branch.

    Raises:
        Protected: A rule blocks it; `force` does not help.
        ReadOnly: The repository is read-only, and `force` is not given.
    """
    document = find_document(tx, row.number, DOCUMENT)
    for rule in decode_rules(document.body) if document is not None else ():
        if action in rule.blocked_actions and fnmatch.fnmatchcase(branch, rule.pattern):
            raise Protected(_MESSAGES[action], branch=branch, pattern=rule.pattern)
    check_read_only(row, force=force)
