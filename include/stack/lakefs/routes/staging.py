"""Uploads that do not pass the server: addresses to write to, and linking what was written."""

import time

from include.stack.lakefs import wire
from include.stack.lakefs.blockstore.store import full_uri, relative_address
from include.stack.lakefs.call import Call, Reply, answer, done
from include.stack.lakefs.model import Invalid, Repository
from include.stack.lakefs.router import Lane, Route
from include.stack.lakefs.routes.objects import check_source, staged_entry, stats
from include.stack.lakefs.routes.transfer import conditions
from include.stack.lakefs.service import Service

LINK_LIFE_S = 6 * 3600
"""How long an address may be linked after it was given out; also the grace of garbage collection."""

MAX_PARTS = 10_000


def get_physical_address(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/branches/{branch}/staging/backing."""
    call.required("path")
    repository = service.engine.get_repository(call.path["repository"])
    uri = _issue(service, repository, call.path["branch"])
    location: dict[str, object] = {"physical_address": uri}
    if call.flag("presign"):
        location["presigned_url"], location["presigned_url_expiry"] = service.blockstore.presign(
            uri, write=True
        )
    return answer(200, location)


def _issue(service: Service, repository: Repository, branch: str) -> str:
    service.engine.get_branch(repository.id, branch)
    address = service.addresses.new()
    service.engine.issue_address(repository.id, branch, address, expires_at=int(time.time()) + LINK_LIFE_S)
    return full_uri(repository.storage_namespace, address)


def _address(repository: Repository, uri: str | None) -> str:
    """The relative form of an address that a client names.

    Raises:
        Invalid: It lies outside of the repository's storage namespace.
    """
    if not uri:
        raise Invalid("physical_address is required")
    address = relative_address(repository.storage_namespace, uri)
    if address is None:
        raise Invalid("physical address must be relative to the storage namespace")
    return address


def _claim(service: Service, repository: Repository, address: str) -> None:
    if not service.engine.claim_address(repository.id, address):
        raise Invalid("bad address token (expired or invalid)")


def link_physical_address(service: Service, call: Call) -> Reply:
    """PUT /repositories/{repository}/branches/{branch}/staging/backing."""
    body = call.json(wire.StagingMetadata)
    path = call.required("path")
    if_absent, if_match = conditions(call)
    repository = service.engine.get_repository(call.path["repository"])
    branch = call.path["branch"]
    force = bool(body.force)
    service.engine.check_writable(repository.id, branch, force=force)
    address = _address(repository, body.staging.physical_address)
    uri = full_uri(repository.storage_namespace, address)
    entry = staged_entry(
        repository,
        path,
        uri,
        checksum=body.checksum,
        size_bytes=body.size_bytes,
        metadata=body.user_metadata,
        content_type=body.content_type,
    )
    _claim(service, repository, address)
    service.engine.stage(repository.id, branch, entry, if_absent=if_absent, if_match=if_match, force=force)
    return answer(200, stats(repository, entry))


def create_multipart(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/branches/{branch}/staging/pmpu."""
    store = service.multipart()
    call.required("path")
    parts = call.number("parts") or 0
    if not 0 <= parts <= MAX_PARTS:
        raise Invalid(f"parts can be between 0 and {MAX_PARTS}")
    repository = service.engine.get_repository(call.path["repository"])
    uri = _issue(service, repository, call.path["branch"])
    upload_id = store.create_upload(uri)
    created: dict[str, object] = {"upload_id": upload_id, "physical_address": uri}
    if parts:
        created["presigned_urls"] = [store.presign_part(uri, upload_id, n) for n in range(1, parts + 1)]
    return answer(201, created)


def complete_multipart(service: Service, call: Call) -> Reply:
    """PUT /repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}."""
    store = service.multipart()
    body = call.json(wire.MultipartCompletion)
    path = call.required("path")
    if not body.parts:
        raise Invalid("parts are required")
    repository = service.engine.get_repository(call.path["repository"])
    branch = call.path["branch"]
    service.engine.check_writable(repository.id, branch)
    address = _address(repository, body.physical_address)
    _claim(service, repository, address)
    uri = full_uri(repository.storage_namespace, address)
    parts = [(part.part_number, part.etag) for part in body.parts]
    blob = store.complete_upload(uri, call.path["uploadId"], parts)
    entry = staged_entry(
        repository,
        path,
        uri,
        checksum=blob.checksum,
        size_bytes=blob.size_bytes,
        metadata=body.user_metadata,
        content_type=body.content_type,
    )
    service.engine.stage(repository.id, branch, entry)
    return answer(200, stats(repository, entry))


def abort_multipart(service: Service, call: Call) -> Reply:
    """DELETE /repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}."""
    store = service.multipart()
    call.required("path")
    body = call.json(wire.UploadAddress)
    repository = service.engine.get_repository(call.path["repository"])
    address = _address(repository, body.physical_address)
    _claim(service, repository, address)
    store.abort_upload(full_uri(repository.storage_namespace, address), call.path["uploadId"])
    return done()


def upload_part(service: Service, call: Call) -> Reply:
    """PUT .../staging/pmpu/{uploadId}/parts/{partNumber}: where to send one part."""
    store = service.multipart()
    uri, number = _part(service, call, call.json(wire.UploadAddress).physical_address)
    return answer(200, {"presigned_url": store.presign_part(uri, call.path["uploadId"], number)})


def copy_part(service: Service, call: Call) -> Reply:
    """PUT .../staging/pmpu/{uploadId}/parts/{partNumber}/copy: a part from another object."""
    store = service.multipart()
    body = call.json(wire.PartCopy)
    uri, number = _part(service, call, body.physical_address)
    source = body.copy_source
    source_uri, _ = check_source(service, source.repository, source.ref, source.path)
    etag = store.copy_part(uri, call.path["uploadId"], number, source_uri, source.range or "")
    return Reply(204, headers=[("ETag", f'"{etag}"')])


def _part(service: Service, call: Call, uri: str) -> tuple[str, int]:
    call.required("path")
    given = call.path["partNumber"]
    if not given.isdigit() or not 1 <= int(given) <= MAX_PARTS:
        raise Invalid(f"part number can be between 1 and {MAX_PARTS}")
    repository = service.engine.get_repository(call.path["repository"])
    address = _address(repository, uri)
    return full_uri(repository.storage_namespace, address), int(given)


STAGING = "/repositories/{repository}/branches/{branch}/staging"
UPLOAD = f"{STAGING}/pmpu/{{uploadId}}"
ROUTES = [
    Route("GET", f"{STAGING}/backing", get_physical_address),
    Route("PUT", f"{STAGING}/backing", link_physical_address),
    Route("POST", f"{STAGING}/pmpu", create_multipart, Lane.SLOW),
    Route("PUT", UPLOAD, complete_multipart, Lane.SLOW),
    Route("DELETE", UPLOAD, abort_multipart, Lane.SLOW),
    Route("PUT", f"{UPLOAD}/parts/{{partNumber}}", upload_part),
    Route("PUT", f"{UPLOAD}/parts/{{partNumber}}/copy", copy_part, Lane.SLOW),
]
