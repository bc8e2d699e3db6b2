"""oidc-provider, a certified authorization server, with a resource beside it: found, consented to, renewed, revoked."""

import json
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from browser import authorization_url, browser, press, walk
from nodejs import NODE

SCRIPT = Path(__file__).parent / "oidc_provider.mjs"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Its two addresses: `issuer`, `resource`."""
    log = tmp_path_factory.mktemp("oidc-provider") / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen([NODE, SCRIPT], stdout=subprocess.PIPE, stderr=sink, text=True)
    try:
        addresses = next((line for line in process.stdout if line.startswith("{")), None)
        assert addresses, f"oidc-provider did not start:\n{log.read_text()}"
        yield SimpleNamespace(**json.loads(addresses))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def sign_in_and_consent(url):
    with browser() as tab:
        page = walk(tab, url)
        page = press(tab, page, "Sign-in", login="alice", password="any")
        return press(tab, page, "Continue")


def account(server, token=None):
    """Whose account the resource sees, or None where it answers 401."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = httpx.post(server.resource, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=headers)
    assert answer.status_code in (200, 401), answer.text
    return answer.json()["result"]["account"] if answer.is_success else None


def test_discovery_finds_the_authorization_server_through_the_resource(agent, provider_id, server):
    found = agent.discover(provider_id, server.resource)
    assert (found["issuer"], found["resource"]) == (server.issuer, server.resource)
    assert found["auth_url"] == f"{server.issuer}/auth"
    assert found["is_dynamic_client"] is True and found["client_id"]
    assert "notes:read" in found["default_scopes"]


def test_a_person_who_signs_in_and_consents_opens_the_resource(agent, provider_id, server):
    agent.discover(provider_id, server.resource)
    asked = parse_qs(urlsplit(authorization_url(agent.authenticate(provider_id)["url"])).query)
    assert asked["resource"] == [server.resource]
    assert account(server) is None
    token = agent.consent(provider_id, sign_in_and_consent)
    assert account(server, token) == "alice"


def test_a_person_can_be_asked_for_more_than_the_resource_asks_for_at_first(agent, provider_id, server):
    agent.discover(provider_id, server.resource)
    agent.consent(provider_id, sign_in_and_consent)
    challenge = 'Bearer error="insufficient_scope", scope="notes:write"'
    token = agent.consent(provider_id, sign_in_and_consent, challenge=challenge)
    assert account(server, token) == "alice"
    assert agent.kept(provider_id, scopes=["notes:read", "notes:write"]) == token


def test_refresh_tokens_that_are_used_once_renew_the_token_again_and_again(agent, provider_id, server):
    agent.discover(provider_id, server.resource)
    tokens = [agent.consent(provider_id, sign_in_and_consent)]
    for _ in range(3):
        tokens.append(agent.next_token(provider_id, tokens[-1]))
        assert account(server, tokens[-1]) == "alice"
    assert len(set(tokens)) == 4


def test_a_deleted_token_is_revoked_there(agent, provider_id, server):
    agent.discover(provider_id, server.resource)
    token = agent.consent(provider_id, sign_in_and_consent)
    assert account(server, token) == "alice"
    agent.delete_token(provider_id)
    deadline = time.monotonic() + 20
    while account(server, token) is not None:
        assert time.monotonic() < deadline, "the resource still takes the token"
        time.sleep(0.1)
