"""The SDK's client, with what agent-auth adds to the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional
from urllib.parse import quote

import httpx
import langchain_auth
from langchain_auth import client as sdk


@dataclass
class Auth(langchain_auth.AuthResult):
    """The answer of `authenticate`. `status`, `token`, `url` and `auth_id` are those of the SDK."""

    metadata: dict = field(default_factory=dict)
    """Details of the token, such as its `token_id` and `expires_at`."""
    user_code: Optional[str] = None
    """With `grant="device"`: what the person enters at `verification_uri`, within `expires_in` seconds."""
    verification_uri: Optional[str] = None
    verification_uri_complete: Optional[str] = None
    expires_in: Optional[int] = None


class ApiError(Exception):
    """The server answered with an error. `code` is one of the API's, or None; `retry_after` is in seconds, or None."""

    def __init__(self, response: httpx.Response):
        try:
            body = response.json()
        except ValueError:
            body = None  # a page of a proxy
        body = body if isinstance(body, dict) else {}
        super().__init__(f"HTTP {response.status_code}: {body.get('detail') or response.reason_phrase}")
        self.status: int = response.status_code
        self.code: Optional[str] = body.get("code")
        retry_after = response.headers.get("retry-after", "")
        self.retry_after: Optional[int] = int(retry_after) if retry_after.isdecimal() else None


class Client(langchain_auth.Client):
    """`langchain_auth.Client` with more fields for `authenticate`, and with `report_invalid` and `confirm`.

    Args:
        api_key: If absent, the environment variable LANGSMITH_API_KEY.
        api_url: The server's address. If absent, the environment variable LANGSMITH_API_URL.
        user_id: The user that a service key acts for: sent as `X-User-Id` with every call, and the default of `authenticate`.
        timeout: Seconds for one request. The SDK's own methods have five, and `wait_for_completion` as long as it waits.
    """

    def __init__(
        self,
        api_key: Optional[str] = None,
        api_url: Optional[str] = None,
        user_id: Optional[str] = None,
        timeout: float = 30,
    ):
        super().__init__(api_key, api_url)
        self.user_id = user_id
        self.timeout = timeout

    def _get_headers(self, include_content_type: bool = False) -> dict:
        headers = super()._get_headers(include_content_type)
        return headers | {"x-user-id": self.user_id} if self.user_id else headers

    async def authenticate(
        self,
        provider: str,
        scopes: list[str],
        user_id: Optional[str] = None,
        ls_user_id: Optional[str] = None,
        agent_id: Optional[str] = None,
        extra_headers: Optional[dict] = None,
        *,
        min_ttl: Optional[int] = None,
        grant: Optional[str] = None,
        challenge: Optional[str] = None,
        return_url: Optional[str] = None,
    ) -> Auth:
        """Returns an access token, or starts a consent. In a LangGraph graph, a consent interrupts the graph.

        A graph that is resumed before the person consented is interrupted again.

        Args:
            min_ttl: The token is valid for at least this many seconds.
            grant: `"device"` starts device authorization: show the person `user_code` and `verification_uri`.
            challenge: The `WWW-Authenticate` header of an API: the scopes that it names are requested too.
            return_url: One of the provider's `return_urls`, to which the browser goes after the consent.
        """
        in_graph = sdk.in_langgraph_context()
        if agent_id is None and in_graph:
            agent_id = sdk.get_config().get("configurable", {}).get("assistant_id")
        body = {
            "provider": provider,
            "scopes": scopes,
            "user_id": user_id or self.user_id,
            "ls_user_id": ls_user_id,
            "agent_id": agent_id,
            "min_ttl": min_ttl,
            "grant": grant,
            "challenge": challenge,
            "return_url": return_url,
        }
        answer = await self._post("authenticate", body, extra_headers)
        known = {name: answer[name] for name in Auth.__dataclass_fields__ if answer.get(name) is not None}
        result = Auth(**known)
        # An interrupt returns once for each time that the graph was resumed, and then ends the node.
        while in_graph and result.status != "completed":
            sdk.interrupt(
                {
                    "message": f"OAuth authentication required for provider '{provider}'.",
                    "auth_url": result.url,
                    "provider": provider,
                    "scopes": scopes,
                }
            )
        return result

    async def report_invalid(self, token_id: str, token: str) -> dict:
        """Reports that an API rejected a token.

        Returns:
            `status`: `refreshed`, with a new `token` and its `expires_at`; or `consent_needed`.
        """
        return await self._post(f"tokens/{quote(token_id, safe='')}/report-invalid", {"token": token})

    async def confirm(self, auth_id: str, user_id: str, reference: str) -> None:
        """Says which user consented, for consents in the mode `verify`. There is a token only after this.

        Args:
            user_id: The user who is signed in to your application in the browser that came back.
            reference: The `reference` with which it came back.
        """
        await self._post(f"authorizations/{quote(auth_id, safe='')}/confirm", {"user_id": user_id, "reference": reference})

    async def _post(self, path: str, body: dict, extra_headers: Optional[dict] = None) -> dict[str, Any]:
        body = {name: value for name, value in body.items() if value is not None}
        async with httpx.AsyncClient(timeout=self.timeout) as http:
            response = await http.post(
                f"{self.api_url}{self.API_PREFIX}/{path}", json=body, headers=self._get_headers() | (extra_headers or {})
            )
        if response.status_code != 200:
            raise ApiError(response)
        return response.json()
