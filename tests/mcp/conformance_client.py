"""The client that the conformance suite runs: an agent that leaves all of OAuth to the broker.

The suite appends its server's address to the command, and says in the environment which scenario it is, which revision
of the protocol to speak, and what else a person would know (a client registered by hand). What came of it is the last
line on stdout: the tool was `called`, or the way ended at `discovery`, at `consent` or at the `call`.
"""

import json
import os
import secrets
import sys

import httpx

from agent import Agent, Refused
from browser import browse

STATELESS = "2026-07-28"
CHALLENGES_MAX = 2  # the times that more scopes are asked for before it gives up
CLIENT = {"name": "agent-auth-tests", "version": "1"}
# An operator who publishes a client id metadata document hands its address in as the client's id.
DOCUMENT = {"auth/basic-cimd": "https://conformance-test.local/client-metadata.json"}


class Ended(Exception):
    """How far it went."""


class Mcp:
    """An MCP client on streamable HTTP, just large enough; the answers' HTTP statuses are what it is after."""

    def __init__(self, url, version):
        self._url, self._version, self._http, self._id = url, version, httpx.Client(timeout=30), 0

    def send(self, token, method, params=None):
        """Sends a request, or a notification, and returns the HTTP response."""
        headers = {"accept": "application/json, text/event-stream"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if not method.startswith("notifications/"):
            self._id += 1
            message["id"] = self._id
        if method != "initialize":
            headers["mcp-protocol-version"] = self._version
        if self._version == STATELESS:
            headers["mcp-method"] = method
            if "name" in message["params"]:
                headers["mcp-name"] = message["params"]["name"]
            about = {"protocolVersion": self._version, "clientInfo": CLIENT, "clientCapabilities": {}}
            message["params"]["_meta"] = {f"io.modelcontextprotocol/{name}": value for name, value in about.items()}
        return self._http.post(self._url, json=message, headers=headers)


class Person:
    """One person's connection to one server."""

    def __init__(self, agent, url, scenario, context):
        self._agent, self._url, self._provider = agent, url, f"c-{secrets.token_hex(6)}"
        self._given = {name: context[name] for name in ("client_id", "client_secret") if name in context}
        if scenario in DOCUMENT:
            self._given = {"client_id": DOCUMENT[scenario], "token_endpoint_auth_method": "none"}
        if scenario == "auth/client-credentials-basic":
            self._given["grant_type"] = "client_credentials"
        self._connected = False

    def connect(self, challenge):
        """A token, where there was none. A provider whose token is refused is discovered anew."""
        if self._connected:
            self._agent.call("DELETE", f"/v2/auth/providers/{self._provider}")
        try:
            self._agent.discover(self._provider, self._url, **self._given)
        except Refused as refused:
            print(refused, file=sys.stderr)
            raise Ended("discovery") from None
        self._connected = True
        return self.ask(challenge)

    def ask(self, challenge):
        """A token that meets the challenge."""
        options = {"challenge": challenge} if challenge else {}
        try:
            answer = self._agent.authenticate(self._provider, **options)
            if answer["status"] == "completed":
                return answer["token"]
            return self._agent.consent(self._provider, browse, **options)
        except Refused as refused:
            print(refused, file=sys.stderr)
            raise Ended("consent") from None


def run(mcp, person, version):
    token = None

    def send(method, params=None):
        nonlocal token
        challenges, connections = 0, 0
        while True:
            answer = mcp.send(token, method, params)
            if answer.is_success:
                assert '"error"' not in answer.text, answer.text
                return
            # Discovery meets the challenge to `initialize` itself. One that comes later only the agent has seen.
            challenge = answer.headers.get("www-authenticate") if method != "initialize" else None
            if answer.status_code == 401 and connections == 0:
                connections += 1
                token = person.connect(challenge)
            elif answer.status_code == 403 and challenges < CHALLENGES_MAX:
                challenges += 1
                token = person.ask(challenge)
            else:
                print(method, answer.status_code, answer.text, file=sys.stderr)
                raise Ended("call")

    if version != STATELESS:
        send("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT})
        send("notifications/initialized")
    send("tools/list")
    send("tools/call", {"name": "test-tool", "arguments": {}})


def main():
    scenario, version = os.environ["MCP_CONFORMANCE_SCENARIO"], os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]
    if not scenario.startswith("auth/"):
        return
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    agent = Agent(os.environ["TEST_BROKER_URL"], os.environ["TEST_BROKER_KEY"])
    url = sys.argv[-1]
    try:
        run(Mcp(url, version), Person(agent, url, scenario, context), version)
    except Ended as ended:
        print(json.dumps({"outcome": str(ended)}))
        sys.exit(1)
    print(json.dumps({"outcome": "called"}))


if __name__ == "__main__":
    main()
