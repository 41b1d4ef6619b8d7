"""Makes the one environment: a virtual environment with what requirements.txt locks, torch, and Headrace.

Runs on a bare Python 3.11 with its standard library, so that `make` on a clean clone needs nothing else;
the Docker image is made by the same script. docs/adr/0001-one-environment.md tells why it takes these steps.

"""

from __future__ import annotations  # an older Python must get as far as our message

import argparse
import ast
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
LOCK_FILE = ROOT / "requirements.txt"
DIRECT_FILE = ROOT / "requirements.in"
OVERRIDES_FILE = ROOT / "overrides.txt"
STAMP_NAME = "headrace.stamp"
PYTHON_VERSION = (3, 11)
FREE_BYTES_NEEDED = 6 * 10**9
RECIPE = 1  # raised when the steps below change in a way that old environments must be remade for


def say(text: str) -> None:
    """Shows progress at once, also when the output is a file."""
    print(text, flush=True)


def give_up(cause: str, remedy: str) -> NoReturn:
    """Ends with one clear error."""
    sys.exit(f"error: {cause}\n       {remedy}")


def check_machine(venv: Path) -> None:
    """Ends unless this Python can make the environment and the disk can hold it."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != PYTHON_VERSION:
        give_up(
            f"Headrace needs Python 3.11 and {sys.executable} is {version}.",
            "Install it (Debian 12: apt install python3.11-venv) or name it: make PYTHON=/path/to/python3.11",
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        give_up(
            f"{sys.executable} cannot make a virtual environment: module venv or ensurepip is missing.",
            "Debian and Ubuntu pack them apart: apt install python3.11-venv",
        )
    free = shutil.disk_usage(venv.parent).free
    if free < FREE_BYTES_NEEDED:
        give_up(
            f"{venv.parent} has {free / 1e9:.1f} GB free; the environment with its download cache "
            f"needs {FREE_BYTES_NEEDED / 1e9:.0f} GB.",
            "Free some space (`uv cache prune` and `pip cache purge` often help) or clone to another disk.",
        )


def pip_options(python: Path) -> dict[str, str]:
    """What the pip of an environment is configured to do; [install] beats [global], variables beat both."""
    listed = subprocess.run(
        [str(python), "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    by_section: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.partition(".")
        if section in by_section:
            by_section[section][option.replace("_", "-")] = str(ast.literal_eval(value))
    return {**by_section["global"], **by_section["install"], **by_section[":env:"]}


def uv_environment(venv: Path) -> dict[str, str]:
    """The environment for uv, which does not read pip's configuration: indexes, wheelhouses, certificates.

    Passed as variables, since an index address can carry a password. A variable that is already set wins.
    """
    # Its own pip, since a system's Python may come without one.
    pip = pip_options(venv / "bin" / "python")
    wanted = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(pip.get("extra-index-url", "").split()),
        "UV_FIND_LINKS": ",".join(pip.get("find-links", "").split()),
        "UV_INSECURE_HOST": " ".join(pip.get("trusted-host", "").split()),
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in {"1", "true", "yes", "on"} else "",
        "SSL_CERT_FILE": pip.get("cert", ""),
        "SSL_CLIENT_CERT": pip.get("client-cert", ""),
        "ALL_PROXY": pip.get("proxy", ""),
        "UV_HTTP_TIMEOUT": pip.get("timeout") or pip.get("default-timeout") or "120",
        # pip looks at all indexes and takes the best; uv would stop at the first that knows the name.
        # What is taken is decided by the hashes of the lock, not by who offers it.
        "UV_INDEX_STRATEGY": "unsafe-best-match" if pip.get("extra-index-url") else "",
    }
    # An image's build arguments are variables that are set and empty when nobody gave them.
    given = {name: value for name, value in os.environ.items() if value or not name.startswith("UV_")}
    return {**{name: value for name, value in wanted.items() if value}, **given}


def locked(package: str) -> str:
    """The lines of the lock that pin one package with its hashes.

    Raises:
        SystemExit: The lock does not pin it.
    """
    found = re.search(rf"^{re.escape(package)}==(?:.*\\\n)*.*", LOCK_FILE.read_text(), re.MULTILINE)
    if not found:
        give_up(
            f"{LOCK_FILE.name} does not pin {package}.",
            "Restore the file from git.",
        )
    return found.group() + "\n"


def torch_requirement() -> str:
    """The exact torch that requirements.in names; its build (CPU or CUDA) is the machine's choice."""
    found = re.search(r"^torch==\S+", DIRECT_FILE.read_text(), re.MULTILINE)
    if not found:
        give_up(f"{DIRECT_FILE.name} names no exact torch.", "It must hold a line such as torch==2.13.0")
    return found.group()


def fingerprint(venv: Path) -> str:
    """SHA-256 over all that decides what the environment holds; other edits do not remake it."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project["tool"] = project["tool"]["setuptools"]
    where = [str(ROOT), str(venv), sys.version_info[:3]]
    decided_by = [RECIPE, LOCK_FILE.read_text(), torch_requirement(), project, where]
    return hashlib.sha256(json.dumps(decided_by, sort_keys=True).encode()).hexdigest()


@contextmanager
def only_one(venv: Path) -> Iterator[None]:
    """Keeps a second set-up of the same environment waiting until the first one is through."""
    with (venv.parent / f"{venv.name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another set-up of {venv} is running; waiting for it ...")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(step: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs one step and shows what it is and how long it took; ends when it fails."""
    say(f"  {step} ...")
    started = time.monotonic()
    done = subprocess.run(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        give_up(
            f"{step}: the command ended with status {done.returncode}: {' '.join(command[:6])} ...",
            "Its own message stands above. Mend that and call make again: it starts the environment anew.",
        )
    say(f"  {step}: {time.monotonic() - started:.0f} s")


def install(venv: Path, *, compile_bytecode: bool) -> None:
    """Makes the environment from nothing, in the order that lets each step rely on the one before."""
    python = str(venv / "bin" / "python")
    uv = str(venv / "bin" / "uv")
    pip_install = [uv, "pip", "install", "--python", python, "--quiet"]
    if compile_bytecode:
        pip_install.append("--compile-bytecode")
    run("virtual environment", [sys.executable, "-m", "venv", "--clear", str(venv)])
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write(locked("uv"))
        pinned.flush()
        with_pip = [python, "-m", "pip", "install", "-qq", "--require-hashes", "--no-deps"]
        run("the installer (uv)", [*with_pip, "-r", pinned.name])
    environment = uv_environment(venv)
    count = len(re.findall(r"^\S+==", LOCK_FILE.read_text(), re.MULTILINE))
    lock, torch = str(LOCK_FILE), torch_requirement()
    # No dependency is followed: the lock is complete, and two that packages declare must stay out
    # (overrides.txt). Source distributions are built with the build tools of the lock, not with the newest.
    everything = ["--no-deps", "--require-hashes", "--build-constraints", lock, "--requirements", lock]
    run(f"{count} locked packages", [*pip_install, *everything], environment)
    run(torch, [*pip_install, torch, "--constraints", lock], environment)
    run("headrace", [*pip_install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], environment)


def make_environment(venv: Path, *, compile_bytecode: bool) -> None:
    """Brings the environment to what the lock says; does nothing where it is there already.

    The stamp is written last and holds what the environment was made from, so one that was interrupted, or
    that belongs to another lock, is remade from nothing rather than patched.
    """
    stamp = venv / STAMP_NAME
    with only_one(venv):
        wanted = fingerprint(venv) if sys.version_info[:2] == PYTHON_VERSION else ""
        if wanted and (venv / "bin" / "python").exists() and stamp.exists() and stamp.read_text() == wanted:
            stamp.touch()
            return
        check_machine(venv)
        stamp.unlink(missing_ok=True)
        say(f"Setting up {venv} (about a minute when packages are cached, up to three when not)")
        started = time.monotonic()
        install(venv, compile_bytecode=compile_bytecode)
        stamp.write_text(wanted)
        say(f"Environment ready after {time.monotonic() - started:.0f} s.")


def make_lock(venv: Path, extra: list[str]) -> None:
    """Resolves requirements.in anew into requirements.txt, keeping the pins that still fit.

    Raises:
        SystemExit: The resolver found a CUDA build of torch, whose packages must not be everyone's.
    """
    with tempfile.TemporaryDirectory() as folder:
        proposed = Path(folder) / LOCK_FILE.name
        shutil.copy(LOCK_FILE, proposed)
        target = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
        shape = ["--generate-hashes", "--no-emit-package", "torch", "--custom-compile-command", "make lock"]
        resolve = [str(venv / "bin" / "uv"), "pip", "compile", "--quiet", "--output-file", str(proposed)]
        resolve += [*target, *shape, "--override", OVERRIDES_FILE.name, DIRECT_FILE.name, *extra]
        environment = uv_environment(venv)
        # An index that offers a version for other machines only would hide the same version of the registry.
        for extra_index in ("UV_INDEX", "UV_INDEX_STRATEGY"):
            environment.pop(extra_index, None)
        run("resolving", resolve, environment)
        if re.search(r"^(nvidia-|triton==)", proposed.read_text(), re.MULTILINE):
            give_up(
                "the resolver took a CUDA build of torch, whose packages do not belong in the common lock.",
                "Let it find a CPU wheel (PIP_FIND_LINKS, or UV_TORCH_BACKEND=cpu) and call make lock again.",
            )
        LOCK_FILE.write_text(proposed.read_text())
    say("requirements.txt is written: `git diff` shows what moved, the next make installs it.")


def main() -> None:
    """Reads the command line; without a command it makes the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", nargs="?", choices=["install", "lock"], default="install")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--compile-bytecode", action="store_true", help="for images, whose user cannot")
    arguments, extra = parser.parse_known_args()
    venv = arguments.venv.absolute()
    if arguments.command == "lock":
        return make_lock(venv, extra)
    if extra:
        parser.error(f"unknown arguments: {' '.join(extra)}")
    return make_environment(venv, compile_bytecode=arguments.compile_bytecode)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: the environment is not complete; the next make makes it anew")
