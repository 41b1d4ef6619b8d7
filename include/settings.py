"""Where things are: endpoints, keys, buckets and the state folder, from the environment only.

A running embedded stack writes what it generated to `$HEADRACE_HOME/stack.env` (mode 0600); it is read as
defaults, so a variable that is set always wins, and an external lakeFS, S3 or MLflow needs nothing else.
"""

import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

STACK_ENV = "stack.env"


def home_folder() -> Path:
    """The state folder: `HEADRACE_HOME`, else `.headrace` in the working folder; absolute."""
    return Path(os.environ.get("HEADRACE_HOME") or ".headrace").expanduser().absolute()


class Settings(BaseSettings):
    """One field per variable, named `HEADRACE_<FIELD>`.

    Raises:
        pydantic.ValidationError: A variable does not have the type of its field.
    """

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=home_folder)

    lakefs_endpoint: str = "http://127.0.0.1:8000"
    lakefs_access_key_id: str = ""
    lakefs_secret_access_key: SecretStr = SecretStr("")
    lake_repository: str = "lake"
    lake_storage_namespace: str = "s3://headrace-lake"

    s3_endpoint: str = "http://127.0.0.1:8333"
    s3_region: str = "us-east-1"
    s3_access_key_id: str = ""
    s3_secret_access_key: SecretStr = SecretStr("")
    landing_bucket: str = "headrace-landing"

    mlflow_tracking_uri: str = "http://127.0.0.1:5000"
    airflow_url: str = "http://127.0.0.1:8080"
    airflow_username: str = "admin"
    airflow_password: SecretStr = SecretStr("")

    retail_dsn: SecretStr = SecretStr("")
    retail_live_dsn: SecretStr = SecretStr("")
    flights_dsn: SecretStr = SecretStr("")
    weather_url: str = "http://127.0.0.1:8090"

    # Spark runs on this Java unless JAVA_HOME names another; the embedded stack finds one.
    java_home: str = ""
    spark_master: str = "local[2]"
    spark_memory: str = "1g"
    # In a run of seconds the optimising compiler, and a collector beside the job, take more than they give.
    spark_java_options: str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

    signing_key: SecretStr = SecretStr("")
    signer: str = "release"

    cache_size_bytes: int = 20 * 2**30

    @property
    def cache_folder(self) -> Path:
        """The content-addressed cache of lake objects; shared by all processes of this home."""
        return self.home / "cache"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    home = home_folder()
    return Settings(_env_file=home / STACK_ENV, home=home)  # type: ignore[call-arg]
