"""Branches and tags."""

from include.stack.lakefs import wire
from include.stack.lakefs.call import Call, Reply, answer, done, page
from include.stack.lakefs.hooks.runner import Event
from include.stack.lakefs.model import Invalid, Page, Ref, ResetKind
from include.stack.lakefs.router import Lane, Route
from include.stack.lakefs.service import Service

RESETS: dict[str, ResetKind] = {"reset": "all", "common_prefix": "prefix", "object": "path"}


def list_branches(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/branches."""
    found = service.engine.list_branches(
        call.path["repository"],
        prefix=call.text("prefix"),
        search=call.text("search"),
        after=call.text("after"),
        amount=call.amount(),
        show_hidden=call.flag("show_hidden"),
    )
    return _refs(found)


def create_branch(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/branches: answers the commit id as text."""
    body = call.json(wire.BranchCreation)
    repository = call.path["repository"]
    made: list[Ref] = []
    source = service.commit_at(repository, body.source)
    service.around(
        Event("create-branch", repository, body.name, source, source_ref=source, commit_id=source),
        lambda: made.append(
            service.engine.create_branch(
                repository, body.name, body.source, force=bool(body.force), hidden=bool(body.hidden)
            )
        ),
    )
    return Reply(201, made[0].commit_id.encode(), "text/html; charset=utf-8")


def get_branch(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/branches/{branch}."""
    return answer(200, service.engine.get_branch(call.path["repository"], call.path["branch"]))


def delete_branch(service: Service, call: Call) -> Reply:
    """DELETE /repositories/{repository}/branches/{branch}."""
    repository, name = call.path["repository"], call.path["branch"]
    commit_id = service.engine.get_branch(repository, name).commit_id
    force = call.flag("force")
    service.around(
        Event("delete-branch", repository, name, commit_id, source_ref=commit_id, commit_id=commit_id),
        lambda: service.engine.delete_branch(repository, name, force=force),
    )
    return done()


def reset_branch(service: Service, call: Call) -> Reply:
    """PUT /repositories/{repository}/branches/{branch}: drop uncommitted changes."""
    body = call.json(wire.ResetCreation)
    if body.type not in RESETS:
        raise Invalid("unknown reset type")
    if body.type != "reset" and not body.path:
        raise Invalid("path is required")
    service.engine.reset(
        call.path["repository"],
        call.path["branch"],
        RESETS[body.type],
        body.path or "",
        force=bool(body.force),
    )
    return done()


def hard_reset_branch(service: Service, call: Call) -> Reply:
    """PUT /repositories/{repository}/branches/{branch}/hard_reset: move the branch."""
    service.engine.set_branch(
        call.path["repository"], call.path["branch"], call.required("ref"), force=call.flag("force")
    )
    return done()


def list_tags(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/tags."""
    found = service.engine.list_tags(
        call.path["repository"],
        prefix=call.text("prefix"),
        search=call.text("search"),
        after=call.text("after"),
        amount=call.amount(),
    )
    return _refs(found)


def create_tag(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/tags."""
    body = call.json(wire.TagCreation)
    repository = call.path["repository"]
    made: list[Ref] = []
    source = service.commit_at(repository, body.ref)
    service.around(
        Event("create-tag", repository, "", source, source_ref=source, commit_id=source, tag=body.id),
        lambda: made.append(service.engine.create_tag(repository, body.id, body.ref, force=bool(body.force))),
    )
    return answer(201, made[0])


def get_tag(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/tags/{tag}."""
    return answer(200, service.engine.get_tag(call.path["repository"], call.path["tag"]))


def delete_tag(service: Service, call: Call) -> Reply:
    """DELETE /repositories/{repository}/tags/{tag}."""
    repository, name = call.path["repository"], call.path["tag"]
    commit_id = service.engine.get_tag(repository, name).commit_id
    force = call.flag("force")
    service.around(
        Event("delete-tag", repository, "", commit_id, source_ref=commit_id, commit_id=commit_id, tag=name),
        lambda: service.engine.delete_tag(repository, name, force=force),
    )
    return done()


def _refs(found: Page[Ref]) -> Reply:
    return page(found, found.results)


REPOSITORY = "/repositories/{repository}"
BRANCH = f"{REPOSITORY}/branches/{{branch}}"
ROUTES = [
    Route("GET", f"{REPOSITORY}/branches", list_branches),
    Route("POST", f"{REPOSITORY}/branches", create_branch, Lane.SLOW),
    Route("GET", BRANCH, get_branch),
    Route("DELETE", BRANCH, delete_branch, Lane.SLOW),
    Route("PUT", BRANCH, reset_branch),
    Route("PUT", f"{BRANCH}/hard_reset", hard_reset_branch),
    Route("GET", f"{REPOSITORY}/tags", list_tags),
    Route("POST", f"{REPOSITORY}/tags", create_tag, Lane.SLOW),
    Route("GET", f"{REPOSITORY}/tags/{{tag}}", get_tag),
    Route("DELETE", f"{REPOSITORY}/tags/{{tag}}", delete_tag, Lane.SLOW),
]
