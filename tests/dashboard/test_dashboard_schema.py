"""The API answers what its schema says, to whatever it is asked: schemathesis asks, in process."""

from types import SimpleNamespace

import pytest
from browser import add_run
from hypothesis import HealthCheck, given, settings

from l2l_snn.dashboard import pictures
from l2l_snn.dashboard.app import create_app
from l2l_snn.dashboard.settings import Settings
from l2l_snn.storage.store import Store

schemathesis = pytest.importorskip("schemathesis")
openapi_checks = pytest.importorskip("schemathesis.specs.openapi.checks")
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def app_schema(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schema")
    drawn = SimpleNamespace(ask=lambda *_: {"png": "", "missing": "drawn by other tests"})  # a process takes seconds
    with Store(f"sqlite:///{folder}/l2l.db") as store, pytest.MonkeyPatch.context() as patched:
        patched.setattr(pictures, "processes", drawn)
        add_run(store, "two-1", 3, objectives=2)
        app = create_app(store, Settings(store.url_shown, control=True, jobs=folder))
        yield schemathesis.openapi.from_asgi("/openapi.json", app)


def test_every_answer_is_one_of_the_schema(app_schema):
    operations = [found.ok() for found in app_schema.get_all_operations()]
    assert len(operations) == 21
    for operation in operations:
        answered(operation)


def answered(operation) -> None:
    """Ask one operation for anything that its schema admits, and what it doesn't."""

    @given(case=operation.as_strategy())
    @settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def ask(case):
        case.call_and_validate(checks=CHECKS)
        if "run" in (case.path_parameters or {}) and case.method == "GET":  # the same of something that is there
            there = {"run": "two-1", "generation": 1, "index": 2}
            case.path_parameters |= {key: there[key] for key in there if key in case.path_parameters}
            case.call_and_validate(checks=CHECKS)

    ask()
