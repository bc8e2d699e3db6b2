"""The fixtures: a broker on each database, a person with a browser, and the client as npm installs its archive."""

import shutil
import subprocess
from pathlib import Path

import pytest

import broker as agent_auth
from person import Person

HERE = Path(__file__).parent
CLIENT = agent_auth.ROOT / "clients/typescript"
API_KEY = "typescript-tests-bootstrap-key-0123456789"


def pytest_configure():
    if missing := agent_auth.missing():
        raise pytest.UsageError(missing)
    for folder in (CLIENT, HERE):
        if not (folder / "node_modules").is_dir():
            raise pytest.UsageError(f"{folder}/node_modules is missing: run `npm ci` there")


def execute(*command, cwd, **environment):
    """The standard output of a program that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=agent_auth.environment() | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def npm(*arguments, cwd):
    return execute("npm", *arguments, "--no-audit", "--no-fund", "--loglevel=error", cwd=cwd)


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
    folder = tmp_path_factory.mktemp("pack")
    npm("pack", "--pack-destination", str(folder), cwd=CLIENT)
    [archive] = folder.glob("*.tgz")
    return archive


@pytest.fixture(scope="session")
def project(archive, tmp_path_factory):
    """A project of its own that has nothing but the client."""
    return install(archive, tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def graph_project(archive, tmp_path_factory):
    """A project that has LangGraph.js as well."""
    folder = install(archive, tmp_path_factory.mktemp("graph-project"))
    for package in (HERE / "node_modules").glob("[!.]*"):
        (folder / "node_modules" / package.name).symlink_to(package)
    return folder


def install(archive, folder):
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm("install", "--offline", str(archive), cwd=folder)
    for file in HERE.iterdir():
        if file.suffix in (".mjs", ".cjs", ".mts", ".cts"):
            shutil.copy(file, folder)
    return folder
