"""The connection to a cluster's job server, and what becomes of its errors.

    client = connect("http://127.0.0.1:8265")
    with explain_cluster_errors("http://127.0.0.1:8265"):
        client.list_jobs()

Nothing else of the package imports Ray's client of job servers.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from l2l_snn.validate import message

if TYPE_CHECKING:
    from ray.job_submission import JobDetails as JobDetails
    from ray.job_submission import JobSubmissionClient


class ClusterError(ConnectionError):
    """The job server can't be reached or refused; the text is one line for the user."""


class NoAnswer(ClusterError):
    """Nobody answers there, now."""


def connect(address: str) -> "JobSubmissionClient":
    """Return a client of a job server.

    A token, from RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token, is sent along unless
    RAY_AUTH_MODE is "disabled".

    Raises:
        ClusterError: nobody answers there, or the token is wrong.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not re.match(r"https?://", address):
        raise ClusterError(message("--address", "http://HOST:PORT, e.g. http://127.0.0.1:8265", repr(address)))
    with explain_cluster_errors(address):
        from ray.job_submission import JobSubmissionClient

        for name in ("dashboard_sdk", "job.sdk"):  # else they tell of each upload and closed connection
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
        before = os.environ.get("RAY_API_SERVER_ADDRESS")
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # else the environment's goes before ours
        try:
            return JobSubmissionClient(address, headers=_read_token_header())
        finally:
            os.environ.pop("RAY_API_SERVER_ADDRESS")
            if before is not None:
                os.environ["RAY_API_SERVER_ADDRESS"] = before


@contextmanager
def explain_cluster_errors(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into a `ClusterError` of one line, `NoAnswer` where nobody answers."""
    try:
        from ray.exceptions import AuthenticationError
        from requests import RequestException
    except ImportError as error:
        raise ClusterError(f"{error}; install what a cluster needs: pip install 'ray[default]'") from error
    try:
        yield
    except ClusterError:
        raise
    except AuthenticationError as error:
        todo = "copy ~/.ray/auth_token from who started it, or set RAY_AUTH_TOKEN_PATH"
        wrong = "wants a token" if "Authentication required" in str(error) else "refused the token"
        raise ClusterError(f"the cluster at {address} {wrong}; {todo}") from error
    except (ConnectionError, RequestException) as error:
        todo = "check --address; a tunnel to the head is opened by: ray dashboard cluster.yaml"
        raise NoAnswer(f"no answer from a cluster at {address}; {todo}") from error
    except RuntimeError as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClusterError(f"the cluster at {address}: {first[:300]}") from error


def _read_token_header() -> dict[str, str]:
    """Return the header with the token; an empty one keeps Ray from looking for a token by itself."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return {"Authorization": ""}
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not token and (path.exists() or "RAY_AUTH_TOKEN_PATH" in os.environ):
        token = path.read_text(encoding="utf-8").strip()
    return {"Authorization": f"Bearer {token}" if token else ""}
