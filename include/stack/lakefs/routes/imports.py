"""Imports of objects that lie in the blockstore already."""

from include.stack.lakefs import wire
from include.stack.lakefs.call import Call, Reply, answer, done
from include.stack.lakefs.imports import Job, Request, Source
from include.stack.lakefs.router import Route
from include.stack.lakefs.service import Service


def start_import(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/branches/{branch}/import: answers at once."""
    body = call.json(wire.ImportCreation)
    repository, branch = call.path["repository"], call.path["branch"]
    hooked = service.hooked("commit", repository, branch)
    request = Request(
        repository=repository,
        branch=branch,
        sources=[Source(place.type, place.path, place.destination) for place in body.paths],
        committer=call.user,
        message=body.commit.message,
        metadata=body.commit.metadata or {},
        force=bool(body.force),
    )
    return answer(202, {"id": service.imports.start(request, hooked.check, hooked.made).id})


def import_status(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/branches/{branch}/import."""
    service.engine.get_repository(call.path["repository"])
    return answer(200, _shown(service.imports.status(call.path["repository"], call.required("id"))))


def cancel_import(service: Service, call: Call) -> Reply:
    """DELETE /repositories/{repository}/branches/{branch}/import."""
    service.imports.cancel(call.path["repository"], call.required("id"))
    return done()


def _shown(job: Job) -> dict[str, object]:
    shown: dict[str, object] = {
        "completed": job.completed,
        "update_time": job.updated_at,
        "ingested_objects": job.ingested,
    }
    if job.commit is not None:
        shown["commit"] = job.commit
        shown["metarange_id"] = job.commit.meta_range_id
    if job.error:
        shown["error"] = {"message": job.error}
    return shown


IMPORT = "/repositories/{repository}/branches/{branch}/import"
ROUTES = [
    Route("POST", IMPORT, start_import),
    Route("GET", IMPORT, import_status),
    Route("DELETE", IMPORT, cancel_import),
]
