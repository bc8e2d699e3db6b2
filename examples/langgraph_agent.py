"""LangGraph: a graph is interrupted with the URL for the person, and resumed after the consent.

With the additions in clients/python, a graph that is resumed too early is interrupted again.
"""

import asyncio
from typing import TypedDict

import httpx
from agent_auth import Client
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

client = Client()  # LANGSMITH_API_URL and LANGSMITH_API_KEY


class State(TypedDict):
    titles: list[str]


async def list_documents(state: State) -> State:
    # The node runs again from its start after an interrupt: do nothing before this that must happen only once.
    auth = await client.authenticate("sample", ["documents.read"], "you")
    # The demo's sample provider has its API beside its authorization page.
    api = (await client.get_oauth_provider("sample")).auth_url.replace("/authorize", "/documents")
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {auth.token}"}) as http:
        documents = (await http.get(api)).raise_for_status().json()["documents"]
    # The result goes into the state, the token does not: the checkpointer stores the state.
    return {"titles": [document["title"] for document in documents]}


builder = StateGraph(State).add_node(list_documents).add_edge(START, "list_documents").add_edge("list_documents", END)
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    thread = {"configurable": {"thread_id": "1"}}
    state = await graph.ainvoke({"titles": []}, thread)
    while "__interrupt__" in state:
        print("Please open", state["__interrupt__"][0].value["auth_url"], flush=True)
        input("Approve, then press Enter. ")
        state = await graph.ainvoke(Command(resume=True), thread)
    print("Your documents:", ", ".join(state["titles"]))


asyncio.run(main())
