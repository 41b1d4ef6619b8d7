"""Garbage collection: deletes the bytes that nothing but expired commits, or nothing at all, refers to."""

import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from include.stack.lakefs.blockstore.store import Blob, full_uri, relative_address
from include.stack.lakefs.model import Commit, RetentionRules
from include.stack.lakefs.service import Service

FOLDER = "_lakefs/retention/gc"
DAY_S = 24 * 3600


@dataclass(frozen=True)
class Collected:
    """What a run did.

    Args:
        expired: Addresses of expired commits whose bytes were deleted; reading them answers 410.
        unreferenced: Addresses that nothing referred to, deleted as well.
        dry_run: Whether they were only counted.
        size_bytes: Of both.
    """

    expired: int
    unreferenced: int
    dry_run: bool
    size_bytes: int = 0


def collect(service: Service, repository: str, *, grace_s: int, dry_run: bool) -> Collected:
    """Collect a repository.

    Addresses of expired commits go by its retention rules; without rules nothing expires. What
    nothing refers to (uploads never linked, overwritten or dropped before they were committed)
    goes once it is older than the grace.

    Args:
        service: The server's parts.
        repository: Repository id.
        grace_s: Age in seconds below which nothing unreferenced is deleted; at least as long as an
            upload may take.
        dry_run: Count only.

    Raises:
        NotFound: No such repository.
    """
    facts = service.engine.get_repository(repository)
    namespace = facts.storage_namespace
    before_s = int(time.time()) - grace_s
    # Listed before the references are read, so that what is linked meanwhile counts as referenced.
    stored = _stored(service, namespace)
    referenced = set(service.engine.referenced_addresses(repository))
    unreferenced = [
        address for address, blob in stored.items() if blob.mtime < before_s and address not in referenced
    ]
    if dry_run:
        own = [
            address for address in service.engine.expired_addresses(repository) if _is_own(namespace, address)
        ]
    else:
        # Marked before they are deleted: a reader meets 410 rather than an address without bytes.
        own = service.engine.expire(repository, lambda address: _is_own(namespace, address))
        service.blockstore.delete(_uris(namespace, own))
        service.blockstore.delete(_uris(namespace, unreferenced))
    size_bytes = sum(stored[address].size_bytes for address in {*own, *unreferenced} & stored.keys())
    return Collected(len(own), len(unreferenced), dry_run, size_bytes)


def _stored(service: Service, namespace: str) -> dict[str, Blob]:
    """What lies in the namespace now, by address."""
    found = service.blockstore.walk(full_uri(namespace, "data/"), checksums=False)
    return {f"data/{blob.key}": blob for blob in found}


def _is_own(namespace: str, address: str) -> bool:
    """Whether an address lies in the namespace: imported objects belong to others."""
    return "://" not in address or relative_address(namespace, address) is not None


def _uris(namespace: str, addresses: Iterable[str]) -> Iterator[str]:
    for address in addresses:
        yield address if "://" in address else full_uri(namespace, address)


def write_expired(service: Service, repository: str) -> tuple[str, str, str]:
    """Write the commits of a repository and the addresses that expire, for a run by someone else.

    Returns:
        The id of the run, the address of a CSV of commits (`commit_id,expired,metarange_id`), and
        that of a text file with one expired address a line.
    """
    facts = service.engine.get_repository(repository)
    rules = service.engine.get_retention_rules(repository)
    run_id = secrets.token_hex(10)
    commits = _table(service, repository, rules)
    expired = [] if rules is None else service.engine.expired_addresses(repository, rules)
    place = f"run_id={run_id}"
    commits_uri = full_uri(facts.storage_namespace, f"{FOLDER}/commits/{place}/commits.csv")
    addresses_uri = full_uri(facts.storage_namespace, f"{FOLDER}/addresses/{place}/addresses.txt")
    _write(service, commits_uri, commits)
    _write(service, addresses_uri, (f"{address}\n" for address in expired))
    return run_id, commits_uri, addresses_uri


def write_referenced(service: Service, repository: str) -> tuple[str, str]:
    """Write every address that is in use, so that all others may be deleted.

    Returns:
        The id of the run and the address of a text file, one address a line.
    """
    facts = service.engine.get_repository(repository)
    run_id = secrets.token_hex(10)
    uri = full_uri(facts.storage_namespace, f"{FOLDER}/uncommitted/run_id={run_id}/referenced.txt")
    _write(service, uri, (f"{address}\n" for address in service.engine.referenced_addresses(repository)))
    return run_id, uri


def _write(service: Service, uri: str, lines: Iterable[str]) -> None:
    writer = service.blockstore.writer(uri)
    for line in lines:
        writer.write(line.encode())
    writer.finish()


def _table(service: Service, repository: str, rules: RetentionRules | None) -> Iterator[str]:
    yield "commit_id,expired,metarange_id\n"
    now = int(time.time())
    kept: set[str] = set()
    seen: dict[str, Commit] = {}
    for branch, head in _branches(service, repository):
        kept.add(head)
        days = None if rules is None else rules.branches.get(branch, rules.default_retention_days)
        for commit in _history(service, repository, head):
            seen[commit.id] = commit
            if days is None or commit.creation_date >= now - days * DAY_S:
                kept.add(commit.id)
    for commit in seen.values():
        expired = "true" if commit.id not in kept else "false"
        yield f"{commit.id},{expired},{commit.meta_range_id}\n"


def _branches(service: Service, repository: str) -> Iterator[tuple[str, str]]:
    after, more = "", True
    while more:
        found = service.engine.list_branches(repository, after=after, amount=1000, show_hidden=True)
        yield from ((branch.id, branch.commit_id) for branch in found.results)
        after, more = found.next_offset, found.has_more


def _history(service: Service, repository: str, head: str) -> Iterator[Commit]:
    after, more = "", True
    while more:
        found = service.engine.log(repository, head, after=after, amount=1000)
        yield from found.results
        after, more = found.next_offset, found.has_more
