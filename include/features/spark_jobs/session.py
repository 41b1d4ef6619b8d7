"""A Spark of this process's own: one Java on this machine, on loopback, gone with the block."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from include.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OPTIONS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.session.timeZone": "UTC",
    # Files are local: listing them takes less than a job that would.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",
    # Names of columns are the source's own, where A and a are two.
    "spark.sql.caseSensitive": "true",
    "spark.sql.timeType.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    # Small enough that no writer is ever short of memory, which would move the bounds of row groups: the
    # bytes of a file follow from its rows alone.
    "spark.hadoop.parquet.block.size": str(32 * 2**20),
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
}


@contextmanager
def spark_session(settings: Settings, *, partitions: int = 16) -> Iterator["SparkSession"]:
    """A session for the length of the block; its scratch files go with it.

    Args:
        settings: Name Spark's master, its memory, and the Java to run on with its options.
        partitions: Parts that rows are shuffled into.
    """
    if settings.java_home and "JAVA_HOME" not in os.environ:
        os.environ["JAVA_HOME"] = settings.java_home
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession

    scratch = settings.home / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix="spark-", ignore_cleanup_errors=True) as folder:
        builder = SparkSession.builder.master(settings.spark_master).appName("headrace")
        places = {
            "spark.local.dir": folder,
            "spark.sql.warehouse.dir": f"{folder}/warehouse",
            "spark.driver.memory": settings.spark_memory,
            "spark.driver.extraJavaOptions": settings.spark_java_options,
            "spark.sql.shuffle.partitions": str(partitions),
        }
        for name, value in (OPTIONS | places).items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        try:
            yield session
        finally:
            session.stop()
