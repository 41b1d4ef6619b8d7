"""Objects: look at, list, delete, copy and stage; their bytes are in `transfer`."""

import re
import time
from collections.abc import Mapping

import msgspec

from include.stack.lakefs import wire
from include.stack.lakefs.blockstore.store import full_uri, relative_address
from include.stack.lakefs.call import Call, Reply, answer, done, page
from include.stack.lakefs.model import (
    Entry,
    Gone,
    Invalid,
    LakeError,
    NotFound,
    Protected,
    ReadOnly,
    Repository,
)
from include.stack.lakefs.router import Lane, Route
from include.stack.lakefs.service import Service, uri_of

MAX_DELETED_PATHS = 1000
DEFAULT_CONTENT_TYPE = "application/octet-stream"


class TooManyPaths(LakeError):
    """More paths than one request may delete; lakeFS answers 500."""

    status = 500


def stats(
    repository: Repository,
    entry: Entry,
    *,
    user_metadata: bool = True,
    uri: str = "",
    expiry: int | None = None,
) -> wire.ObjectStats:
    """An entry as clients see it."""
    return wire.ObjectStats(
        path=entry.path,
        path_type="object",
        physical_address=uri or uri_of(repository, entry),
        checksum=entry.checksum,
        mtime=entry.mtime,
        size_bytes=entry.size_bytes,
        metadata=dict(entry.metadata) if user_metadata else {},
        content_type=entry.content_type,
        physical_address_expiry=expiry,
    )


def stat_object(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/refs/{ref}/objects/stat: 410 where the bytes were collected."""
    path = call.required("path")
    repository = service.engine.get_repository(call.path["repository"])
    entry = service.engine.get_entry(repository.id, call.path["ref"], path)
    with_metadata = call.flag("user_metadata", default=True)
    if service.engine.is_gone(repository.id, entry):
        return answer(Gone.status, stats(repository, entry, user_metadata=with_metadata))
    if not call.flag("presign"):
        return answer(200, stats(repository, entry, user_metadata=with_metadata))
    uri, expiry = service.blockstore.presign(uri_of(repository, entry))
    return answer(200, stats(repository, entry, user_metadata=with_metadata, uri=uri, expiry=expiry))


def list_objects(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/refs/{ref}/objects/ls."""
    repository = service.engine.get_repository(call.path["repository"])
    found = service.engine.list_entries(
        repository.id,
        call.path["ref"],
        prefix=call.text("prefix"),
        after=call.text("after"),
        delimiter=call.text("delimiter"),
        amount=call.amount(),
    )
    presign = call.flag("presign")
    with_metadata = call.flag("user_metadata", default=True)
    results = []
    for item in found.results:
        if not isinstance(item, Entry):
            results.append(wire.ObjectStats(item.path, "common_prefix", "", "", 0))
        elif presign:
            uri, expiry = service.blockstore.presign(uri_of(repository, item))
            results.append(stats(repository, item, user_metadata=with_metadata, uri=uri, expiry=expiry))
        else:
            results.append(stats(repository, item, user_metadata=with_metadata))
    return page(found, results)


def get_underlying_properties(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/refs/{ref}/objects/underlyingProperties."""
    path = call.required("path")
    repository = service.engine.get_repository(call.path["repository"])
    entry = service.engine.get_entry(repository.id, call.path["ref"], path)
    if service.blockstore.kind == "local":
        return answer(200, {})
    return answer(200, {"storage_class": service.blockstore.stat(uri_of(repository, entry)).storage_class})


def delete_object(service: Service, call: Call) -> Reply:
    """DELETE /repositories/{repository}/branches/{branch}/objects: 204 whether it was there or not."""
    service.engine.delete(
        call.path["repository"], call.path["branch"], call.required("path"), force=call.flag("force")
    )
    return done()


def delete_objects(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/branches/{branch}/objects/delete: errors are told by path."""
    paths = call.json(wire.PathList).paths
    if len(paths) > MAX_DELETED_PATHS:
        raise TooManyPaths(f"request size exceeded, max paths is set to {MAX_DELETED_PATHS}")
    # Spark deletes the path "": a success that deletes nothing.
    wanted = [path for path in paths if path]
    force = call.flag("force")
    errors: list[dict[str, object]] = []
    try:
        service.engine.delete_many(call.path["repository"], call.path["branch"], wanted, force=force)
    except (Protected, ReadOnly) as error:
        errors = [{"path": path, "status_code": error.status, "message": error.message} for path in wanted]
    except Invalid:
        errors = _delete_each(service, call, wanted, force=force)
    return answer(200, {"errors": errors})


def _delete_each(service: Service, call: Call, paths: list[str], *, force: bool) -> list[dict[str, object]]:
    """Delete one by one, since one of them cannot be a path."""
    errors: list[dict[str, object]] = []
    for path in paths:
        try:
            service.engine.delete(call.path["repository"], call.path["branch"], path, force=force)
        except Invalid as error:
            errors.append({"path": path, "status_code": 500, "message": error.message})
    return errors


def copy_object(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/branches/{branch}/objects/copy: a shallow one shares the bytes."""
    body = call.json(wire.ObjectCopyCreation)
    destination = call.required("dest_path")
    repository = service.engine.get_repository(call.path["repository"])
    branch = call.path["branch"]
    service.engine.check_writable(repository.id, branch, force=bool(body.force))
    entry = service.engine.get_entry(repository.id, body.src_ref or branch, body.src_path)
    if service.engine.is_gone(repository.id, entry):
        raise Gone("resource expired")
    copied = msgspec.structs.replace(entry, path=destination, mtime=int(time.time()))
    if not body.shallow:
        address = service.addresses.new()
        service.blockstore.copy(uri_of(repository, entry), full_uri(repository.storage_namespace, address))
        copied = msgspec.structs.replace(copied, physical_address=address, address_type="relative")
    service.engine.stage(repository.id, branch, copied, force=bool(body.force))
    return answer(201, stats(repository, copied))


def stage_object(service: Service, call: Call) -> Reply:
    """PUT /repositories/{repository}/branches/{branch}/objects: an object that lies there already."""
    body = call.json(wire.ObjectStageCreation)
    path = call.required("path")
    repository = service.engine.get_repository(call.path["repository"])
    if not re.match(service.blockstore.namespace_pattern, body.physical_address):
        kind = service.blockstore.kind
        raise Invalid(f"physical address is not valid for block adapter: {kind}")
    service.blockstore.check_uri(body.physical_address)
    entry = staged_entry(
        repository,
        path,
        body.physical_address,
        checksum=body.checksum,
        size_bytes=body.size_bytes,
        mtime=body.mtime,
        metadata=body.metadata,
        content_type=body.content_type,
    )
    service.engine.stage(repository.id, call.path["branch"], entry, force=bool(body.force))
    return answer(201, stats(repository, entry))


def staged_entry(
    repository: Repository,
    path: str,
    uri: str,
    *,
    checksum: str,
    size_bytes: int,
    mtime: int | None = None,
    metadata: Mapping[str, str] | None = None,
    content_type: str | None = None,
) -> Entry:
    """The entry of an object that lies at a full address.

    Raises:
        Invalid: No checksum, or a negative size.
    """
    bare = checksum.strip(' "')
    if not bare:
        raise Invalid("checksum is required")
    if size_bytes < 0:
        raise Invalid("size_bytes must not be negative")
    address = relative_address(repository.storage_namespace, uri)
    return Entry(
        path=path,
        physical_address=uri if address is None else address,
        address_type="full" if address is None else "relative",
        checksum=bare,
        size_bytes=size_bytes,
        mtime=int(time.time()) if mtime is None else mtime,
        metadata=dict(metadata or {}),
        content_type=content_type or DEFAULT_CONTENT_TYPE,
    )


def update_user_metadata(service: Service, call: Call) -> Reply:
    """PUT /repositories/{repository}/branches/{branch}/objects/stat/user_metadata: replaces all keys."""
    values = call.json(wire.UserMetadata).set
    repository, branch, path = call.path["repository"], call.path["branch"], call.required("path")
    entry = service.engine.get_entry(repository, branch, path)
    service.engine.stage(repository, branch, msgspec.structs.replace(entry, metadata=values))
    return done(201)


def upload_preflight(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/branches/{branch}/objects/stage_allowed."""
    call.required("path")
    service.engine.check_writable(call.path["repository"], call.path["branch"])
    return done()


def create_symlinks(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/refs/{branch}/symlink: lists of addresses for Hive and Athena."""
    repository = service.engine.get_repository(call.path["repository"])
    branch, after, more = call.path["branch"], "", True
    folders: dict[str, list[str]] = {}
    while more:
        found = service.engine.list_entries(
            repository.id, branch, prefix=call.text("location"), after=after, amount=1000
        )
        for entry in found.results:
            if isinstance(entry, Entry):
                folders.setdefault(entry.path.rpartition("/")[0], []).append(uri_of(repository, entry))
        after, more = found.next_offset, found.has_more
    root = f"{repository.storage_namespace.rstrip('/')}/symlinks"
    for folder, uris in folders.items():
        inner = f"{folder}/" if folder else ""
        writer = service.blockstore.writer(f"{root}/{repository.id}/{branch}/{inner}symlink.txt")
        writer.write("\n".join(uris).encode())
        writer.finish()
    return answer(201, {"location": root})


def check_source(service: Service, repository: str, ref: str, path: str) -> tuple[str, Entry]:
    """The full address and entry of an object to copy from.

    Raises:
        NotFound: There is none.
        Gone: Its bytes were collected.
    """
    if not path:
        raise NotFound("source path not found")
    facts = service.engine.get_repository(repository)
    entry = service.engine.get_entry(repository, ref, path)
    if service.engine.is_gone(repository, entry):
        raise Gone("resource expired")
    return uri_of(facts, entry), entry


REF = "/repositories/{repository}/refs/{ref}/objects"
BRANCH = "/repositories/{repository}/branches/{branch}/objects"
ROUTES = [
    Route("GET", f"{REF}/stat", stat_object),
    Route("GET", f"{REF}/ls", list_objects),
    Route("GET", f"{REF}/underlyingProperties", get_underlying_properties),
    Route("DELETE", BRANCH, delete_object),
    Route("PUT", BRANCH, stage_object),
    Route("POST", f"{BRANCH}/delete", delete_objects),
    Route("POST", f"{BRANCH}/copy", copy_object, Lane.SLOW),
    Route("PUT", f"{BRANCH}/stat/user_metadata", update_user_metadata),
    Route("GET", f"{BRANCH}/stage_allowed", upload_preflight),
    Route("POST", "/repositories/{repository}/refs/{branch}/symlink", create_symlinks),
]
