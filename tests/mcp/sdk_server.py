"""An MCP server made with the official Python SDK, which is its own authorization server, and a client of it.

The SDK owns the wire: metadata, registration, PKCE, client authentication, the bearer check. Here is what the SDK asks
its users to write: who signs in, which tokens there are, and one tool.
"""

import secrets
import time
from dataclasses import dataclass, field
from threading import Thread

import httpx2
import uvicorn
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from starlette.responses import HTMLResponse, RedirectResponse

from broker import free_port

SCOPES = ["notes:read", "notes:write"]
NEEDED = ["notes:read"]


class SdkServer:
    """The running server. It asks for `NEEDED`, and takes tokens issued for itself alone."""

    def __init__(self, registration=True):
        origin = f"http://127.0.0.1:{free_port()}"
        self.issuer, self.url = origin, f"{origin}/mcp"
        self.grants = Grants(f"{origin}/approve")
        server = MCPServer(
            "notes",
            auth_server_provider=self.grants,
            log_level="ERROR",
            auth=AuthSettings(
                issuer_url=origin,
                resource_server_url=self.url,
                validate_token_resource=True,
                required_scopes=NEEDED,
                client_registration_options=ClientRegistrationOptions(
                    enabled=registration, valid_scopes=SCOPES, default_scopes=SCOPES
                ),
                revocation_options=RevocationOptions(enabled=True),
            ),
        )
        server.custom_route("/approve", methods=["GET", "POST"])(self.grants.approve)

        @server.tool()
        def owner() -> str:
            """Whose notes these are."""
            return get_access_token().subject

        port = int(origin.rpartition(":")[2])
        app = server.streamable_http_app()
        self._http = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=2))
        self._thread = Thread(target=self._http.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._http.started:
            assert self._thread.is_alive() and time.monotonic() < deadline, "the MCP server did not start"
            time.sleep(0.02)

    def stop(self):
        self._http.should_exit = True
        self._thread.join()


@dataclass
class Grants(OAuthAuthorizationServerProvider):
    """The tokens of one person, alice. Refresh tokens are used once: one that comes back ends the grant."""

    page: str
    lifetime: int = 3600  # seconds, of the access tokens to come
    clients: dict = field(default_factory=dict)
    asked: dict = field(default_factory=dict)  # authorization requests that wait for the person
    codes: dict = field(default_factory=dict)
    access: dict = field(default_factory=dict)
    refresh: dict = field(default_factory=dict)
    used: list = field(default_factory=list)  # refresh tokens, each time one came

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client_info):
        self.clients[client_info.client_id] = client_info

    def preregister(self, client_id, client_secret, redirect_uri, method):
        self.clients[client_id] = OAuthClientInformationFull(
            client_id=client_id,
            client_secret=client_secret,
            redirect_uris=[redirect_uri],
            token_endpoint_auth_method=method,
            scope=" ".join(SCOPES),
        )

    async def authorize(self, client, params):
        request = secrets.token_urlsafe(16)
        self.asked[request] = client, params
        return f"{self.page}?request={request}"

    async def approve(self, request):
        """The page where the person says yes."""
        if request.method == "GET":
            return HTMLResponse('<form method="post"><button>Approve</button></form>')
        client, params = self.asked.pop(request.query_params["request"])
        code = AuthorizationCode(
            code=secrets.token_urlsafe(24),
            scopes=params.scopes or NEEDED,
            expires_at=time.time() + 60,
            client_id=client.client_id,
            subject="alice",
            **params.model_dump(
                include={"code_challenge", "redirect_uri", "redirect_uri_provided_explicitly", "resource"}
            ),
        )
        self.codes[code.code] = code
        url = construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)
        return RedirectResponse(url, status_code=302)

    async def load_authorization_code(self, client, authorization_code):
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(self, client, authorization_code):
        return self._issue(self.codes.pop(authorization_code.code))

    async def load_refresh_token(self, client, refresh_token):
        if refresh_token in self.used:
            self.used.append(refresh_token)
            self._end(client.client_id)
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(self, client, refresh_token, scopes):
        self.used.append(refresh_token.token)
        return self._issue(self.refresh.pop(refresh_token.token))

    async def load_access_token(self, token):
        return self.access.get(token)

    async def revoke_token(self, token):
        self._end(token.client_id)

    def _issue(self, grant):
        kept = grant.model_dump(include={"client_id", "scopes", "resource", "subject"})
        access = AccessToken(
            token=f"at-{secrets.token_urlsafe(24)}", expires_at=int(time.time()) + self.lifetime, **kept
        )
        refresh = RefreshToken(token=f"rt-{secrets.token_urlsafe(24)}", **kept)
        self.access[access.token], self.refresh[refresh.token] = access, refresh
        return OAuthToken(
            access_token=access.token,
            expires_in=self.lifetime,
            refresh_token=refresh.token,
            scope=" ".join(access.scopes),
        )

    def _end(self, client_id):
        for tokens in (self.access, self.refresh):
            for token in [token for token, grant in tokens.items() if grant.client_id == client_id]:
                del tokens[token]


async def owner(url, token=None):
    """What the tool `owner` says to this token through the SDK's client, or None where the server answers 401."""
    statuses = []

    async def note(response):
        statuses.append(response.status_code)

    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            httpx2.AsyncClient(headers=headers, event_hooks={"response": [note]}, timeout=20) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            result = await client.call_tool("owner")
    except Exception:
        if 401 in statuses:
            return None
        raise
    assert not result.is_error, result
    return result.content[0].text
