"""Runs the hooks of an event: pre-events may refuse it, post-events are told of it."""

import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Lock

import msgspec

from include.stack.lakefs.blockstore.store import Blockstore, full_uri
from include.stack.lakefs.engine import Engine
from include.stack.lakefs.hooks import webhook
from include.stack.lakefs.hooks.actions import FOLDER, MAX_FILE_BYTES, Action, BadAction, Hook, parse_action
from include.stack.lakefs.hooks.journal import Journal, Outcome, Run, new_run_id
from include.stack.lakefs.model import Commit, Entry, LakeError, NotFound, PreconditionFailed, Repository

log = logging.getLogger(__name__)

CACHED_TREES = 256
FALLBACK_START = "0001-01-01T00:00:00Z"


class Event(msgspec.Struct, frozen=True):
    """Something that happens to a repository.

    Args:
        type: Such as `pre-commit`.
        repository: Repository id.
        branch: The branch it happens to; "" for tags.
        actions_ref: Ref whose action files count; of a commit to be, the branch with what is staged on it.
        source_ref: What lakeFS calls the source ref of the event.
        commit: The record as it will be or is; None where the event makes none.
        commit_id: Its id once it exists.
        tag: The tag it happens to.
    """

    type: str
    repository: str
    branch: str
    actions_ref: str
    source_ref: str = ""
    commit: Commit | None = None
    commit_id: str = ""
    tag: str = ""


class Runner:
    """Finds the actions of events and runs their hooks.

    Args:
        engine: Where action files are found.
        blockstore: Where they are read.
        journal: Where runs are recorded.
        variables_prefix: See `webhook.prepare`.
    """

    def __init__(
        self, engine: Engine, blockstore: Blockstore, journal: Journal, variables_prefix: str
    ) -> None:
        self._engine = engine
        self._blockstore = blockstore
        self._journal = journal
        self._prefix = variables_prefix
        self._background = ThreadPoolExecutor(4, thread_name_prefix="post-hooks")
        self._parallel = ThreadPoolExecutor(16, thread_name_prefix="hooks")
        self._trees: OrderedDict[tuple[str, ...], list[Action]] = OrderedDict()
        self._lock = Lock()

    def close(self) -> None:
        """Stop; post-event hooks that have not begun are dropped."""
        self._background.shutdown(wait=True, cancel_futures=True)
        self._parallel.shutdown(wait=True, cancel_futures=True)

    def before(self, event: Event) -> str:
        """Run the hooks of a pre-event and wait for them.

        Returns:
            The id of the run; "" where no hook applies.

        Raises:
            PreconditionFailed: A hook refused or failed; nothing has happened.
            BadAction: An action file cannot be read.
        """
        actions = self._fitting(event)
        if not actions:
            return ""
        run_id = new_run_id()
        failures = self._run(event, run_id, actions)
        if failures:
            listed = "".join(f"\n\t* {failure}" for failure in failures)
            many = "1 error occurred" if len(failures) == 1 else f"{len(failures)} errors occurred"
            raise PreconditionFailed(f"{event.type} hook aborted, run id '{run_id}': {many}:{listed}\n\n")
        return run_id

    def after(self, event: Event) -> None:
        """Run the hooks of a post-event in the background; their failures are recorded only."""
        try:
            actions = self._fitting(event)
        except LakeError as error:
            log.warning("%s of %s: %s", event.type, event.repository, error)
            return
        if actions:
            self._background.submit(self._run, event, new_run_id(), actions)

    def passed(self, repository: str, run_id: str, commit_id: str) -> None:
        """Record which commit came of a pre-event."""
        if run_id:
            self._journal.name_commit(repository, run_id, commit_id)

    def _fitting(self, event: Event) -> list[Action]:
        actions = self._actions(event.repository, event.actions_ref)
        return [action for action in actions if action.fits(event.type, event.branch)]

    def _actions(self, repository: str, ref: str) -> list[Action]:
        files = self._engine.list_entries(repository, ref, prefix=FOLDER, amount=1000).results
        entries = [
            file for file in files if isinstance(file, Entry) and file.path.endswith((".yaml", ".yml"))
        ]
        if not entries:
            return []
        facts = self._engine.get_repository(repository)
        key = (facts.storage_namespace, *(f"{entry.path}\0{entry.physical_address}" for entry in entries))
        with self._lock:
            if key in self._trees:
                self._trees.move_to_end(key)
                return self._trees[key]
        actions = [self._read(facts, entry) for entry in entries]
        names = [action.name for action in actions]
        if len(set(names)) != len(names):
            raise BadAction("two action files have the same name: invalid action")
        with self._lock:
            self._trees[key] = actions
            if len(self._trees) > CACHED_TREES:
                self._trees.popitem(last=False)
        return actions

    def _read(self, repository: Repository, entry: Entry) -> Action:
        if entry.size_bytes > MAX_FILE_BYTES:
            raise BadAction(f"loading file {entry.path}: larger than {MAX_FILE_BYTES} bytes")
        uri = entry.physical_address
        if entry.address_type == "relative":
            uri = full_uri(repository.storage_namespace, uri)
        return parse_action(entry.path, self._blockstore.read(uri, 0, entry.size_bytes))

    def _run(self, event: Event, run_id: str, actions: list[Action]) -> list[str]:
        """Run actions side by side, the hooks of each in order; returns what failed."""
        start = _now()
        jobs = [
            self._parallel.submit(self._run_action, event, run_id, index, action)
            for index, action in enumerate(actions)
        ]
        outcomes = [outcome for job in jobs for outcome in job.result()]
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        run = Run(
            run_id,
            event.branch,
            event.type,
            event.commit_id,
            start,
            _now(),
            "failed" if failed else "completed",
        )
        self._journal.write(event.repository, run, outcomes)
        return [
            f"hook run id '{outcome.hook_run_id}' failed on action '{outcome.action}' hook "
            f"'{outcome.hook_id}': {outcome.output.rpartition(ERROR)[2].strip()}"
            for outcome in failed
        ]

    def _run_action(self, event: Event, run_id: str, index: int, action: Action) -> list[Outcome]:
        outcomes = []
        failed = False
        for position, hook in enumerate(action.hooks):
            hook_run_id = f"{index:04d}_{position:04d}"
            if not _wanted(hook, failed=failed):
                skipped = Outcome(hook_run_id, action.name, hook.id, FALLBACK_START, "", "skipped", "")
                outcomes.append(skipped)
                continue
            start = _now()
            status, output = self._run_hook(event, run_id, action, hook)
            failed = failed or status == "failed"
            outcomes.append(Outcome(hook_run_id, action.name, hook.id, start, _now(), status, output))
        return outcomes

    def _run_hook(self, event: Event, run_id: str, action: Action, hook: Hook) -> tuple[str, str]:
        output = ""
        try:
            request = webhook.prepare(hook, self._prefix)
            body = _payload(event, run_id, action.name, hook.id)
            output = f"{request.shown}\nRequest Body:\n{body.decode()}\n\n"
            output += webhook.call(request, body)
        except LakeError as error:
            return "failed", f"{output}{ERROR}{error.message}"
        return "completed", output


ERROR = "\nError: "


def _wanted(hook: Hook, *, failed: bool) -> bool:
    condition = (hook.condition or "success()").strip()
    if condition == "always()":
        return True
    return failed if condition == "failure()" else not failed


def _payload(event: Event, run_id: str, action: str, hook_id: str) -> bytes:
    fields = {
        "run_id": run_id,
        "event_type": event.type,
        "event_time": _now(),
        "action_name": action,
        "hook_id": hook_id,
        "repository_id": event.repository,
    }
    optional = {
        "branch_id": event.branch,
        "source_ref": event.source_ref,
        "tag_id": event.tag,
        "commit_id": event.commit_id,
    }
    fields.update({name: value for name, value in optional.items() if value})
    if event.commit is None:
        return msgspec.json.encode(fields)
    commit = {
        "commit_message": event.commit.message,
        "committer": event.commit.committer,
        "commit_metadata": dict(event.commit.metadata),
    }
    return msgspec.json.encode({**fields, **commit})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def commit_at(engine: Engine, repository: str, ref: str) -> str:
    """The commit a ref comes to; "" where there is none, so that the operation itself tells."""
    try:
        return engine.resolve(repository, ref).commit_id
    except NotFound:
        return ""
