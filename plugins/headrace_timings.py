"""Keeps what each task try took: when the station's own work began and ended, and the memory that it needed.

Airflow's own times hold the start of the process and the reading of the DAG's file as well; these do not.
"""

import resource
import time
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from include.orchestration import journal


class _Listener:
    """Lives in the process of one task try."""

    def __init__(self) -> None:
        self.began = 0.0

    @hookimpl
    def on_task_instance_running(self) -> None:
        self.began = time.time()

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        self._keep(task_instance, "success")

    @hookimpl
    def on_task_instance_skipped(self, task_instance: Any) -> None:
        self._keep(task_instance, "skipped")

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any) -> None:
        self._keep(task_instance, "failed")

    def _keep(self, instance: Any, state: str) -> None:
        if not self.began:
            return  # a state that a person set by hand: nothing ran in this process
        timing = {
            "dag": instance.dag_id,
            "run": instance.run_id,
            "task": instance.task_id,
            "map_index": instance.map_index,
            "try": instance.try_number,
            "state": state,
            "began": self.began,
            "ended": time.time(),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        journal.append(journal.TIMINGS, timing)


class HeadraceTimings(AirflowPlugin):
    """Registers the listener."""

    name = "headrace_timings"
    listeners = [_Listener()]  # noqa: RUF012  # as the class above declares it
