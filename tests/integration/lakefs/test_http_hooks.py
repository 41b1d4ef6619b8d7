"""Webhooks: what they may reach, what they may know, and what their failure does."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import lakefs
import pytest

from include.stack.lakefs.hooks import webhook
from include.stack.lakefs.hooks.actions import BadAction, Hook, parse_action, parse_duration
from include.stack.lakefs.hooks.webhook import WebhookFailed

ACTION = """
name: gate
on:
  {event}:
hooks:
  - id: check
    type: webhook
    properties: {properties}
"""


class Receiver(ThreadingHTTPServer):
    """Keeps what it is asked; answers by path: /200, /302, /500, /slow, /drip."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[dict[str, Any]] = []
        self.callback: Any = None


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append({"path": self.path, "body": body, "headers": dict(self.headers)})
        if self.path.startswith("/callback"):
            self.server.callback()
        if self.path.startswith("/slow"):
            time.sleep(3)
        status = int(self.path[1:4]) if self.path[1:4].isdigit() else 200
        self.send_response(status)
        self.send_header("Location", "/200/redirected")
        self.end_headers()
        if self.path.startswith("/drip"):
            self._drip()
        self.wfile.write(b"said the receiver")

    def _drip(self) -> None:
        try:
            for _ in range(50):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def action(receiver: Receiver, path: str, event: str = "pre-commit", **properties: Any) -> str:
    url = f"http://127.0.0.1:{receiver.server_port}{path}"
    return ACTION.format(event=event, properties=json.dumps({"url": url, **properties}))


async def commit(api: httpx.AsyncClient, repo: str, text: str) -> httpx.Response:
    objects = f"{repo}/branches/main/objects"
    await api.post(f"{objects}?path=_lakefs_actions/gate.yaml", content=text.encode())
    await api.post(f"{objects}?path=data", content=b"1")
    return await api.post(f"{repo}/branches/main/commits", json={"message": "m"})


async def test_redirects_are_not_followed(api, repo, receiver):
    answer = await commit(api, repo, action(receiver, "/302/away"))
    assert answer.status_code == 412
    assert "status code: 302" in answer.json()["message"]
    assert [call["path"] for call in receiver.calls] == ["/302/away"]


@pytest.mark.parametrize("path", ["/slow", "/drip"])
async def test_the_time_limit_counts_for_all_of_it(api, repo, receiver, path):
    begun = time.monotonic()
    answer = await commit(api, repo, action(receiver, path, timeout="500ms"))
    assert answer.status_code == 412
    assert time.monotonic() - begun < 2.5


async def test_what_the_webhook_said_reaches_the_client_and_the_log(api, repo, receiver):
    before = (await api.get(f"{repo}/branches/main")).json()
    answer = await commit(api, repo, action(receiver, "/500/no"))
    assert answer.status_code == 412
    message = answer.json()["message"]
    assert "pre-commit hook aborted" in message
    assert "failed on action 'gate' hook 'check'" in message
    assert "said the receiver" in message
    assert (await api.get(f"{repo}/branches/main")).json() == before
    run = (await api.get(f"{repo}/actions/runs")).json()["results"][0]
    assert (run["status"], run["event_type"], run["branch"]) == ("failed", "pre-commit", "main")
    hooks = (await api.get(f"{repo}/actions/runs/{run['run_id']}/hooks")).json()["results"]
    assert [(hook["hook_id"], hook["status"]) for hook in hooks] == [("check", "failed")]
    output = await api.get(f"{repo}/actions/runs/{run['run_id']}/hooks/{hooks[0]['hook_run_id']}/output")
    assert "said the receiver" in output.text


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
        "http:///nowhere",
        "//127.0.0.1/",
    ],
)
async def test_urls_that_are_never_called(api, repo, url):
    answer = await commit(api, repo, ACTION.format(event="pre-commit", properties=json.dumps({"url": url})))
    assert answer.status_code == 412
    said = answer.json()["message"]
    assert "must be http or https" in said or "must not be called" in said
    assert (await api.get(f"{repo}/refs/main@/objects/stat?path=data")).status_code == 404


async def test_variables_stay_secret_unless_allowed(api, repo, receiver, service, monkeypatch):
    monkeypatch.setenv("LAKE_HOOK_TOKEN", "value-of-the-variable")
    monkeypatch.setenv("OTHER_SECRET", "never")
    text = action(receiver, "/200", headers={"X-Token": "{{ ENV.LAKE_HOOK_TOKEN }}"})
    refused = await commit(api, repo, text)
    assert (refused.status_code, receiver.calls) == (412, [])
    monkeypatch.setattr(service.runner, "_prefix", "LAKE_HOOK_")
    assert (await commit(api, repo, text)).status_code == 201
    assert receiver.calls[0]["headers"]["X-Token"] == "value-of-the-variable"
    run = (await api.get(f"{repo}/actions/runs")).json()["results"][0]["run_id"]
    output = (await api.get(f"{repo}/actions/runs/{run}/hooks/0000_0000/output")).text
    assert "X-Token: {{ ENV.LAKE_HOOK_TOKEN }}" in output
    assert "value-of-the-variable" not in output
    other = action(receiver, "/200", headers={"X-Token": "{{ ENV.OTHER_SECRET }}"})
    assert (await commit(api, repo, other)).status_code == 412


async def test_hooks_after_a_failure_are_skipped_unless_they_ask(api, repo, receiver):
    base = f"http://127.0.0.1:{receiver.server_port}"
    hooks = [
        ("first", "/500", ""),
        ("second", "/200/b", ""),
        ("third", "/200/c", "failure()"),
        ("fourth", "/200/d", "always()"),
    ]
    lines = ["name: chain", "on:", "  pre-commit:", "hooks:"]
    for hook_id, path, condition in hooks:
        lines += [f"  - id: {hook_id}", "    type: webhook", f"    properties: {{url: '{base}{path}'}}"]
        lines += [f"    if: {condition}"] if condition else []
    answer = await commit(api, repo, "\n".join(lines))
    assert answer.status_code == 412
    assert [call["path"] for call in receiver.calls] == ["/500", "/200/c", "/200/d"]
    run = (await api.get(f"{repo}/actions/runs")).json()["results"][0]["run_id"]
    found = (await api.get(f"{repo}/actions/runs/{run}/hooks")).json()["results"]
    assert [hook["status"] for hook in found] == ["failed", "skipped", "completed", "completed"]
    assert "end_time" not in found[1]


async def test_a_run_names_the_commit_that_came_of_it(api, repo, receiver):
    made = (await commit(api, repo, action(receiver, "/200"))).json()
    runs = (await api.get(f"{repo}/actions/runs?commit={made['id']}")).json()["results"]
    assert [run["event_type"] for run in runs] == ["pre-commit"]
    assert "commit_id" not in receiver.calls[0]["body"]
    assert receiver.calls[0]["body"]["commit_message"] == "m"
    await api.delete(repo)
    assert (await api.get(f"{repo}/actions/runs")).status_code == 404


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    "text",
    [
        "name: x\non: {pre-commit: }\nhooks: [{id: a, type: lua, properties: {}}]",
        "name: x\non: {no-event: }\nhooks: []",
        "name: x\non: {}\nhooks: []",
        "name: ''\non: {pre-commit: }\nhooks: []",
        "on: {pre-commit: }\nhooks: []",
        "name: x\non: {pre-create-tag: {branches: [a]}}\nhooks: []",
        "name: x\non: {pre-commit: }\nhooks: [{id: '-', type: webhook, properties: {}}]",
        "name: xx\non: {pre-commit: }\nhooks: !!python/object/apply:os.system ['true']",
        "[",
        "a: &a [*a]",
        BOMB,
        "",
    ],
)
def test_bad_action_files_are_told(text):
    with pytest.raises(BadAction, match=r"parsing file gate\.yaml"):
        parse_action("gate.yaml", text.encode())


def test_durations():
    assert [parse_duration(text) for text in ("1m30s", "500ms", "2h", "1.5s")] == [90, 0.5, 7200, 1.5]
    for bad in ("", "1", "s", "1m 30s", "-1s", "1d"):
        with pytest.raises(BadAction):
            parse_duration(bad)


def test_unknown_properties_are_told(receiver):
    with pytest.raises(BadAction, match="wrong format"):
        webhook.prepare(Hook("a", "webhook", {"url": "http://x", "urll": 1}), "")


def test_nobody_listening_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    request = webhook.prepare(Hook("a", "webhook", {"url": f"http://127.0.0.1:{port}/"}), "")
    with pytest.raises(WebhookFailed, match="webhook request failed"):
        webhook.call(replace(request, timeout_s=2), b"{}")


@pytest.mark.integration
def test_hooks_may_call_the_server_while_many_commits_wait(start, receiver):
    server = start()
    repository = lakefs.Repository("loop", client=server.client).create("local://loop")
    main = repository.branch("main")
    main.object("_lakefs_actions/a.yaml").upload(action(receiver, "/callback", "pre-create-branch"))
    main.commit("actions")
    with server.http as http:
        receiver.callback = lambda: http.get("/repositories/loop/refs/main/objects/ls").raise_for_status()
        threads = [
            threading.Thread(target=repository.branch(f"b{number}").create, args=("main",))
            for number in range(60)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert len([branch.id for branch in repository.branches() if branch.id != "main"]) == 60
