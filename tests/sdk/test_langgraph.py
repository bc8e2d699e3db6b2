"""The SDK inside a LangGraph graph: the graph is interrupted with the URL, and goes on with the token."""

import asyncio
from typing import Optional, TypedDict

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from browser import browse


class State(TypedDict):
    token: Optional[str]


@pytest.fixture
def graph(client, provider):
    """A graph of one node that needs a token, and counts how often it ran."""

    async def call_the_api(state: State) -> State:
        compiled.runs += 1
        result = await client.authenticate(provider=provider, scopes=["read"], user_id="alice")
        return {"token": result.token}

    builder = StateGraph(State)
    builder.add_node("call_the_api", call_the_api)
    builder.add_edge(START, "call_the_api")
    builder.add_edge("call_the_api", END)
    compiled = builder.compile(checkpointer=InMemorySaver())
    compiled.runs = 0
    return compiled


def invoke(graph, value, thread, **configurable):
    return asyncio.run(graph.ainvoke(value, {"configurable": {"thread_id": thread} | configurable}))


def test_the_graph_is_interrupted_and_resumes_with_the_token(graph, client, provider, upstream, person):
    interrupted = invoke(graph, {"token": None}, "thread")
    [interrupt] = interrupted["__interrupt__"]
    assert interrupt.value["provider"] == provider
    assert interrupt.value["scopes"] == ["read"]
    assert provider in interrupt.value["message"]

    assert browse(interrupt.value["auth_url"]).status_code == 200
    resumed = invoke(graph, Command(resume=True), "thread")
    assert resumed["token"] == upstream.access_tokens[0]
    assert "__interrupt__" not in resumed
    assert graph.runs == 2, "the node runs again from its start"
    assert person.authenticate(client, ["read"]).token == resumed["token"]


def test_a_graph_with_a_token_is_not_interrupted(graph, client, provider, person):
    token = person.consent(client, ["read"])
    assert invoke(graph, {"token": None}, "thread") == {"token": token}
    assert graph.runs == 1


def test_resuming_before_consent_says_so(graph, provider, upstream):
    invoke(graph, {"token": None}, "thread")
    with pytest.raises(ValueError, match="not completed"):
        invoke(graph, Command(resume=True), "thread")
    assert upstream.token_requests == []


def test_the_assistant_becomes_the_agent_whose_token_it_is(graph, client, provider, upstream, person):
    interrupted = invoke(graph, {"token": None}, "thread", assistant_id="assistant-one")
    browse(interrupted["__interrupt__"][0].value["auth_url"])
    token = invoke(graph, Command(resume=True), "thread", assistant_id="assistant-one")["token"]
    assert token == upstream.access_tokens[0]

    assert person.authenticate(client, ["read"], agent_id="assistant-one").token == token
    assert person.authenticate(client, ["read"]).status == "pending"
    other = invoke(graph, {"token": None}, "other-thread", assistant_id="assistant-two")
    assert other["__interrupt__"][0].value["auth_url"]


def test_a_person_is_shown_where_to_go_on_when_the_agent_has_no_fitting_connection(
    graph, client, provider, upstream, person, broker
):
    person.consent(client, ["read"], "bob")
    with httpx.Client(base_url=broker.url, headers={"x-api-key": broker.api_key}) as admin:
        [token] = admin.get(f"/v2/auth/tokens?provider_id={provider}").raise_for_status().json()
        connections = "/v2/auth/agents/assistant-two/connections"
        admin.post(connections, json={"oauth_token_id": token["id"]}).raise_for_status()

    interrupted = invoke(graph, {"token": None}, "thread", assistant_id="assistant-two")
    [interrupt] = interrupted["__interrupt__"]
    assert interrupt.value["auth_url"].startswith(f"{broker.url}/connect/link/"), interrupt.value
    assert len(upstream.token_requests) == 1, "nothing is begun before the person acts"
    assert browse(interrupt.value["auth_url"]).status_code == 200
    resumed = invoke(graph, Command(resume=True), "thread", assistant_id="assistant-two")
    assert resumed["token"] == upstream.access_tokens[1]
