// The client through `require`, alone and in a graph.

const assert = require("node:assert/strict");
const { ApiError, Client } = require("agent-auth");

async function main() {
  const client = new Client();
  await assert.rejects(client.getOAuthProvider("none"), (error) => error instanceof ApiError && error.status === 404);
  const { approve, setUp } = await import("./environment.mjs");
  const { provider } = await setUp();
  const request = { provider, scopes: [], userId: "ada" };
  if (process.argv[2] === "graph") {
    const { Annotation, Command, END, MemorySaver, START, StateGraph } = require("@langchain/langgraph");
    const graph = new StateGraph(Annotation.Root({ token: Annotation }))
      .addNode("node", async () => ({ token: (await client.authenticate(request)).token }))
      .addEdge(START, "node")
      .addEdge("node", END)
      .compile({ checkpointer: new MemorySaver() });
    const thread = { configurable: { thread_id: "1" } };
    const { __interrupt__: interrupts } = await graph.invoke({}, thread);
    await approve(interrupts[0].value.auth_url);
    assert.ok((await graph.invoke(new Command({ resume: true }), thread)).token);
  } else {
    await approve((await client.authenticate(request)).authUrl);
    assert.equal((await client.authenticate(request)).status, "completed");
  }
  console.log("ok");
}

main();
