"""The access token of one user at one provider: got, kept, refreshed, and reported when an API rejects it."""

from __future__ import annotations

import asyncio
import inspect
from datetime import datetime, timedelta, timezone
from typing import Any, Awaitable, Callable, Optional, Union

import httpx

from .client import Auth, Client

# A token is kept in memory for this long at most, so that one that was deleted at the server is not used for hours.
KEEP = timedelta(minutes=5)


class ConsentRequired(Exception):
    """A person must consent first: send them to `auth.url`, or show them `auth.user_code`. Then try again."""

    def __init__(self, auth: Auth):
        super().__init__(f"A person must consent first: {auth.url or auth.verification_uri}")
        self.auth = auth


class TokenSource:
    """A valid access token, whenever one is needed.

    Args:
        provider, scopes, user_id, agent_id: Whose token, as in `Client.authenticate`.
        grant: `"device"` asks for consent on another device.
        min_ttl: The token is valid for at least this many seconds.
        on_consent: Called with the `Auth` when a person must consent. It shows them the `url`, or with `grant="device"` the
            `user_code`; the source then waits for the consent. Without it, `ConsentRequired` is raised.
        consent_timeout: Seconds to wait for the person.
    """

    def __init__(
        self,
        client: Client,
        provider: str,
        scopes: list[str],
        user_id: Optional[str] = None,
        *,
        agent_id: Optional[str] = None,
        grant: Optional[str] = None,
        min_ttl: int = 60,
        on_consent: Optional[Callable[[Auth], Union[None, Awaitable[None]]]] = None,
        consent_timeout: int = 300,
    ):
        self._client = client
        self._request = dict(
            provider=provider, scopes=scopes, user_id=user_id, agent_id=agent_id, grant=grant, min_ttl=min_ttl
        )
        self._on_consent = on_consent
        self._consent_timeout = consent_timeout
        self._lock = asyncio.Lock()
        self._auth: Optional[Auth] = None
        self._fresh_until = datetime.min.replace(tzinfo=timezone.utc)

    async def token(self) -> str:
        """The access token."""
        async with self._lock:
            if self._auth is None or datetime.now(timezone.utc) >= self._fresh_until:
                await self._get()
            return self._auth.token

    async def replace(self, rejected: str) -> str:
        """Reports the token that an API rejected with 401, and returns another one."""
        async with self._lock:
            # Another request may have replaced it meanwhile.
            if self._auth is not None and self._auth.token == rejected:
                await self._client.report_invalid(self._auth.metadata["token_id"], rejected)
                await self._get()
            elif self._auth is None:
                await self._get()
            return self._auth.token

    async def extend(self, challenge: str) -> str:
        """A token that also has the scopes that this `WWW-Authenticate` header names."""
        async with self._lock:
            await self._get(challenge)
            return self._auth.token

    async def _get(self, challenge: Optional[str] = None) -> None:
        self._auth = None
        auth = await self._client.authenticate(**self._request, challenge=challenge)
        if auth.status != "completed":
            if self._on_consent is None or auth.auth_id is None:
                raise ConsentRequired(auth)
            shown = self._on_consent(auth)
            if inspect.isawaitable(shown):
                await shown
            await self._client.wait_for_completion(auth.auth_id, timeout=self._consent_timeout)
            auth = await self._client.authenticate(**self._request, challenge=challenge)
            if auth.status != "completed":
                raise ConsentRequired(auth)
        self._auth = auth
        self._fresh_until = datetime.now(timezone.utc) + KEEP
        if expires_at := auth.metadata.get("expires_at"):
            expiry = datetime.fromisoformat(expires_at.replace("Z", "+00:00"))
            self._fresh_until = min(self._fresh_until, expiry - timedelta(seconds=self._request["min_ttl"]))


class AuthFlow:
    """What an `Auth` class of httpx, or of one with its interface, does with each request.

    Args:
        tokens: Where the tokens come from.
        url: The API's address. Requests to any other scheme, host and port are sent without the token.
    """

    def __init__(self, tokens: TokenSource, url: str):
        self._tokens = tokens
        self._origin = _origin(httpx.URL(url))

    async def async_auth_flow(self, request: Any):
        if _origin(request.url) != self._origin:
            yield request
            return
        await request.aread()  # so that it can be sent again
        token = await self._tokens.token()
        request.headers["authorization"] = f"Bearer {token}"
        response = yield request
        challenge = response.headers.get("www-authenticate", "")
        if response.status_code == 401:
            token = await self._tokens.replace(token)
        elif response.status_code == 403 and "insufficient_scope" in challenge:
            token = await self._tokens.extend(challenge)
        else:
            return
        request.headers["authorization"] = f"Bearer {token}"
        yield request

    def sync_auth_flow(self, request: Any):
        raise RuntimeError("agent-auth's tokens need an AsyncClient.")


class TokenAuth(AuthFlow, httpx.Auth):
    """Sends the token with the requests of an `httpx.AsyncClient`. If the API rejects it, another one is tried, once."""


def _origin(url: Any) -> tuple:
    return url.scheme, url.host, url.port
