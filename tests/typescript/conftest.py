"""The fixtures: a broker on each database, a person with a browser, and the client as npm installs its archive."""

from pathlib import Path

import pytest

import broker as agent_auth
from archive import CLIENT, MODULES, install, pack
from person import Person

HERE = Path(__file__).parent
API_KEY = "typescript-tests-bootstrap-key-0123456789"


def pytest_configure():
    if missing := agent_auth.missing():
        raise pytest.UsageError(missing)
    for modules in (CLIENT / "node_modules", MODULES):
        if not modules.is_dir():
            raise pytest.UsageError(f"{modules} is missing: run `npm ci` in {modules.parent}")


@pytest.fixture(scope="session")
def person():
    someone = Person()
    yield someone
    someone.stop()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def server(request, tmp_path_factory, person):
    """The environment of a program that uses the client: a broker on each database, and the person."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"DATA_DIR": str(folder / "data"), "BOOTSTRAP_API_KEY": API_KEY}
    if request.param == "postgres":
        settings |= agent_auth.new_postgres_database()
    running = agent_auth.Broker(folder, settings)
    yield {"LANGSMITH_API_URL": running.url, "LANGSMITH_API_KEY": API_KEY, "PERSON": person.url}
    running.stop()


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """What would be published: the client, built and packed."""
    return pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="session")
def project(archive, tmp_path_factory):
    """A project of its own that has nothing but the client."""
    return install(archive, tmp_path_factory.mktemp("project"), HERE.glob("*.[mc][jt]s"))


@pytest.fixture(scope="session")
def graph_project(archive, tmp_path_factory):
    """A project that has LangGraph.js as well."""
    return install(archive, tmp_path_factory.mktemp("graph-project"), HERE.glob("*.[mc][jt]s"), langgraph=True)
