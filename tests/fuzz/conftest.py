"""The fixtures: one broker on each database that reaches nothing outside, and its description."""

import pytest
import schemathesis

import broker as agent_auth

API_KEY = "fuzz-tests-bootstrap-key-0123456789abcdef"


def pytest_configure():
    if missing := agent_auth.missing():
        raise pytest.UsageError(missing)


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def broker(request, tmp_path_factory):
    """A broker that must not have a bug when it has answered everything."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"BOOTSTRAP_API_KEY": API_KEY, "DATA_DIR": str(folder / "data"), "ALLOW_PRIVATE_UPSTREAMS": ""}
    # Nobody waits for a consent that never comes.
    settings["WAIT_MAX_SECONDS"] = "1"
    if request.param == "postgres":
        settings |= agent_auth.new_postgres_database()
    running = agent_auth.Broker(folder, settings)
    # A service key acts for any user of its workspace.
    create = ["api-key", "create", "--name", "requests", "--role", "admin", "--kind", "service"]
    running.service_key = agent_auth.run(*create, settings=settings).split()[-1]
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
