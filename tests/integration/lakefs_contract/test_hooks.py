"""Webhooks from `_lakefs_actions/`, called on a real HTTP server of the test."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.integration


class Receiver(ThreadingHTTPServer):
    """Records the calls; answers the status that the path names, as in `/400/any`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[dict[str, Any]] = []

    def url(self, status: int = 200, name: str = "hook") -> str:
        return f"http://127.0.0.1:{self.server_port}/{status}/{name}"

    def events(self) -> list[tuple[str, str]]:
        return [(call["event_type"], call["branch_id"]) for call in self.calls]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = urlsplit(self.path)
        self.server.calls.append(
            {**body, "path": path.path, "query": parse_qs(path.query), "headers": self.headers}
        )
        self.send_response(int(path.path.split("/")[1]))
        self.end_headers()
        self.wfile.write(b"said the receiver")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver(target) -> Iterator[Receiver]:
    if not target.embedded:
        pytest.skip("an external server may not reach the loopback of this machine")
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def action(url, *events, branches=None, name="gate", **properties):
    lines = [f"name: {name}", "on:"]
    for event in events:
        lines += [f"  {event}:" + ("" if branches is None else f" {{branches: {json.dumps(branches)}}}")]
    lines += ["hooks:", "  - id: check", "    type: webhook", "    properties:"]
    lines += [f"      {key}: {json.dumps(value)}" for key, value in {"url": url, **properties}.items()]
    return "\n".join(lines) + "\n"


@pytest.fixture
def install(put):
    """Stages an action file on a branch."""

    def stage(branch, *args, file="gate.yaml", **options):
        put(branch, f"_lakefs_actions/{file}", content=action(*args, **options))

    return stage


def test_pre_commit_is_told_about_the_commit(receiver, repo, main, install, put):
    install(
        main,
        receiver.url(),
        "pre-commit",
        query_params={"a": "1", "b": ["2", "3"]},
        headers={"X-Team": "data"},
    )
    put(main, "a")
    main.commit("why", metadata={"k": "v"})
    assert receiver.events() == [("pre-commit", "main")]
    call = receiver.calls[0]
    assert call["repository_id"] == repo.id
    assert call["action_name"] == "gate"
    assert call["hook_id"] == "check"
    assert call["source_ref"] == "main"
    assert call["commit_message"] == "why"
    assert call["commit_metadata"] == {"k": "v"}
    assert call["committer"] == main.get_commit().committer
    assert call["event_time"]
    assert call["query"] == {"a": ["1"], "b": ["2", "3"]}
    assert call["headers"]["X-Team"] == "data"
    assert call["headers"]["Content-Type"].startswith("application/json")


def test_a_refusing_pre_commit_is_412_and_changes_nothing(receiver, main, install, put, refuses):
    before = main.head.id
    install(main, receiver.url(400), "pre-commit")
    put(main, "a")
    with refuses(412):
        main.commit("refused")
    assert main.head.id == before
    assert [change.path for change in main.uncommitted()] == ["_lakefs_actions/gate.yaml", "a"]
    assert [commit.message for commit in main.log()] == ["Repository created"]
    install(main, receiver.url(200), "pre-commit")
    main.commit("admitted")
    assert list(main.uncommitted()) == []


def test_pre_merge_guards_the_destination(receiver, repo, main, install, commit, refuses, paths_at):
    commit(main, "base", "base")
    branch = repo.branch("b").create("main")
    install(branch, receiver.url(403), "pre-merge", branches=["main"])
    head = commit(branch, "work", "new")
    before = main.head.id
    with refuses(412):
        branch.merge_into(main, message="why", metadata={"k": "v"})
    assert main.head.id == before
    assert paths_at(main) == ["base"]
    assert list(main.uncommitted()) == []
    call = receiver.calls[0]
    assert (call["event_type"], call["branch_id"], call["source_ref"]) == ("pre-merge", "main", head)
    assert call["commit_message"] == "why"
    assert call["commit_metadata"]["k"] == "v"
    install(branch, receiver.url(), "pre-merge", branches=["main"])
    branch.commit("calm down")
    branch.merge_into(main)
    assert "new" in paths_at(main)


def test_unreachable_receiver_refuses(receiver, main, install, refuses):
    before = main.head.id
    install(main, "http://127.0.0.1:9/nobody", "pre-commit", timeout="2s")
    with refuses(412):
        main.commit("refused")
    assert main.head.id == before


def test_post_hooks_are_told_the_commit_and_cannot_refuse(receiver, repo, main, install, commit):
    install(main, receiver.url(500), "post-commit", "post-merge")
    head = main.commit("done").id
    branch = repo.branch("b").create("main")
    commit(branch, "work", "new")
    merged = branch.merge_into(main)
    wait_for(lambda: len(receiver.calls) >= 3)
    told = {(call["event_type"], call["commit_id"]) for call in receiver.calls}
    assert {("post-commit", head), ("post-merge", merged)} <= told


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_branch_patterns_choose(receiver, repo, main, install, commit):
    install(main, receiver.url(400), "pre-commit", branches=["release-*"])
    main.commit("not concerned")
    branch = repo.branch("release-1").create("main")
    with pytest.raises(Exception, match="412"):
        commit(branch, "refused", "a")
    assert receiver.events() == [("pre-commit", "release-1")]


def test_a_merge_does_not_run_commit_hooks(receiver, repo, main, install, commit):
    install(main, receiver.url(), "pre-commit")
    main.commit("base")
    branch = repo.branch("b").create("main")
    commit(branch, "work", "new")
    receiver.calls.clear()
    branch.merge_into(main)
    assert receiver.calls == []


def test_all_hooks_of_an_event_are_run_until_one_refuses(receiver, main, install, refuses):
    for number, status in ((1, 200), (2, 400), (3, 200)):
        install(
            main, receiver.url(status, f"n{number}"), "pre-commit", name=f"n{number}", file=f"{number}.yaml"
        )
    with refuses(412):
        main.commit("refused")
    assert "/400/n2" in [call["path"] for call in receiver.calls]


def test_a_broken_action_file_refuses_the_commit(receiver, main, put):
    before = main.head.id
    put(main, "_lakefs_actions/broken.yaml", content="name: [unclosed")
    with pytest.raises(Exception, match="412"):
        main.commit("refused")
    assert main.head.id == before


def test_other_files_beside_the_actions_are_ignored(receiver, main, put):
    put(main, "_lakefs_actions/README.md", content="name: [unclosed")
    put(main, "elsewhere/_lakefs_actions/x.yaml", content="name: [unclosed")
    main.commit("fine")


def test_runs_can_be_looked_up(receiver, api, repo, main, install, refuses):
    install(main, receiver.url(400), "pre-commit")
    with refuses(412):
        main.commit("refused")
    install(main, receiver.url(200), "pre-commit")
    main.commit("admitted")
    runs = api.actions_api.list_repository_runs(repo.id).results
    assert [(run.event_type, run.branch, run.status) for run in runs] == [
        ("pre-commit", "main", "completed"),
        ("pre-commit", "main", "failed"),
    ]
    failed = api.actions_api.get_run(repo.id, runs[1].run_id)
    assert failed.status == "failed"
    hooks = api.actions_api.list_run_hooks(repo.id, failed.run_id).results
    assert [(hook.action, hook.hook_id, hook.status) for hook in hooks] == [("gate", "check", "failed")]
    output = api.actions_api.get_run_hook_output(repo.id, failed.run_id, hooks[0].hook_run_id)
    assert b"400" in bytes(output)
    assert api.actions_api.list_repository_runs(repo.id, branch="none").results == []
    with refuses(404):
        api.actions_api.get_run(repo.id, "no-such-run")


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("pre-create-branch", lambda repo: repo.branch("new").create("main")),
        ("pre-delete-branch", lambda repo: repo.branch("old").delete()),
        ("pre-create-tag", lambda repo: repo.tag("new-tag").create("main")),
        ("pre-delete-tag", lambda repo: repo.tag("old-tag").delete()),
    ],
)
def test_ref_hooks_refuse(receiver, repo, main, install, refuses, event, act):
    install(main, receiver.url(400), event)
    main.commit("install")
    repo.branch("old").create("main") if event != "pre-create-branch" else None
    repo.tag("old-tag").create("main") if event != "pre-create-tag" else None
    before = ([b.id for b in repo.branches()], [t.id for t in repo.tags()])
    with refuses(412):
        act(repo)
    assert ([b.id for b in repo.branches()], [t.id for t in repo.tags()]) == before
    assert [call["event_type"] for call in receiver.calls] == [event]
