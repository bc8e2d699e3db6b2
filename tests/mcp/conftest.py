"""The fixtures: one broker for all tests, and a provider id of its own for each."""

import os
import secrets

import pytest

import broker as agent_auth
from agent import Agent
from nodejs import MODULES, NODE


def pytest_configure():
    if not agent_auth.BINARY.is_file():
        raise pytest.UsageError(f"{agent_auth.BINARY} is missing: run `cargo build`")
    if not os.access(NODE, os.X_OK):
        raise pytest.UsageError(f"{NODE} is missing: run `npm ci` in {MODULES.parent}")


@pytest.fixture(scope="session")
def api_key():
    return "mcp-tests-bootstrap-key-0123456789abcdef"


@pytest.fixture(scope="session")
def broker(api_key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broker")
    running = agent_auth.Broker(folder, {"BOOTSTRAP_API_KEY": api_key, "DATA_DIR": str(folder / "data")})
    yield running
    running.stop()


@pytest.fixture
def agent(broker, api_key):
    return Agent(broker.url, api_key)


@pytest.fixture
def provider_id():
    """An id that no other test uses."""
    return f"t-{secrets.token_hex(6)}"
