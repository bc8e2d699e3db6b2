// The client in a LangGraph.js graph: the graph is interrupted with the URL, and goes on with the token.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AIMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { Annotation, Command, END, interrupt, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { z } from "zod";
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

test("a tool that a model calls interrupts the graph as well", async () => {
  const { client, provider } = await setUp();
  const readProfile = tool(
    async () => (await client.authenticate({ provider, scopes: ["read"], userId: "ada" })).token,
    { name: "read_profile", description: "Reads the profile.", schema: z.object({}) },
  );
  const call = new AIMessage({ content: "", tool_calls: [{ name: "read_profile", args: {}, id: "1", type: "tool_call" }] });
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("tools", new ToolNode([readProfile]))
    .addEdge(START, "tools")
    .addEdge("tools", END)
    .compile({ checkpointer: new MemorySaver() });
  const thread = { configurable: { thread_id: "1" } };
  const state = await graph.invoke({ messages: [call] }, thread);
  await approve(state.__interrupt__[0].value.auth_url);
  assert.match((await graph.invoke(resume(), thread)).messages.at(-1).content, /^at-/);
});
