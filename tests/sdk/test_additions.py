"""`clients/python`, the additions to the SDK: tokens for httpx, device consent, rejected tokens, the acting user."""

import asyncio
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Optional, TypedDict

import httpx
import pytest
from agent_auth import ApiError, Client, ConsentRequired, TokenAuth, TokenSource
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from browser import browse


@pytest.fixture
def agent(broker):
    """The client with the additions."""
    return Client(broker.api_key, broker.url)


@pytest.fixture
def client(agent):
    """Creates the provider, at one prefix: the other tests show that both are the same."""
    return agent


class Api:
    """An API that answers `status` to everything until it has seen the token `wanted`, or any token if that is None."""

    def __init__(self):
        self.seen, self.wanted, self.refusal = [], None, (401, {})
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
                api.seen.append((token, body, self.headers))
                status, headers = (200, {}) if token and api.wanted in (None, token) else api.refusal
                answer = json.dumps({"has_token": True, "message": "", "provider_id": ""}).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(answer)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_DELETE = do_POST

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def stop(self):
        self._http.shutdown()
        self._http.server_close()

    @property
    def tokens(self):
        return [token for token, _, _ in self.seen]


@pytest.fixture
def api():
    server = Api()
    yield server
    server.stop()


def consenting(agent, provider, scopes=("read",), **options):
    """The tokens of alice, who consents at once."""
    return TokenSource(agent, provider, list(scopes), "alice", on_consent=lambda auth: browse(auth.url), **options)


async def post(api, tokens, url=None, times=1):
    async with httpx.AsyncClient(auth=TokenAuth(tokens, api.url), timeout=30) as http:
        answers = [http.post(url or api.url, content=b"the body") for _ in range(times)]
        return [answer.status_code for answer in await asyncio.gather(*answers)]


def test_requests_carry_the_token_after_one_consent(agent, provider, upstream, api):
    assert asyncio.run(post(api, consenting(agent, provider), times=5)) == [200] * 5
    assert api.tokens == upstream.access_tokens * 5
    assert len(upstream.authorizations) == 1


def test_without_a_person_at_hand_the_consent_is_an_exception(agent, provider, api):
    with pytest.raises(ConsentRequired) as raised:
        asyncio.run(post(api, TokenSource(agent, provider, ["read"], "alice")))
    assert browse(raised.value.auth.url).status_code == 200
    assert asyncio.run(post(api, TokenSource(agent, provider, ["read"], "alice"))) == [200]


def test_a_rejected_token_is_replaced_and_the_request_sent_again(agent, provider, upstream, api):
    tokens = consenting(agent, provider)
    rejected = asyncio.run(tokens.token())
    upstream_tokens = upstream.access_tokens

    async def scenario():
        api.wanted = "the next one"
        task = asyncio.create_task(post(api, tokens))
        while len(upstream_tokens) < 2:
            await asyncio.sleep(0.01)
        api.wanted = upstream_tokens[1]
        return await task

    assert asyncio.run(scenario()) == [200]
    assert api.tokens == [rejected, upstream_tokens[1]]
    assert [body for _, body, _ in api.seen] == [b"the body"] * 2


def test_a_token_that_the_api_goes_on_rejecting_is_tried_twice(agent, provider, api):
    api.wanted = "no token at all"
    assert asyncio.run(post(api, consenting(agent, provider))) == [401]
    assert len(api.seen) == 2


def test_missing_scopes_are_asked_for(agent, provider, upstream, api):
    challenge = 'Bearer error="insufficient_scope", scope="write"'
    api.wanted, api.refusal = "none yet", (403, {"www-authenticate": challenge})
    assert asyncio.run(post(api, consenting(agent, provider))) == [403]
    assert sorted(upstream.authorizations[-1]["scope"].split()) == ["read", "write"]
    assert api.tokens == upstream.access_tokens[-2:]


def test_the_token_goes_to_the_api_and_nowhere_else(agent, provider, api):
    other = Api()
    try:
        assert asyncio.run(post(api, consenting(agent, provider), url=other.url)) == [401]
        assert other.tokens == [""]
    finally:
        other.stop()


def test_a_device_gets_a_token_when_the_person_has_entered_the_code(agent, provider, upstream):
    device = {"device_authorization_url": upstream.device_authorization_url, "client_secret": upstream.client_secret}
    httpx.patch(f"{agent.api_url}/v2/auth/providers/{provider}", json=device, headers=agent._get_headers()).raise_for_status()

    def enter_code(auth):
        httpx.get(auth.verification_uri, params={"user_code": auth.user_code}).raise_for_status()

    tokens = TokenSource(agent, provider, ["read"], "alice", grant="device", on_consent=enter_code)
    assert asyncio.run(tokens.token()) == upstream.access_tokens[0]
    assert upstream.authorizations == []


def test_errors_have_the_status_and_the_code(agent, provider):
    with pytest.raises(ApiError, match="min_ttl") as invalid:
        asyncio.run(agent.authenticate(provider, ["read"], "alice", min_ttl=-1))
    assert invalid.value.status == 422
    with pytest.raises(ApiError) as unknown:
        asyncio.run(agent.confirm("00000000-0000-4000-8000-000000000000", "alice", "none"))
    assert (unknown.value.status, unknown.value.code) == (404, "not_found")


def test_the_acting_user_goes_with_every_call(api):
    api.refusal = (200, {})
    client = Client("key", api.url, user_id="ada")
    asyncio.run(client.check_token_exists("p"))
    asyncio.run(client.revoke_tokens("p"))
    assert [headers["x-user-id"] for _, _, headers in api.seen] == ["ada", "ada"]


class State(TypedDict):
    token: Optional[str]


def test_a_graph_that_is_resumed_too_early_is_interrupted_again(agent, provider, upstream):
    async def use_token(state: State) -> State:
        return {"token": (await agent.authenticate(provider, ["read"], "alice")).token}

    builder = StateGraph(State).add_node("use_token", use_token)
    graph = builder.add_edge(START, "use_token").add_edge("use_token", END).compile(checkpointer=InMemorySaver())

    def invoke(value):
        return asyncio.run(graph.ainvoke(value, {"configurable": {"thread_id": "1"}}))

    state = invoke({"token": None})
    for _ in range(3):
        state = invoke(Command(resume=True))
        [interrupt] = state["__interrupt__"]
    assert set(interrupt.value) == {"message", "auth_url", "provider", "scopes"}
    browse(interrupt.value["auth_url"])
    assert invoke(Command(resume=True))["token"] == upstream.access_tokens[0]
