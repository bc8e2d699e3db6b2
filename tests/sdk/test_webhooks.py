"""Webhooks, as an application receives them with the library of Standard Webhooks."""

import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

import broker as agent_auth


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((dict(self.headers), body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


def command(broker, *arguments):
    return subprocess.run(
        [agent_auth.BINARY, "webhook", *arguments, *broker.workspace],
        env=agent_auth.environment(broker.settings | {"ALLOW_PRIVATE_UPSTREAMS": "true"}),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )


@pytest.fixture
def hook(broker):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.received, server.statuses = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    added = command(broker, "add", f"http://127.0.0.1:{server.server_port}/webhook")
    identifier = added.stderr.split("id ")[1].split(";")[0]

    def received(many):
        deadline = time.monotonic() + 30
        while len(server.received) < many:
            assert time.monotonic() < deadline, f"{len(server.received)} of {many} messages"
            time.sleep(0.02)
        return server.received

    yield SimpleNamespace(
        id=identifier, verifier=Webhook(added.stdout.strip()), received=received, statuses=server.statuses
    )
    command(broker, "remove", identifier)
    server.shutdown()


def test_a_connection_is_reported_and_sent_again(broker, client, hook, person, provider):
    person.consent(client, ["read"])
    ((headers, body),) = hook.received(1)
    event = hook.verifier.verify(body, headers)
    assert event["type"] == "token.connected" and event["data"]["provider_id"] == provider
    with pytest.raises(WebhookVerificationError):
        hook.verifier.verify(body.replace(b"alice", b"mallory"), headers)

    while json.loads(command(broker, "deliveries", hook.id, "--json").stdout.splitlines()[0])["state"] != "delivered":
        time.sleep(0.02)
    command(broker, "replay", hook.id, "--message", headers["webhook-id"])
    again = hook.received(2)[1]
    assert hook.verifier.verify(again[1], again[0]) == event
    assert again[0]["webhook-id"] == headers["webhook-id"]


def test_a_failed_delivery_is_repeated(client, hook, person):
    hook.statuses.append(500)
    person.consent(client, ["read"])
    (first, body), (second, repeated) = hook.received(2)
    assert first["webhook-id"] == second["webhook-id"] and body == repeated
    hook.verifier.verify(repeated, second)
