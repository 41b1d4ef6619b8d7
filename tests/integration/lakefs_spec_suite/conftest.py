"""lakefs-spec's own suite: fetched from the package registry, run once per blockstore."""

import hashlib
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

VERSION = "0.15.1"
SDIST = f"lakefs_spec-{VERSION}.tar.gz"
SHA256 = "978a9f695d18db8a1fc91948384be57d3eeb3902b4c35db2641c24a487747080"
HERE = Path(__file__).parent
TIMEOUT_S = 400


@dataclass(frozen=True)
class Outcome:
    """What became of one test: passed, failed, error or skipped, and what it said."""

    state: str
    said: str = ""


@pytest.fixture(scope="session")
def sdist(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verified source distribution; kept in pytest's cache folder where there is one."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    folder = cache.mkdir("lakefs-spec") if cache else tmp_path_factory.mktemp("lakefs-spec-sdist")
    file = folder / SDIST
    if not file.exists():
        # Wheels are allowed for its build tools only: building those from source takes a minute.
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=lakefs-spec"]
        done = subprocess.run(
            [*command, f"--dest={folder}", f"lakefs-spec=={VERSION}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{SDIST} cannot be fetched from the package registry:\n{done.stderr}"
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found == SHA256, f"{file} is not the {SDIST} that was reviewed: its sha256 is {found}"
    return file


def _isolated() -> list[str]:
    """The prefix that gives a command a network of its own; empty where the system does not allow it."""
    for prefix in (["unshare", "-n"], ["unshare", "-rn"]):
        try:
            if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
                return prefix
        except FileNotFoundError:
            break
    return []


@pytest.fixture(scope="session", params=["local", "s3"])
def outcomes(
    request: pytest.FixtureRequest, sdist: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    """Result of every test of the suite, by its pytest id without the folder."""
    work = tmp_path_factory.mktemp(f"lakefs-spec-{request.param}")
    with tarfile.open(sdist) as archive:
        archive.extractall(work, filter="data")
    junit = work / "junit.xml"
    paths = (f"--suite={work / SDIST.removesuffix('.tar.gz')}", f"--work={work}", f"--junit={junit}")
    command = [*_isolated(), sys.executable, str(HERE / "drive.py"), f"--blockstore={request.param}", *paths]
    log = work / "suite.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
        try:
            process.wait(TIMEOUT_S)
        finally:
            process.terminate()  # it then stops the servers that it started
            process.wait(60)
    tail = log.read_text(errors="replace")[-4000:]
    assert junit.exists(), f"the suite did not run (exit code {process.returncode}):\n{tail}"
    return read_junit(junit)


def read_junit(file: Path) -> dict[str, Outcome]:
    results = {}
    for case in ET.parse(file).getroot().iter("testcase"):  # noqa: S314  (written by the pytest that we ran)
        module, _, owner = case.attrib["classname"].partition(".Test")
        parts = [module.replace(".", "/") + ".py", *([f"Test{owner}"] if owner else []), case.attrib["name"]]
        told = next((child for child in case if child.tag in {"failure", "error", "skipped"}), None)
        state = "passed" if told is None else told.tag
        results["::".join(parts)] = Outcome(
            state, "" if told is None else f"{told.get('message')}\n{told.text}"
        )
    return results
