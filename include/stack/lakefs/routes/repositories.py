"""Repositories, their metadata and their settings."""

import re
from collections.abc import Callable

import msgspec

from include.stack.lakefs import wire
from include.stack.lakefs.blockstore.store import NamespaceInUse
from include.stack.lakefs.call import Call, Reply, answer, done, page
from include.stack.lakefs.model import (
    AlreadyExists,
    Invalid,
    LakeError,
    NotFound,
    ProtectionRule,
    Repository,
    RetentionRules,
)
from include.stack.lakefs.quickstart import seed
from include.stack.lakefs.router import Lane, Route
from include.stack.lakefs.service import Service


def list_repositories(service: Service, call: Call) -> Reply:
    """GET /repositories."""
    found = service.engine.list_repositories(
        prefix=call.text("prefix"), search=call.text("search"), after=call.text("after"), amount=call.amount()
    )
    return page(found, [_shown(repository) for repository in found.results])


def create_repository(service: Service, call: Call) -> Reply:
    """POST /repositories: the namespace is checked and marked before anything else is written."""
    body = call.json(wire.RepositoryCreation)
    if call.flag("bare"):
        raise Invalid("bare repositories are not supported")
    try:
        service.engine.get_repository(body.name)
    except NotFound:
        pass
    else:
        raise AlreadyExists("error creating repository: not unique")
    pattern = service.blockstore.namespace_pattern
    if not re.match(pattern, body.storage_namespace):
        raise Invalid(f"failed to match required regex {pattern}: invalid namespace")
    _check_names(body)
    if not body.read_only:
        _claim(service, body.storage_namespace)
    repository = service.engine.create_repository(
        body.name, body.storage_namespace, body.default_branch or "main", read_only=bool(body.read_only)
    )
    if body.sample_data:
        seed(service, repository, call.user)
    return answer(201, _shown(repository))


def _check_names(body: wire.RepositoryCreation) -> None:
    """Refuse a bad name before the namespace is marked as used for it."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{2,62}", body.name):
        raise Invalid(f"error creating repository: argument 'name': invalid value: {body.name!r}")
    if body.default_branch and not re.fullmatch(r"\w[-\w]*", body.default_branch):
        raise Invalid(
            f"error creating repository: argument 'defaultBranch': invalid value: {body.default_branch!r}"
        )


def _claim(service: Service, namespace: str) -> None:
    try:
        service.blockstore.claim_namespace(namespace)
    except NamespaceInUse as error:
        raise Invalid(
            f"failed to create repository: {error.message}: storage namespace already in use"
        ) from error
    except Invalid as error:
        raise Invalid(f"failed to create repository: {error.message}") from error
    except LakeError as error:
        raise Invalid(f"failed to create repository: failed to access storage: {error.message}") from error


def get_repository(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}."""
    return answer(200, _shown(service.engine.get_repository(call.path["repository"])))


def delete_repository(service: Service, call: Call) -> Reply:
    """DELETE /repositories/{repository}: its objects stay in the blockstore."""
    service.engine.delete_repository(call.path["repository"], force=call.flag("force"))
    service.journal.forget(call.path["repository"])
    return done()


def get_metadata(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/metadata."""
    return answer(200, service.engine.get_metadata(call.path["repository"]))


def set_metadata(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/metadata."""
    service.engine.set_metadata(call.path["repository"], call.json(wire.MetadataSet).metadata)
    return done()


def delete_metadata(service: Service, call: Call) -> Reply:
    """DELETE /repositories/{repository}/metadata."""
    service.engine.delete_metadata(call.path["repository"], call.json(wire.MetadataKeys).keys)
    return done()


def get_protection(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/settings/branch_protection."""
    rules, checksum = service.engine.get_protection_rules(call.path["repository"])
    return answer(200, [{"pattern": rule.pattern} for rule in rules], [("ETag", checksum)])


def set_protection(service: Service, call: Call) -> Reply:
    """PUT /repositories/{repository}/settings/branch_protection."""
    patterns = [rule.pattern for rule in call.json_list(wire.ProtectionPattern)]
    if not all(patterns):
        raise Invalid("branch protection pattern must not be empty")
    if_match = call.headers.get("if-match")
    service.engine.set_protection_rules(
        call.path["repository"],
        [ProtectionRule(pattern) for pattern in dict.fromkeys(patterns)],
        if_match=None if if_match is None else if_match.strip('"'),
    )
    return done()


def add_protection(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/branch_protection: one rule more."""
    added = call.json(wire.ProtectionPattern).pattern
    if not added:
        raise Invalid("branch protection pattern must not be empty")
    _edit_protection(service, call, lambda patterns: [*patterns, added])
    return done()


def remove_protection(service: Service, call: Call) -> Reply:
    """DELETE /repositories/{repository}/branch_protection: one rule less."""
    removed = call.json(wire.ProtectionPattern).pattern

    def without(patterns: list[str]) -> list[str]:
        if removed not in patterns:
            raise NotFound("branch protection rule not found")
        return [pattern for pattern in patterns if pattern != removed]

    _edit_protection(service, call, without)
    return done()


def _edit_protection(service: Service, call: Call, edit: Callable[[list[str]], list[str]]) -> None:
    repository = call.path["repository"]
    rules, checksum = service.engine.get_protection_rules(repository)
    patterns = dict.fromkeys(edit([rule.pattern for rule in rules]))
    service.engine.set_protection_rules(
        repository, [ProtectionRule(pattern) for pattern in patterns], if_match=checksum
    )


def preflight(service: Service, call: Call) -> Reply:
    """GET .../set_allowed: whether the caller may set rules; the administrator may."""
    service.engine.get_repository(call.path["repository"])
    return done()


def get_retention(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/settings/gc_rules."""
    rules = service.engine.get_retention_rules(call.path["repository"])
    if rules is None:
        raise NotFound("garbage collection rules: not found")
    branches = [{"branch_id": name, "retention_days": days} for name, days in sorted(rules.branches.items())]
    return answer(200, {"default_retention_days": rules.default_retention_days, "branches": branches})


def set_retention(service: Service, call: Call) -> Reply:
    """PUT /repositories/{repository}/settings/gc_rules."""
    body = call.json(wire.RetentionBody)
    days = {rule.branch_id: rule.retention_days for rule in body.branches}
    if body.default_retention_days < 0 or any(value < 0 for value in days.values()):
        raise Invalid("retention days must not be negative")
    service.engine.set_retention_rules(
        call.path["repository"], RetentionRules(body.default_retention_days, days)
    )
    return done()


def delete_retention(service: Service, call: Call) -> Reply:
    """DELETE /repositories/{repository}/settings/gc_rules."""
    service.engine.delete_retention_rules(call.path["repository"])
    return done()


def _shown(repository: Repository) -> dict[str, object]:
    return msgspec.structs.asdict(repository)


ONE = "/repositories/{repository}"
ROUTES = [
    Route("GET", "/repositories", list_repositories),
    Route("POST", "/repositories", create_repository, Lane.SLOW),
    Route("GET", ONE, get_repository),
    Route("DELETE", ONE, delete_repository, Lane.SLOW),
    Route("GET", f"{ONE}/metadata", get_metadata),
    Route("POST", f"{ONE}/metadata", set_metadata),
    Route("DELETE", f"{ONE}/metadata", delete_metadata),
    Route("GET", f"{ONE}/settings/branch_protection", get_protection),
    Route("PUT", f"{ONE}/settings/branch_protection", set_protection),
    Route("GET", f"{ONE}/branch_protection", get_protection),
    Route("POST", f"{ONE}/branch_protection", add_protection),
    Route("DELETE", f"{ONE}/branch_protection", remove_protection),
    Route("GET", f"{ONE}/branch_protection/set_allowed", preflight),
    Route("GET", f"{ONE}/settings/gc_rules", get_retention),
    Route("PUT", f"{ONE}/settings/gc_rules", set_retention),
    Route("DELETE", f"{ONE}/settings/gc_rules", delete_retention),
    Route("GET", f"{ONE}/gc/rules", get_retention),
    Route("POST", f"{ONE}/gc/rules", set_retention),
    Route("DELETE", f"{ONE}/gc/rules", delete_retention),
    Route("GET", f"{ONE}/gc/rules/set_allowed", preflight),
]
