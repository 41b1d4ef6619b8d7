"""Every operation of the SDK is answered honestly, and no request, however odd, is an internal error."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import lakefs_sdk
import pytest

pytestmark = pytest.mark.integration

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


CORE = (
    "actions",
    "branches",
    "commits",
    "config",
    "health_check",
    "import",
    "objects",
    "refs",
    "repositories",
    "staging",
    "tags",
)


def operations(*parts: str) -> set[tuple[str, str]]:
    """Method and path template of the operations of the generated client, from its source."""
    found = set()
    assert lakefs_sdk.__file__
    folder = Path(lakefs_sdk.__file__).parent / "api"
    for file in [folder / f"{part}_api.py" for part in parts] or folder.glob("*_api.py"):
        for path, method in re.findall(
            r"call_api\(\s*'([^']+)', '([A-Z]+)'", file.read_text(encoding="utf-8")
        ):
            found.add((method, path))
    return found


def test_every_operation_is_known(target, http, repo):
    known = sorted(operations())
    assert len(known) > 120
    assert {method for method, _ in known} <= METHODS
    nonsense = http.get("/no/such/operation")
    assert nonsense.status_code >= 400
    unsupported = set()
    for method, template in known:
        path = re.sub(r"\{(\w+)\}", lambda match: repo.id if match[1] == "repository" else "x", template)
        answer = http.request(method, path, json={} if method in {"POST", "PUT", "PATCH"} else None)
        where = f"{method} {template}: {answer.status_code} {answer.text[:200]}"
        assert answer.status_code != 405, where
        assert answer.status_code == 501 or answer.status_code < 500, where
        if answer.status_code >= 400 and method != "HEAD":
            assert answer.json()["message"], where
            assert answer.json() != nonsense.json(), where
        if answer.status_code == 501:
            unsupported.add((method, template))
    core = operations(*CORE)
    assert len(core) > 50
    if target.embedded:
        assert {template.rsplit("/", 1)[1] for _, template in unsupported & core} <= {"dump", "restore"}


NAMES = [
    "x",
    "main~",
    "a b",
    "%00",
    "..",
    "%2e%2e",
    "\u2603",
    "x" * 3000,
    "a%2Fb",
    "%ff%fe",
    "-",
    "~",
    "^",
    "@",
    "$",
    "main@@",
]
QUERIES = [
    "amount=abc",
    "amount=-7",
    "amount=99999999999999999999",
    "after=%00",
    "prefix=%ff",
    "delimiter=%F0%9F%8C%8A",
    "path=%00",
    "path=%ff",
    "path=" + "y" * 3000,
    "path=../../etc/passwd",
    "path=/",
    "presign=maybe",
    "type=sideways",
    "since=yesterday",
    "stop_at=none",
    "ref=%00",
    "limit=perhaps",
    "id=%00",
]
TEMPLATES = [
    ("GET", "/repositories/{repo}/branches/{x}"),
    ("DELETE", "/repositories/{repo}/branches/{x}"),
    ("GET", "/repositories/{repo}/tags/{x}"),
    ("GET", "/repositories/{repo}/commits/{x}"),
    ("GET", "/repositories/{repo}/refs/{x}/commits"),
    ("GET", "/repositories/{repo}/refs/{x}/objects/ls"),
    ("GET", "/repositories/{repo}/refs/{x}/objects"),
    ("HEAD", "/repositories/{repo}/refs/{x}/objects"),
    ("GET", "/repositories/{repo}/refs/{x}/objects/stat"),
    ("GET", "/repositories/{repo}/refs/main/diff/{x}"),
    ("POST", "/repositories/{repo}/refs/{x}/merge/main"),
    ("POST", "/repositories/{repo}/branches/{x}/objects"),
    ("DELETE", "/repositories/{repo}/branches/{x}/objects"),
    ("GET", "/repositories/{repo}/branches/{x}/diff"),
    ("PUT", "/repositories/{repo}/branches/{x}/hard_reset"),
    ("GET", "/repositories/{repo}/branches/{x}/staging/backing"),
    ("GET", "/repositories/{repo}/branches/{x}/import"),
    ("GET", "/repositories/{repo}/actions/runs/{x}"),
    ("GET", "/repositories/{x}"),
]


@pytest.mark.parametrize(("method", "template"), TEMPLATES)
def test_odd_requests_are_the_clients_fault(http, repo, method, template):
    for name in NAMES:
        for query in QUERIES if name in {"x", "main~"} else ["path=a"]:
            for at in {name, "main"} if name == "x" else {name}:
                url = template.format(repo=repo.id, x=at) + "?" + query
                answer = http.request(method, url)
                assert answer.status_code < 500, (
                    f"{method} {url[:200]}: {answer.status_code} {answer.text[:200]}"
                )


BODIES: list[tuple[str, str, Any]] = [
    ("POST", "/repositories", {"name": "x" * 5000, "storage_namespace": "s3://"}),
    ("POST", "/repositories", {"name": None, "storage_namespace": None}),
    ("POST", "/repositories/{repo}/branches", {"name": "b", "source": "\x00"}),
    ("POST", "/repositories/{repo}/branches", {"name": "b", "source": "main", "hidden": "maybe"}),
    ("POST", "/repositories/{repo}/tags", {"id": "\ud800", "ref": "main"}),
    ("POST", "/repositories/{repo}/branches/main/commits", {"message": 5}),
    ("POST", "/repositories/{repo}/branches/main/commits", {"message": "m", "metadata": {"k": 5}}),
    (
        "POST",
        "/repositories/{repo}/branches/main/commits",
        {"message": "m", "date": 10**30, "allow_empty": True},
    ),
    (
        "POST",
        "/repositories/{repo}/branches/main/commits",
        {"message": "m", "date": 2**62, "allow_empty": True},
    ),
    ("POST", "/repositories/{repo}/branches/main/commits", {"message": "m", "date": -5, "allow_empty": True}),
    ("POST", "/repositories/{repo}/branches/main/commits", {"message": "\ud800", "allow_empty": True}),
    ("POST", "/repositories/{repo}/branches/main/objects/delete", {"paths": [""]}),
    ("POST", "/repositories/{repo}/branches/main/objects/delete", {"paths": ["\ud800", "x" * 5000]}),
    ("POST", "/repositories/{repo}/branches/main/revert", {"ref": "main", "parent_number": -1}),
    ("POST", "/repositories/{repo}/branches/main/revert", {"ref": "main", "parent_number": 10**20}),
    ("POST", "/repositories/{repo}/branches/main/cherry-pick", {"ref": "main", "parent_number": 0}),
    ("POST", "/repositories/{repo}/branches/main/cherry-pick", {"ref": "main$"}),
    ("POST", "/repositories/{repo}/refs/main/merge/main", {"strategy": "x", "metadata": []}),
    ("POST", "/repositories/{repo}/refs/main$/merge/main", {}),
    ("PUT", "/repositories/{repo}/branches/main", {"type": "object"}),
    ("PUT", "/repositories/{repo}/branches/main", {"type": "common_prefix", "path": "\ud800"}),
    ("PUT", "/repositories/{repo}/settings/branch_protection", [{"pattern": "["}]),
    ("PUT", "/repositories/{repo}/settings/branch_protection", {"pattern": "x"}),
    ("PUT", "/repositories/{repo}/settings/gc_rules", {"default_retention_days": -1, "branches": []}),
    (
        "PUT",
        "/repositories/{repo}/branches/main/staging/backing?path=a",
        {"staging": {}, "checksum": "", "size_bytes": -1},
    ),
    (
        "PUT",
        "/repositories/{repo}/branches/main/staging/backing?path=a",
        {"staging": {"physical_address": "file:///etc/passwd"}, "checksum": "x", "size_bytes": 1},
    ),
    (
        "PUT",
        "/repositories/{repo}/branches/main/objects?path=a",
        {"physical_address": "local:///../../etc/passwd", "checksum": "x", "size_bytes": 1},
    ),
    (
        "PUT",
        "/repositories/{repo}/branches/main/objects?path=a",
        {"physical_address": "{namespace}/x", "checksum": "x", "size_bytes": 10**30},
    ),
    (
        "PUT",
        "/repositories/{repo}/branches/main/objects?path=a",
        {"physical_address": "{namespace}/x", "checksum": "x", "size_bytes": -1},
    ),
    (
        "PUT",
        "/repositories/{repo}/branches/main/objects?path=a",
        {"physical_address": "{namespace}/x", "checksum": "x", "size_bytes": 1, "mtime": 10**30},
    ),
    (
        "PUT",
        "/repositories/{repo}/branches/main/objects?path=a",
        {"physical_address": "{namespace}/x", "checksum": "x", "size_bytes": 1, "mtime": 2**62},
    ),
    ("PUT", "/repositories/{repo}/settings/gc_rules", {"default_retention_days": 10**30, "branches": []}),
    ("POST", "/repositories/{repo}/branches/main/objects/copy?dest_path=b", {"src_path": "\x00"}),
    ("POST", "/repositories/{repo}/branches/main/import", {"paths": [], "commit": {}}),
    (
        "POST",
        "/repositories/{repo}/branches/main/import",
        {"paths": [{"type": "x", "path": "x", "destination": "x"}], "commit": {"message": "m"}},
    ),
    ("POST", "/auth/login", {"access_key_id": "\ud800", "secret_access_key": "\x00"}),
]


@pytest.mark.parametrize(("method", "template", "body"), BODIES)
def test_odd_bodies_are_the_clients_fault(http, repo, main, method, template, body):
    sent = (
        json.dumps(body).replace("{namespace}", repo.properties.storage_namespace).encode()
    )  # in ASCII, so that lone surrogates can be sent
    headers = {"Content-Type": "application/json"}
    answer = http.request(method, template.format(repo=repo.id), content=sent, headers=headers)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["message"]
    assert list(main.objects()) == []


def test_a_path_cannot_leave_the_store(target, repo, main, put, http):
    """Keys are names only: where the bytes go has nothing to do with them."""
    mark = f"mark-{uuid.uuid4().hex}"
    for path in ("../../escape", "/etc/passwd", "..", "a/../../b", "C:\\windows"):
        put(main, path, content=mark)
        assert main.object(path).stat().physical_address.startswith(target.namespace_prefix)
        with main.object(path).reader(pre_sign=False) as reader:
            assert reader.read().decode() == mark
