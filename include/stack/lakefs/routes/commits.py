"""Commits and history: commit, log, diff, and what is made from other commits."""

from datetime import datetime
from typing import get_args

from include.stack.lakefs import wire
from include.stack.lakefs.call import Call, Reply, answer, done, page
from include.stack.lakefs.model import (
    Change,
    Commit,
    Conflict,
    DiffType,
    Invalid,
    MergeStrategy,
    NotFound,
    Page,
)
from include.stack.lakefs.router import Lane, Route
from include.stack.lakefs.service import Service


def commit(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/branches/{branch}/commits."""
    body = call.json(wire.CommitCreation)
    repository, branch = call.path["repository"], call.path["branch"]
    hooked = service.hooked("commit", repository, branch)
    made = service.engine.commit(
        repository,
        branch,
        body.message,
        call.user,
        body.metadata or {},
        date=body.date,
        allow_empty=bool(body.allow_empty),
        source_metarange=call.text("source_metarange") or None,
        force=bool(body.force),
        check=hooked.check,
    )
    return answer(201, hooked.made(made))


def get_commit(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/commits/{commitId}: any ref expression is taken."""
    try:
        found = service.engine.get_commit(call.path["repository"], call.path["commitId"])
    except NotFound:
        service.engine.get_repository(call.path["repository"])
        raise NotFound("commit not found") from None
    return answer(200, found)


def create_commit_record(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/commits: restore a commit as it was dumped."""
    body = call.json(wire.CommitRecord)
    record = Commit(
        id=body.commit_id,
        parents=tuple(body.parents),
        committer=body.committer,
        message=body.message,
        creation_date=body.creation_date,
        meta_range_id=body.metarange_id,
        metadata=body.metadata or {},
        generation=body.generation,
        version=body.version,
    )
    service.engine.create_commit_record(call.path["repository"], record, force=bool(body.force))
    return done()


def log_commits(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/refs/{ref}/commits."""
    found = service.engine.log(
        call.path["repository"],
        call.path["ref"],
        after=call.text("after"),
        amount=call.amount(),
        objects=[path for path in call.all("objects") if path],
        prefixes=[path for path in call.all("prefixes") if path],
        limit=call.flag("limit"),
        first_parent=call.flag("first_parent"),
        since=_time(call.text("since")),
        stop_at=call.text("stop_at") or None,
    )
    return page(found, found.results)


def _time(text: str) -> int | None:
    if not text:
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError as error:
        raise Invalid(f'parameter "since" in query must be a date and time, not {text!r}') from error


def diff_refs(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/refs/{leftRef}/diff/{rightRef}: three-dot where not told."""
    kind = call.text("type") or "three_dot"
    if kind not in get_args(DiffType):
        raise Invalid(f'parameter "type" in query must be one of {", ".join(get_args(DiffType))}')
    found = service.engine.diff(
        call.path["repository"],
        call.path["leftRef"],
        call.path["rightRef"],
        type="two_dot" if kind == "two_dot" else "three_dot",
        prefix=call.text("prefix"),
        after=call.text("after"),
        delimiter=call.text("delimiter"),
        amount=call.amount(),
    )
    return _changes(found, with_right=call.flag("include_right_stats"))


def diff_branch(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/branches/{branch}/diff: what is not committed."""
    found = service.engine.diff_branch(
        call.path["repository"],
        call.path["branch"],
        prefix=call.text("prefix"),
        after=call.text("after"),
        delimiter=call.text("delimiter"),
        amount=call.amount(),
    )
    return _changes(found, with_right=False)


def _changes(found: Page[Change], *, with_right: bool) -> Reply:
    return page(found, [_shown(change, with_right=with_right) for change in found.results])


def _shown(change: Change, *, with_right: bool) -> dict[str, object]:
    shown: dict[str, object] = {"type": change.type, "path": change.path, "path_type": change.path_type}
    if change.path_type == "object" and change.size_bytes is not None:
        shown["size_bytes"] = change.size_bytes
    if with_right and change.entry is not None:
        shown["right"] = {
            "checksum": change.entry.checksum,
            "mtime": change.entry.mtime,
            "content_type": change.entry.content_type,
            "metadata": change.entry.metadata,
        }
    return shown


def merge(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}."""
    body = call.json(wire.MergeBody) if call.body else wire.MergeBody()
    repository, branch = call.path["repository"], call.path["destinationBranch"]
    try:
        strategy = MergeStrategy(body.strategy or "default")
    except ValueError as error:
        raise Invalid(f"invalid merge strategy: {body.strategy}: it is dest-wins or source-wins") from error
    hooked = service.hooked("merge", repository, branch)
    try:
        made = service.engine.merge(
            repository,
            call.path["sourceRef"],
            branch,
            call.user,
            body.message or "",
            body.metadata or {},
            strategy=strategy,
            squash=bool(body.squash_merge),
            allow_empty=bool(body.allow_empty),
            force=bool(body.force),
            check=hooked.check,
        )
    except Conflict:
        return answer(409, {"reference": ""})
    return answer(200, {"reference": hooked.made(made).id})


def find_merge_base(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}."""
    found = service.engine.merge_base(
        call.path["repository"], call.path["sourceRef"], call.path["destinationBranch"]
    )
    return answer(200, found)


def revert(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/branches/{branch}/revert."""
    body = call.json(wire.RevertCreation)
    overrides = body.commit_overrides or wire.CommitOverrides()
    repository, branch = call.path["repository"], call.path["branch"]
    hooked = service.hooked("revert", repository, branch)
    made = service.engine.revert(
        repository,
        branch,
        body.ref,
        call.user,
        parent_number=body.parent_number,
        message=overrides.message or "",
        metadata=overrides.metadata,
        allow_empty=bool(body.allow_empty),
        force=bool(body.force),
        check=hooked.check,
    )
    hooked.made(made)
    return done()


def cherry_pick(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/branches/{branch}/cherry-pick."""
    body = call.json(wire.CherryPickCreation)
    overrides = body.commit_overrides or wire.CommitOverrides()
    repository, branch = call.path["repository"], call.path["branch"]
    hooked = service.hooked("cherry-pick", repository, branch)
    made = service.engine.cherry_pick(
        repository,
        branch,
        body.ref,
        call.user,
        parent_number=body.parent_number,
        message=overrides.message or "",
        metadata=overrides.metadata,
        force=bool(body.force),
        check=hooked.check,
    )
    return answer(201, hooked.made(made))


REPOSITORY = "/repositories/{repository}"
BRANCH = f"{REPOSITORY}/branches/{{branch}}"
MERGE = f"{REPOSITORY}/refs/{{sourceRef}}/merge/{{destinationBranch}}"
ROUTES = [
    Route("POST", f"{BRANCH}/commits", commit, Lane.SLOW),
    Route("GET", f"{REPOSITORY}/commits/{{commitId}}", get_commit),
    Route("POST", f"{REPOSITORY}/commits", create_commit_record),
    Route("GET", f"{REPOSITORY}/refs/{{ref}}/commits", log_commits),
    Route("GET", f"{REPOSITORY}/refs/{{leftRef}}/diff/{{rightRef}}", diff_refs),
    Route("GET", f"{BRANCH}/diff", diff_branch),
    Route("POST", MERGE, merge, Lane.SLOW),
    Route("GET", MERGE, find_merge_base),
    Route("POST", f"{BRANCH}/revert", revert, Lane.SLOW),
    Route("POST", f"{BRANCH}/cherry-pick", cherry_pick, Lane.SLOW),
]
