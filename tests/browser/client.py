"""The API as an agent uses it, over plain HTTP."""

import json
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor


class Client:
    def __init__(self, base, api_key):
        self.base = base
        self.api_key = api_key
        self.background = ThreadPoolExecutor()

    def call(self, method, path, body=None, timeout=90):
        request = urllib.request.Request(
            f"{self.base}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"x-api-key": self.api_key, "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.load(response)

    def begin(self, provider="sample"):
        """An authorization request of a person whom nobody has seen before."""
        return Request(self, provider)

    def begin_with_key(self):
        """The same at a provider whose static key the person enters here."""
        if all(provider["provider_id"] != "weather" for provider in self.call("GET", "/v2/auth/providers")):
            self.call(
                "POST", "/v2/auth/providers", {"provider_id": "weather", "name": "Weather", "grant_type": "api_key"}
            )
        return self.begin("weather")


class Request:
    def __init__(self, client, provider):
        self.client = client
        self.body = {"provider": provider, "scopes": ["profile"], "user_id": f"person-{uuid.uuid4()}"}
        answer = self.authenticate()
        assert answer["status"] == "pending", answer
        self.url = answer["url"]
        self.at_provider = None
        self.auth_id = answer["auth_id"]

    def authenticate(self):
        return self.client.call("POST", "/v2/auth/authenticate", self.body)

    def wait(self):
        """The long poll, running."""
        path = f"/v2/auth/wait/{self.auth_id}?timeout=60"
        return self.client.background.submit(self.client.call, "GET", path)

    def profile(self, token):
        """What the sample provider says to this token."""
        profile = self.at_provider.partition("?")[0].replace("/authorize", "/me")
        request = urllib.request.Request(profile, headers={"authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
