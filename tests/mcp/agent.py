"""The broker as those who use it over HTTP see it: an operator who connects a server, an agent who needs a token.

Must not know: what server is connected.
"""

import time

import httpx

from browser import words


class Refused(AssertionError):
    """An answer of the broker that is not the one hoped for."""

    def __init__(self, what, status, body):
        super().__init__(f"{what}: {status} {body}")
        self.status, self.body = status, body


class Agent:
    def __init__(self, url, api_key):
        self.url = url
        self._http = httpx.Client(base_url=url, headers={"x-api-key": api_key}, timeout=60)

    def call(self, method, path, body=None):
        answer = self._http.request(method, path, json=body)
        if not answer.is_success:
            raise Refused(f"{method} {path}", answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def discover(self, provider_id, mcp_server_url, **options):
        """Connects the server at this address as a provider."""
        asked = {"provider_id": provider_id, "name": "A discovered server", "mcp_server_url": mcp_server_url} | options
        while True:
            try:
                return self.call("POST", "/v2/auth/providers/mcp-discover", asked)
            except Refused as refused:
                # Others of the workspace are at it: a few may be at a time.
                if refused.status != 429:
                    raise
                time.sleep(0.5)

    def authenticate(self, provider_id, **options):
        """Asks for alice's token, with the provider's default scopes."""
        asked = {"provider": provider_id, "scopes": [], "user_id": "alice"} | options
        return self.call("POST", "/v2/auth/authenticate", asked)

    def consent(self, provider_id, walk, **options):
        """The whole way once: pending, `walk` in the browser from the URL to the last page, wait. Returns the token."""
        pending = self.authenticate(provider_id, **options)
        assert pending["status"] == "pending", pending
        page = walk(pending["url"])
        if page.status_code != 200 or not str(page.url).startswith(self.url):
            raise Refused(f"the person ended on {page.url}", page.status_code, words(page.text))
        done = self.call("GET", f"/v2/auth/wait/{pending['auth_id']}?timeout=20")
        if done["status"] != "completed":
            raise Refused("wait", 200, done)
        return done["token"]

    def kept(self, provider_id, **options):
        """The token that `authenticate` has without asking the person again."""
        done = self.authenticate(provider_id, **options)
        assert done["status"] == "completed", done
        return done["token"]

    def next_token(self, provider_id, token):
        """What the broker has in place of `token` for a job as long as a token lives: from a tenth of its life on."""
        deadline = time.monotonic() + 20
        while (kept := self.kept(provider_id, min_ttl=86400)) == token:
            assert time.monotonic() < deadline, "the broker does not renew the token"
            time.sleep(0.1)
        return kept

    def delete_token(self, provider_id):
        tokens = self.call("GET", f"/v2/auth/tokens?provider_id={provider_id}")
        assert len(tokens) == 1, tokens
        self.call("DELETE", f"/v2/auth/tokens/{tokens[0]['id']}")
