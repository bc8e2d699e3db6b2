"""Tokens for the official MCP client (`pip install 'agent-auth[mcp]'`)."""

from __future__ import annotations

import httpx2

from .tokens import AuthFlow, TokenSource


class McpTokenAuth(AuthFlow, httpx2.Auth):
    """The same as `TokenAuth`, for the HTTP client that `mcp` uses."""


def http_client(tokens: TokenSource, url: str) -> httpx2.AsyncClient:
    """An HTTP client for `mcp.client.streamable_http.streamable_http_client`, which sends the token to this server only.

    Example:
        async with http_client(tokens, url) as http, mcp.Client(streamable_http_client(url, http_client=http)) as client:
            ...
    """
    # A server may keep the stream of a response open for long; these are the times of mcp's own HTTP client.
    return httpx2.AsyncClient(auth=McpTokenAuth(tokens, url), timeout=httpx2.Timeout(30, read=300))
