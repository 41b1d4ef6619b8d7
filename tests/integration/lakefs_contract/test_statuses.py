"""The success status of each operation, as the API documents it, and no body where it documents none."""

from typing import Any

import pytest

pytestmark = pytest.mark.integration

Step = tuple[str, str, Any, int]

RULES = {"default_retention_days": 7, "branches": [{"branch_id": "main", "retention_days": 9}]}
TOUR: list[Step] = [
    ("GET", "", None, 200),
    ("POST", "/branches", {"name": "b", "source": "main"}, 201),
    ("GET", "/branches", None, 200),
    ("GET", "/branches/b", None, 200),
    ("POST", "/branches/b/objects?path=a", "data", 201),
    ("POST", "/branches/b/objects?path=dir/a", "data", 201),
    ("GET", "/branches/b/diff", None, 200),
    ("PUT", "/branches/b/objects/stat/user_metadata?path=a", {"set": {"k": "v"}}, 201),
    ("POST", "/branches/b/objects/copy?dest_path=c", {"src_path": "a"}, 201),
    ("POST", "/branches/b/commits", {"message": "m"}, 201),
    ("POST", "/branches/b/objects?path=a", "more", 201),
    ("PUT", "/branches/b", {"type": "reset"}, 204),
    ("DELETE", "/branches/b/objects?path=c", None, 204),
    ("POST", "/branches/b/objects/delete", {"paths": ["dir/a", "absent"]}, 200),
    ("POST", "/branches/b/commits", {"message": "m"}, 201),
    ("GET", "/commits/b", None, 200),
    ("GET", "/refs/b/commits", None, 200),
    ("GET", "/refs/b/objects?path=a", None, 200),
    ("HEAD", "/refs/b/objects?path=a", None, 200),
    ("GET", "/refs/b/objects/stat?path=a", None, 200),
    ("GET", "/refs/b/objects/ls", None, 200),
    ("GET", "/refs/b/objects/underlyingProperties?path=a", None, 200),
    ("GET", "/refs/main/diff/b", None, 200),
    ("GET", "/refs/b/merge/main", None, 200),
    ("POST", "/refs/b/merge/main", {}, 200),
    ("POST", "/branches/main/revert", {"ref": "b", "parent_number": 0}, 204),
    ("POST", "/branches/main/cherry-pick", {"ref": "b"}, 201),
    ("PUT", "/branches/main/hard_reset?ref=b", None, 204),
    ("POST", "/tags", {"id": "t", "ref": "b"}, 201),
    ("GET", "/tags", None, 200),
    ("GET", "/tags/t", None, 200),
    ("DELETE", "/tags/t", None, 204),
    ("GET", "/branches/b/staging/backing?path=s", None, 200),
    ("POST", "/metadata", {"metadata": {"k": "v"}}, 204),
    ("GET", "/metadata", None, 200),
    ("DELETE", "/metadata", {"keys": ["k"]}, 204),
    ("PUT", "/settings/branch_protection", [{"pattern": "main"}], 204),
    ("GET", "/settings/branch_protection", None, 200),
    ("POST", "/branch_protection", {"pattern": "x"}, 204),
    ("GET", "/branch_protection", None, 200),
    ("DELETE", "/branch_protection", {"pattern": "x"}, 204),
    ("PUT", "/settings/gc_rules", RULES, 204),
    ("GET", "/settings/gc_rules", None, 200),
    ("DELETE", "/settings/gc_rules", None, 204),
    ("POST", "/gc/rules", RULES, 204),
    ("GET", "/gc/rules", None, 200),
    ("POST", "/gc/prepare_commits", None, 201),
    ("DELETE", "/gc/rules", None, 204),
    ("GET", "/actions/runs", None, 200),
    ("DELETE", "/branches/b", None, 204),
    ("DELETE", "", None, 204),
]


def test_a_tour_of_the_api(http, repo):
    assert len(TOUR) == 51
    for method, path, sent, status in TOUR:
        content = {"content": sent} if isinstance(sent, str) else {} if sent is None else {"json": sent}
        answer = http.request(method, f"/repositories/{repo.id}{path}", **content)
        where = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code == status, where
        assert bool(answer.content) is (status != 204 and method != "HEAD" and "user_metadata" not in path), (
            where
        )


def test_every_json_answer_says_so(http, repo):
    for path in ("", "/branches", "/refs/main/objects/ls", "/refs/main/commits", "/branches/none"):
        answer = http.get(f"/repositories/{repo.id}{path}")
        assert answer.headers["Content-Type"].startswith("application/json")
