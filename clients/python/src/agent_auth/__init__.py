"""Additions to `langchain-auth` for agent-auth.

`Client` is the SDK's client with more; `TokenSource` keeps the token of one user at one provider; `TokenAuth` sends it with the
requests of an `httpx.AsyncClient`. `agent_auth.mcp` does so for the official MCP client.
"""

from .client import ApiError, Auth, Client
from .tokens import ConsentRequired, TokenAuth, TokenSource

__all__ = ["ApiError", "Auth", "Client", "ConsentRequired", "TokenAuth", "TokenSource"]
