"""The fixtures: a server on PostgreSQL behind a proxy, a provider whose tokens expire soon, and a Prometheus that looks on."""

import os
import secrets
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest

import broker as agent_auth
from browser import press
from prometheus import Prometheus, eventually
from provider import Provider
from proxy import Proxy

POSTGRES = "TEST_POSTGRES_URL"
KEY = "alert-tests-bootstrap-key-0123456789abcdef"
USERS = [f"user-{number}" for number in range(12)]


def pytest_configure():
    if not os.environ.get(POSTGRES):
        raise pytest.UsageError(f"{POSTGRES} is not set: run scripts/test, which starts a PostgreSQL")
    if not agent_auth.BINARY.is_file():
        raise pytest.UsageError(f"{agent_auth.BINARY} is missing: run `cargo build`")


@pytest.fixture
def scene(tmp_path):
    """A server that works, and its callers."""
    scene = Scene(tmp_path)
    yield scene
    scene.stop()


class Scene:
    def __init__(self, folder, settings=None, key=KEY):
        self._folder, self._key = folder, key
        self.provider = Provider()
        self.database_url = new_database()
        self.proxy = Proxy(self.database_url)
        self.broker = agent_auth.Broker(
            folder,
            {
                "DATA_DIR": str(folder / "data"),
                "DATABASE_URL": self.proxy.database_url,
                "ENCRYPTION_KEYS": agent_auth.run("keys", "generate").strip(),
                "BOOTSTRAP_API_KEY": KEY,
                "CONSENT": "direct",
            }
            | (settings or {}),
        )
        self.prometheus = None
        self.is_killed = False
        self.http = httpx.Client(base_url=self.broker.url, timeout=30)
        self.create({})
        for user in USERS:
            self.connect(user)

    def create(self, more):
        """The provider, with this in its definition."""
        definition = self.provider.definition | more
        created = self.http.post("/v2/auth/providers", headers={"x-api-key": KEY}, json=definition)
        assert created.status_code == 200, created.text

    def authenticate(self, user, key=None, provider="acme"):
        body = {"provider": provider, "scopes": ["read"], "user_id": user}
        return self.http.post("/v2/auth/authenticate", headers={"x-api-key": key or self._key}, json=body)

    def connect(self, user):
        """The user consents. The token expires soon, so that later requests refresh it."""
        answer = self.come_back(user)
        assert answer.status_code == 303, answer.text

    def come_back(self, user):
        """The user consents, and the code may be exchanged or not."""
        pending = self.authenticate(user, KEY).json()
        assert pending["status"] == "pending", pending
        state = parse_qs(urlsplit(pending["url"]).query)["state"][0]
        return self.http.get("/host-oauth-callback/acme", params={"code": secrets.token_urlsafe(8), "state": state})

    def confirm(self, user, provider):
        """The user consents at a provider whose consents an application confirms, and it confirms this one."""
        pending = self.authenticate(user, KEY, provider).json()
        with httpx.Client(headers={"accept": "text/html"}, timeout=30) as tab:
            at_provider = press(tab, tab.get(pending["url"]), "Continue").headers["location"]
            query = {"code": secrets.token_urlsafe(8), "state": parse_qs(urlsplit(at_provider).query)["state"][0]}
            back = tab.get(f"{self.broker.url}/host-oauth-callback/{provider}", params=query)
        assert back.status_code == 303, back.text
        body = {"user_id": user, "reference": parse_qs(urlsplit(back.headers["location"]).query)["reference"][0]}
        path = f"/v2/auth/authorizations/{pending['auth_id']}/confirm"
        return self.http.post(path, headers={"x-api-key": self._key}, json=body)

    def watch(self):
        """From here on Prometheus reads the server. Nothing is wrong yet."""
        self.prometheus = Prometheus(self._folder / "prometheus", urlsplit(self.broker.url).netloc)
        eventually(lambda: self.prometheus.query("agent_auth_database_reachable == 1"), "the server is not read")
        eventually(lambda: self.prometheus.query("agent_auth_listener_connected == 1"), "the server does not listen")
        self.traffic()
        self.stays(set())

    def traffic(self):
        """Everybody requests their token."""
        return [self.authenticate(user) for user in USERS]

    def only(self, alert):
        """The alert's expression becomes true, and no other."""
        eventually(lambda: alert in self.prometheus.true(), lambda: f"{alert} is not raised: {self.prometheus.true()}")
        self.stays({alert})

    def stays(self, expected):
        """In several evaluations, exactly the expressions of these alerts are true."""
        for _ in range(4):
            before = self.prometheus.evaluations()
            eventually(lambda: all(map(str.__ne__, before, self.prometheus.evaluations())), "the rules are not evaluated")
            assert self.prometheus.true() == expected

    def sql(self, statement):
        """Changes the database behind the server's back."""
        with psycopg.connect(self.database_url, autocommit=True) as database:
            database.execute(statement)

    def stop(self):
        if self.prometheus:
            self.prometheus.stop()
        self.http.close()
        if not self.is_killed:
            self.broker.stop()
        self.proxy.stop()
        self.provider.stop()


def new_database():
    url, database = os.environ[POSTGRES], f"alerts_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{database}"')
    return urlsplit(url)._replace(path=f"/{database}").geturl()
