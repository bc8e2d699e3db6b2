// The client in a LangGraph.js graph: the graph is interrupted with the URL, and goes on with the token.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Annotation, Command, END, interrupt, MemorySaver, START, StateGraph } from "@langchain/langgraph";
import { approve, setUp } from "./environment.mjs";

/** A graph of one node that needs a token, and what is invoked on one thread of it. */
async function setUpGraph(node, configurable = {}) {
  const { client, provider } = await setUp();
  const state = Annotation.Root({ token: Annotation, answer: Annotation });
  const request = { provider, scopes: ["read"], userId: "ada" };
  const graph = new StateGraph(state)
    .addNode("node", () => node(client, request))
    .addEdge(START, "node")
    .addEdge("node", END)
    .compile({ checkpointer: new MemorySaver() });
  const thread = { configurable: { thread_id: "1", ...configurable } };
  return { client, provider, request, invoke: (value) => graph.invoke(value, thread) };
}

const useToken = async (client, request) => ({ token: (await client.authenticate(request)).token });
const resume = (value = true) => new Command({ resume: value });

test("the graph is interrupted as the Python SDK does it, and resumes with the token", async () => {
  const { client, invoke, provider, request } = await setUpGraph(useToken);
  const { __interrupt__: [{ value }] } = await invoke({});
  assert.deepEqual(Object.keys(value), ["message", "auth_url", "provider", "scopes"]);
  assert.equal(value.message, `OAuth authentication required for provider '${provider}'.`);
  assert.deepEqual([value.provider, value.scopes], [provider, ["read"]]);
  assert.equal(await approve(value.auth_url), 200);
  const { token } = await invoke(resume());
  assert.equal(token, (await client.authenticate(request)).token);
});

test("a graph that is resumed too early is interrupted again", async () => {
  const { invoke } = await setUpGraph(useToken);
  let state = await invoke({});
  for (let early = 0; early < 3; early += 1) {
    state = await invoke(resume());
    assert.equal(state.__interrupt__.length, 1);
  }
  await approve(state.__interrupt__[0].value.auth_url);
  assert.ok((await invoke(resume())).token);
});

test("a graph with a token is not interrupted", async () => {
  const { client, invoke, request } = await setUpGraph(useToken);
  await approve((await client.authenticate(request)).authUrl);
  assert.ok((await invoke({})).token);
});

test("an interrupt before the client's own keeps its answer", async () => {
  const { invoke } = await setUpGraph(async (client, request) => ({
    answer: interrupt("may I?"),
    ...(await useToken(client, request)),
  }));
  assert.equal((await invoke({})).__interrupt__[0].value, "may I?");
  const state = await invoke(resume("yes"));
  await approve(state.__interrupt__[0].value.auth_url);
  const { answer, token } = await invoke(resume());
  assert.equal(answer, "yes");
  assert.ok(token);
});

test("the assistant is the agent that the token is for", async () => {
  const { client, invoke, request } = await setUpGraph(useToken, { assistant_id: "one" });
  await approve((await invoke({})).__interrupt__[0].value.auth_url);
  const { token } = await invoke(resume());
  assert.equal((await client.authenticate({ ...request, agentId: "one" })).token, token);
  assert.equal((await client.authenticate(request)).status, "pending");
});
