"""Webhooks while servers are killed and the receiver fails half of the time, against the audit log as the truth."""

import collections
import contextlib
import json
import random
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from standardwebhooks import Webhook

import broker as agent_auth

USERS, EVENTS, KILLS = 40, 1000, 3
# The last event of each token is that it was deleted.
GRANTS = EVENTS // USERS - 1
# A message that failed so often is taken: after thirteen attempts it would be given up.
FAILURES_MAX = 10
REPORTED = {"token.issued": "token.connected", "token.deleted": "token.revoked"}


class Receiver(ThreadingHTTPServer):
    """An application that fails half of the time, before or after it has taken a message; and a token endpoint."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Endpoint)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.verifier, self.lock = None, threading.Lock()
        # The messages that were taken, in the order in which they came: each attempt once.
        self.taken, self.attempts, self.failures = [], 0, collections.Counter()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def receive(self, headers, body):
        """The status to answer with; None: the connection ends without an answer."""
        message = self.verifier.verify(body, headers)
        with self.lock:
            self.attempts += 1
            fails = random.random() < 0.5 and self.failures[headers["webhook-id"]] < FAILURES_MAX
            self.failures[headers["webhook-id"]] += fails
            outcome = random.choice(["error", "disconnects", "response is lost"]) if fails else "taken"
            if outcome in ("taken", "response is lost"):
                self.taken.append((headers["webhook-id"], message))
            return {"taken": 204, "error": 500}.get(outcome)


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/token":
            return self.answer(200, {"access_token": secrets.token_urlsafe(24), "token_type": "Bearer", "expires_in": 3600})
        if status := self.server.receive(dict(self.headers), body):
            # So that several are under way when the server is killed.
            time.sleep(0.02)
            self.answer(status, {})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body) if status != 204 else 0))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def handle(self):
        # The server that waits for the answer may be dead.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_):
        pass


class Servers:
    """The servers on one database, any of which may be killed at any time."""

    def __init__(self, folder, settings, many):
        self.folder, self.settings = folder, settings
        self.key = self.command("api-key", "create", "--name", "tests", "--role", "admin").strip()
        self.running = [self.start() for _ in range(many)]

    def start(self):
        folder = self.folder / secrets.token_hex(4)
        folder.mkdir()
        return agent_auth.Broker(folder, self.settings)

    def kill_one(self):
        """Kills the one that has run for longest, and starts another."""
        self.running.pop(0).kill()
        self.running.append(self.start())

    def request(self, method, path, user, **options):
        """Sends it to a server that runs, again if that is killed before it has answered."""
        headers, deadline = {"x-api-key": self.key, "x-user-id": user}, time.monotonic() + 60
        while time.monotonic() < deadline:
            for server in self.running[::-1]:
                try:
                    response = httpx.request(method, server.url + path, headers=headers, timeout=20, **options)
                except httpx.TransportError:
                    continue
                if response.status_code < 500:
                    assert response.status_code < 300, response.text
                    return
            time.sleep(0.05)
        raise AssertionError(f"{method} {path} had no answer for a minute")

    def command(self, *arguments):
        return agent_auth.run(*arguments, settings=self.settings)

    def stop(self):
        for server in self.running:
            server.stop()


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.shutdown()


@pytest.fixture(params=["sqlite", "postgres"])
def servers(request, tmp_path):
    """One on SQLite, two on PostgreSQL."""
    settings = {
        "DATA_DIR": str(tmp_path / "data"),
        "ALLOW_PRIVATE_UPSTREAMS": "true",
        # How long a delivery of a server that was killed is left to it follows from this.
        "PROVIDER_TIMEOUT_SECONDS": "2",
    }
    if request.param == "postgres":
        settings |= agent_auth.new_postgres_database()
    servers = Servers(tmp_path, settings, 2 if request.param == "postgres" else 1)
    yield servers
    servers.stop()


def use(servers, user):
    """All that one user does: grants that replace each other, and the end of the token."""
    asked = {"provider": "acme", "scopes": ["read"], "user_id": user, "force_new": True}
    for _ in range(GRANTS):
        servers.request("POST", "/v2/auth/authenticate", user, json=asked)
    servers.request("DELETE", "/v2/auth/tokens", user, params={"provider_id": "acme"})


def test_three_killed_servers_and_a_failing_receiver_lose_no_event_and_keep_the_order_of_each_token(servers, receiver):
    receiver.verifier = Webhook(servers.command("webhook", "add", f"{receiver.url}/webhook").strip())
    webhook = json.loads(servers.command("webhook", "list", "--json"))
    credentials = {"client_id": "agent", "client_secret": "secret", "grant_type": "client_credentials"}
    endpoints = {"provider_id": "acme", "name": "Acme", "token_url": f"{receiver.url}/token"}
    servers.request("POST", "/v2/auth/providers", "operator", json=endpoints | credentials)

    def wait_for(holds):
        deadline = time.monotonic() + 240
        while not holds():
            assert time.monotonic() < deadline, f"{receiver.attempts} attempts"
            # An operator need not wait for the next attempts, which come later and later.
            servers.command("webhook", "replay", webhook["id"], "--since", "2100-01-01T00:00:00Z")

    def deliveries(state):
        listed = servers.command("webhook", "deliveries", webhook["id"], "--state", state, "--json")
        return [json.loads(line) for line in listed.splitlines()]

    with ThreadPoolExecutor(USERS) as pool:
        using = [pool.submit(use, servers, f"user-{user}") for user in range(USERS)]
        for kill in range(KILLS):
            wait_for(lambda: receiver.attempts > (kill + 1) * EVENTS // (KILLS + 1))
            servers.kill_one()
        for user in using:
            user.result()
    wait_for(lambda: deliveries("waiting") == [])
    assert deliveries("dead") == []

    happened = collections.defaultdict(list)
    for line in servers.command("audit", "export").splitlines():
        event = json.loads(line)
        if event["event"] in REPORTED:
            happened[event["token_id"]].append((REPORTED[event["event"]], datetime.fromisoformat(event["at"])))
    delivered, ids = collections.defaultdict(list), set()
    for identifier, message in receiver.taken:
        if identifier not in ids:
            ids.add(identifier)
            delivered[message["data"]["token_id"]].append((message["type"], datetime.fromisoformat(message["timestamp"])))
    assert sum(map(len, happened.values())) >= EVENTS and len(happened) == USERS
    assert delivered == happened
    failed = sum(receiver.failures.values()) / receiver.attempts
    assert 0.4 < failed < 0.6, f"{failed:.0%} of {receiver.attempts} attempts"
    assert len(receiver.taken) > len(ids), "some came more than once"
