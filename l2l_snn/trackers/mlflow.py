"""Runs in MLflow: on a tracking server, or in a folder or database that `mlflow ui` shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2l_snn.trackers.track import finite, missing
from l2l_snn.trackers.tracker import Tracker

LONGEST = 500  # characters of a parameter that MLflow takes
AT_ONCE = 100  # parameters that it takes in a call
STATES = {"finished": "FINISHED", "failed": "FAILED"}  # others are KILLED, as MLflow says


class MLflowTracker(Tracker):
    """Logs to the experiment "l2l" a run with this name; one that is there already goes on.

    Args:
        uri: of the tracking server, or sqlite:///mlflow.db; by default what MLFLOW_TRACKING_URI says.
        experiment: its name.
    """

    def __init__(self, uri: str | None = None, experiment: str = "l2l"):
        self.uri = uri
        self.experiment = experiment
        self._client: Any = None
        self._run = ""  # MLflow's id

    def begin(self, run: str, job: Mapping[str, str | float | bool]) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Param
        except ImportError as error:
            raise missing("mlflow", "mlflow", error) from error
        self._client = client = MlflowClient(self.uri)
        found = client.get_experiment_by_name(self.experiment)
        experiment = found.experiment_id if found else client.create_experiment(self.experiment)
        known = client.search_runs([experiment], f"attributes.run_name = '{run}'", max_results=1)
        if known:
            self._run = known[0].info.run_id
            client.update_run(self._run, "RUNNING")
            return
        self._run = client.create_run(experiment, run_name=run).info.run_id
        params = [Param(key, str(value)[:LONGEST]) for key, value in job.items()]
        for k in range(0, len(params), AT_ONCE):
            client.log_batch(self._run, params=params[k : k + AT_ONCE])

    def log(self, generation: int, values: Mapping[str, float]) -> None:
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, generation) for name, value in finite(values).items()]
        self._client.log_batch(self._run, metrics=metrics)

    def picture(self, name: str, path: Path) -> None:
        self._client.log_artifact(self._run, str(path))

    def end(self, state: str) -> None:
        self._client.set_terminated(self._run, STATES.get(state, "KILLED"))
