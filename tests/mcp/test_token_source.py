"""`agent_auth.mcp` of clients/python: the official client at a protected server, with tokens that are replaced when they must be."""

import asyncio

import pytest
from agent_auth import Client, TokenSource
from agent_auth.mcp import http_client
from mcp.client import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from browser import browser, press, walk
from sdk_server import SdkServer


@pytest.fixture
def server():
    running = SdkServer()
    yield running
    running.stop()


@pytest.fixture
def tokens(agent, provider_id, server, broker, api_key):
    """The tokens of alice at the server, who approves each consent; `consents` are their URLs."""
    agent.discover(provider_id, server.url)

    def approve(auth):
        tokens.consents.append(auth.url)
        with browser() as tab:
            press(tab, walk(tab, auth.url), "Approve")

    tokens = TokenSource(Client(api_key, broker.url), provider_id, [], "alice", on_consent=approve)
    tokens.consents = []
    return tokens


async def owners(server, tokens, *between):
    """What the tool `owner` says, first and after each of these actions, in one session."""
    said = []
    async with (
        http_client(tokens, server.url) as http,
        McpClient(streamable_http_client(server.url, http_client=http)) as client,
    ):
        for action in (lambda: None, *between):
            action()
            said.append((await client.call_tool("owner")).content[0].text)
    return said


def test_a_session_needs_one_consent(server, tokens):
    assert asyncio.run(owners(server, tokens, lambda: None)) == ["alice", "alice"]
    assert len(tokens.consents) == 1


def test_a_token_that_the_server_rejects_is_refreshed_within_the_session(server, tokens):
    assert asyncio.run(owners(server, tokens, server.grants.access.clear)) == ["alice", "alice"]
    assert len(server.grants.used) == 1 and len(tokens.consents) == 1


def test_a_grant_that_is_gone_is_consented_to_again(server, tokens):
    def end():
        server.grants.access.clear()
        server.grants.refresh.clear()

    assert asyncio.run(owners(server, tokens, end)) == ["alice", "alice"]
    assert len(tokens.consents) == 2
