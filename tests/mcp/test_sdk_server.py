"""A server made with the official Python SDK is connected by its address alone, and its tools take the tokens."""

import asyncio
import time
from urllib.parse import parse_qs, urlsplit

import pytest

import sdk_server
from agent import Refused
from browser import authorization_url, browser, press, walk
from sdk_server import NEEDED, SCOPES, SdkServer


@pytest.fixture
def server():
    running = SdkServer()
    yield running
    running.stop()


@pytest.fixture
def server_without_registration():
    running = SdkServer(registration=False)
    yield running
    running.stop()


def approve(url):
    with browser() as tab:
        return press(tab, walk(tab, url), "Approve")


def owner(server, token=None):
    return asyncio.run(sdk_server.owner(server.url, token))


def refused_within(seconds, server, token):
    """Polls until the server refuses the token."""
    deadline = time.monotonic() + seconds
    while owner(server, token) is not None:
        assert time.monotonic() < deadline, "the server still takes the token"
        time.sleep(0.1)
    return True


def test_discovery_registers_a_client_and_knows_the_server_from_then_on(agent, provider_id, server):
    found = agent.discover(provider_id, server.url)
    assert found["provider_id"] == provider_id
    assert found["mcp_server_url"] == found["resource"] == server.url
    assert found["issuer"] == server.issuer
    assert found["auth_url"] == f"{server.issuer}/authorize"
    assert found["token_url"] == f"{server.issuer}/token"
    assert found["default_scopes"] == NEEDED
    assert found["is_dynamic_client"] is True

    (client,) = server.grants.clients.values()
    assert found["client_id"] == client.client_id
    assert [str(uri) for uri in client.redirect_uris] == [f"{agent.url}/host-oauth-callback/{provider_id}"]
    assert set(client.grant_types) == {"authorization_code", "refresh_token"}
    assert agent.call("GET", f"/v2/auth/providers/{provider_id}")["client_id"] == client.client_id


def test_a_tool_takes_the_token_of_a_person_who_approved_and_refuses_a_caller_without(agent, provider_id, server):
    agent.discover(provider_id, server.url)
    assert owner(server) is None

    pending = agent.authenticate(provider_id)
    asked = parse_qs(urlsplit(authorization_url(pending["url"])).query)
    assert asked["resource"] == [server.url]
    assert asked["scope"] == [" ".join(NEEDED)]
    assert asked["code_challenge_method"] == ["S256"]

    token = agent.consent(provider_id, approve)
    assert owner(server, token) == "alice"
    assert agent.kept(provider_id) == token


def test_an_expired_token_is_replaced_without_the_person_and_so_is_the_next(agent, provider_id, server):
    agent.discover(provider_id, server.url)
    server.grants.lifetime = 1
    first = agent.consent(provider_id, approve)
    assert refused_within(20, server, first)

    server.grants.lifetime = 20
    second = agent.kept(provider_id)
    assert second != first
    assert owner(server, second) == "alice"

    third = agent.next_token(provider_id, second)
    assert owner(server, third) == "alice"
    used = server.grants.used
    assert len(used) >= 2 and len(set(used)) == len(used), "each refresh token is used once"


def test_a_person_can_be_asked_for_more_than_the_server_asks_for_at_first(agent, provider_id, server):
    agent.discover(provider_id, server.url)
    agent.consent(provider_id, approve)
    token = agent.consent(provider_id, approve, challenge='Bearer error="insufficient_scope", scope="notes:write"')
    assert sorted(server.grants.access[token].scopes) == SCOPES
    assert owner(server, token) == "alice"


def test_a_deleted_token_is_revoked_at_the_server(agent, provider_id, server):
    agent.discover(provider_id, server.url)
    token = agent.consent(provider_id, approve)
    assert owner(server, token) == "alice"

    agent.delete_token(provider_id)
    assert refused_within(20, server, token)
    assert not server.grants.refresh
    assert agent.authenticate(provider_id)["status"] == "pending"


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_server_without_registration_says_what_to_register_and_takes_the_client_then(
    agent, provider_id, server_without_registration, method
):
    server = server_without_registration
    with pytest.raises(Refused) as refused:
        agent.discover(provider_id, server.url)
    assert refused.value.status == 409
    redirect_uri = f"{agent.url}/host-oauth-callback/{provider_id}"
    for said in ("registration_required", server.issuer, redirect_uri, "/authorize", "/token"):
        assert said in refused.value.body
    with pytest.raises(Refused):
        agent.authenticate(provider_id)

    secret = "s3cret/%&=:"
    server.grants.preregister("by-hand", secret, redirect_uri, method)
    client = {"client_id": "by-hand", "client_secret": secret, "token_endpoint_auth_method": method}
    found = agent.call("PATCH", f"/v2/auth/providers/{provider_id}", client)
    assert found["client_id"] == "by-hand" and found["is_dynamic_client"] is False
    assert owner(server, agent.consent(provider_id, approve)) == "alice"
