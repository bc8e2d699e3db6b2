"""The fixtures: one broker on SQLite that reaches nothing outside, and its description."""

import pytest
import schemathesis

import broker as agent_auth

API_KEY = "fuzz-tests-bootstrap-key-0123456789abcdef"


def pytest_configure():
    if not agent_auth.BINARY.is_file():
        raise pytest.UsageError(f"{agent_auth.BINARY} is missing: run `cargo build`")


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """A broker that must not have a bug when it has answered everything."""
    folder = tmp_path_factory.mktemp("broker")
    settings = {"BOOTSTRAP_API_KEY": API_KEY, "DATA_DIR": str(folder / "data"), "ALLOW_PRIVATE_UPSTREAMS": ""}
    running = agent_auth.Broker(folder, settings)
    yield running
    running.stop()
    log = running.log.read_text()
    for sign in ["panicked", "server.internal_error", "database.failed"]:
        assert sign not in log, next(line for line in log.splitlines() if sign in line)


@pytest.fixture(scope="session")
def key():
    return API_KEY


@pytest.fixture(scope="session")
def schema(broker):
    return schemathesis.openapi.from_url(f"{broker.url}/openapi.json")
