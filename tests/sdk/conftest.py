"""The fixtures: a broker on each database, an authorization server, and a provider of its own for each test."""

import asyncio
import secrets
from types import SimpleNamespace

import pytest
from langchain_auth import Client

import broker as agent_auth
from authorization_server import AuthorizationServer
from browser import browse
from langsmith_server import PERSONAL_KEY, WORKSPACE, LangSmith

API_KEY = "sdk-tests-bootstrap-key-0123456789abcdef"


def pytest_configure():
    if missing := agent_auth.missing():
        raise pytest.UsageError(missing)


@pytest.fixture(scope="session")
def authorization_server():
    server = AuthorizationServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def langsmith():
    server = LangSmith()
    yield server
    server.stop()


@pytest.fixture(scope="session", params=["sqlite", "postgres", "sqlite-langsmith", "postgres-langsmith"])
def broker(request, tmp_path_factory, langsmith):
    """One running broker for all tests: on each database, with its own keys and with LangSmith's alone."""
    database, _, identity = request.param.partition("-")
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"DATA_DIR": str(folder / "data")}
    if database == "postgres":
        settings |= agent_auth.new_postgres_database()
    if identity == "langsmith":
        settings |= {"IDENTITY": "langsmith", "LANGSMITH_ENDPOINT": langsmith.endpoint}
    else:
        settings["BOOTSTRAP_API_KEY"] = API_KEY
    running = agent_auth.Broker(folder, settings)
    running.settings = settings
    running.workspace = []
    if identity == "langsmith":
        running.workspace = ["--organization", WORKSPACE["organization_id"], "--workspace", WORKSPACE["tenant_id"]]
    running.api_key = PERSONAL_KEY if identity == "langsmith" else API_KEY
    yield running
    running.stop()


@pytest.fixture(params=["", "/api-host"], ids=["plain", "api-host"])
def client(request, broker):
    """The SDK, at each of the two prefixes the API answers under."""
    return Client(api_key=broker.api_key, api_url=broker.url + request.param)


@pytest.fixture
def name():
    """A name no other test uses, for a provider or a user."""
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture
def upstream(authorization_server, name):
    """This test's registration at the authorization server."""
    return authorization_server.register(name)


@pytest.fixture
def provider(client, upstream, name):
    """The id of a provider in the broker that stands for `upstream`."""
    asyncio.run(
        client.create_oauth_provider(
            provider_id=name,
            name="Scripted Provider",
            client_id=upstream.client_id,
            client_secret=upstream.client_secret,
            auth_url=upstream.authorization_url,
            token_url=upstream.token_url,
            uses_pkce=True,
            code_challenge_method="S256",
        )
    )
    return name


@pytest.fixture
def person(provider):
    """Asks for tokens on behalf of one user, and is that user's browser."""

    def authenticate(client, scopes, user="alice", **options):
        return asyncio.run(client.authenticate(provider=provider, scopes=scopes, user_id=user, **options))

    def consent(client, scopes, user="alice", **options):
        """The whole way once: pending, the browser, wait. Returns the token."""
        pending = authenticate(client, scopes, user, **options)
        assert pending.status == "pending", pending
        page = browse(pending.url)
        assert page.status_code == 200, page.text
        done = asyncio.run(client.wait_for_completion(pending.auth_id, timeout=10))
        assert done.status == "completed" and done.token
        return done.token

    return SimpleNamespace(authenticate=authenticate, consent=consent)
