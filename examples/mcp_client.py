"""The official MCP client, with tokens that agent-auth gets and refreshes.

Connect the server once: agent-auth provider add tools --mcp "$MCP_URL"
"""

import asyncio
import os

from agent_auth import Client, TokenSource
from agent_auth.mcp import http_client
from mcp.client import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

url = os.environ["MCP_URL"]


async def main():
    tokens = TokenSource(
        Client(),  # LANGSMITH_API_URL and LANGSMITH_API_KEY
        provider="tools",
        scopes=[],  # those that the server asks for
        user_id="you",
        on_consent=lambda auth: print("Please open", auth.url, flush=True),
    )
    async with http_client(tokens, url) as http, McpClient(streamable_http_client(url, http_client=http)) as server:
        for tool in (await server.list_tools()).tools:
            print("Tool:", tool.name)


asyncio.run(main())
