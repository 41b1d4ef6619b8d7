"""Every operation of the installed lakeFS SDK is answered: implemented, or refused by name."""

import re
from pathlib import Path

import lakefs_sdk
import pytest

from include.stack.lakefs import unsupported
from include.stack.lakefs.app import SUPPORTED
from include.stack.lakefs.options import API_VERSION
from include.stack.lakefs.router import Route, Router

SDK = Path(lakefs_sdk.__file__).parent
GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "lake-server.md"
CALL = re.compile(r"call_api\(\s*'(/[^']*)', '(GET|PUT|POST|DELETE|HEAD|PATCH)'")


def sdk_operations() -> set[tuple[str, str]]:
    sources = [file.read_text() for file in sorted((SDK / "api").glob("*_api.py"))]
    return {(method, path) for source in sources for path, method in CALL.findall(source)}


def plain(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


SUPPORTED_PLAIN = {(route.method, plain(route.path)) for route in SUPPORTED}
REFUSED_PLAIN = {(route.method, plain(route.path)) for route in unsupported.ROUTES}


def test_the_inventory_is_the_whole_sdk():
    assert len(sdk_operations()) >= 130
    assert (
        "POST",
        "/repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}",
    ) in sdk_operations()


def test_the_version_followed_is_that_of_the_sdk():
    assert lakefs_sdk.__version__ == API_VERSION


@pytest.mark.parametrize(("method", "path"), sorted(sdk_operations()))
def test_every_operation_is_answered(method, path):
    wanted = (method, plain(path))
    assert (wanted in SUPPORTED_PLAIN) != (wanted in REFUSED_PLAIN)
    found = Router([*SUPPORTED, *unsupported.ROUTES]).find(method, path.replace("{", "").replace("}", ""))
    assert found is not None
    assert found.route is not None
    assert plain(found.route.path) == plain(path)


def test_nothing_is_both_implemented_and_refused():
    assert SUPPORTED_PLAIN.isdisjoint(REFUSED_PLAIN)


def test_the_guide_names_every_operation_that_is_refused():
    named = set(re.findall(r"`(GET|PUT|POST|DELETE|PATCH) (/[^`]*)`", GUIDE.read_text()))
    assert {(method, plain(path)) for method, path in named} >= REFUSED_PLAIN
    assert {(method, plain(path)) for method, path in named} <= REFUSED_PLAIN | SUPPORTED_PLAIN
    assert f"lakeFS {API_VERSION}" in GUIDE.read_text()


def test_literal_segments_win_over_parameters():
    def handler() -> None: ...

    router = Router(
        [Route("GET", "/a/{x}", handler), Route("GET", "/a/b", handler), Route("PUT", "/a/{x}", handler)]
    )
    found = router.find("GET", "/a/b")
    assert found is not None
    assert found.path == {}
    for method, path, expected in (("GET", "/a/c%2Fd", {"x": "c/d"}), ("PUT", "/a/b", {"x": "b"})):
        found = router.find(method, path)
        assert found is not None
        assert found.path == expected
    assert router.find("GET", "/a") is None
    missing = router.find("POST", "/a/b")
    assert missing is not None
    assert missing.route is None
