"""Preparing garbage collection, and running it (an addition of this server to the API)."""

import secrets
import threading
from collections import OrderedDict
from datetime import UTC, datetime

import msgspec

from include.stack.lakefs import wire
from include.stack.lakefs.call import Call, Reply, answer
from include.stack.lakefs.collection import collect, write_expired, write_referenced
from include.stack.lakefs.model import Invalid, LakeError, NotFound
from include.stack.lakefs.router import Lane, Route
from include.stack.lakefs.routes.staging import LINK_LIFE_S
from include.stack.lakefs.service import Service

KEPT_TASKS = 100


class Tasks:
    """Results of the asynchronous preparations of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: OrderedDict[tuple[str, str], dict[str, object]] = OrderedDict()

    def put(self, repository: str, status: dict[str, object]) -> str:
        """Keep a status under a new id."""
        task_id = secrets.token_hex(10)
        with self._lock:
            self._done[repository, task_id] = {"task_id": task_id, **status}
            while len(self._done) > KEPT_TASKS:
                self._done.popitem(last=False)
        return task_id

    def get(self, repository: str, task_id: str) -> dict[str, object]:
        """The status of a task.

        Raises:
            NotFound: There is none of that id.
        """
        with self._lock:
            found = self._done.get((repository, task_id))
        if found is None:
            raise NotFound(f"task {task_id}: not found")
        return found


TASKS = Tasks()


def prepare_commits(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/gc/prepare_commits."""
    return answer(201, _prepare(service, call.path["repository"]))


def _prepare(service: Service, repository: str) -> dict[str, object]:
    run_id, commits, addresses = write_expired(service, repository)
    prepared: dict[str, object] = {
        "run_id": run_id,
        "gc_commits_location": commits,
        "gc_addresses_location": addresses,
    }
    if service.blockstore.presigns:
        prepared["gc_commits_presigned_url"] = service.blockstore.presign(commits)[0]
    return prepared


def prepare_commits_async(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/gc/prepare_commits/async: done by the time it is answered."""
    repository = service.engine.get_repository(call.path["repository"]).id
    status: dict[str, object] = {"completed": True}
    try:
        status["result"] = _prepare(service, repository)
    except LakeError as error:
        status["error"] = {"message": error.message}
    return answer(202, {"id": TASKS.put(repository, {**status, "update_time": datetime.now(UTC)})})


def prepare_commits_status(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/gc/prepare_commits/status."""
    del service
    return answer(200, TASKS.get(call.path["repository"], call.required("id")))


def prepare_uncommitted(service: Service, call: Call) -> Reply:
    """POST /repositories/{repository}/gc/prepare_uncommited: everything in one piece."""
    if call.body and call.json(wire.UncommittedMark).continuation_token:
        raise Invalid("invalid continuation token")
    run_id, uri = write_referenced(service, call.path["repository"])
    return answer(201, {"run_id": run_id, "gc_uncommitted_location": uri})


def run_collection(service: Service, call: Call) -> Reply:
    """POST /headrace/repositories/{repository}/gc: mark and delete now."""
    grace_s = call.number("grace_s")
    if grace_s is not None and grace_s < 0:
        raise Invalid('parameter "grace_s" in query must not be negative')
    collected = collect(
        service,
        call.path["repository"],
        grace_s=LINK_LIFE_S if grace_s is None else grace_s,
        dry_run=call.flag("dry_run"),
    )
    return answer(200, msgspec.to_builtins(collected))


GC = "/repositories/{repository}/gc"
ROUTES = [
    Route("POST", f"{GC}/prepare_commits", prepare_commits, Lane.SLOW),
    Route("POST", f"{GC}/prepare_commits/async", prepare_commits_async, Lane.SLOW),
    Route("GET", f"{GC}/prepare_commits/status", prepare_commits_status),
    Route("POST", f"{GC}/prepare_uncommited", prepare_uncommitted, Lane.SLOW),
    Route("POST", "/headrace/repositories/{repository}/gc", run_collection, Lane.SLOW),
]
