// LangGraph.js: a graph is interrupted with the URL for the person, and resumed after the consent.

import { createInterface } from "node:readline/promises";
import { Annotation, Command, END, INTERRUPT, isInterrupted, MemorySaver, START, StateGraph } from "@langchain/langgraph";
import { Client } from "agent-auth";

const client = new Client(); // LANGSMITH_API_URL and LANGSMITH_API_KEY

const State = Annotation.Root({ titles: Annotation<string[]> });

async function listDocuments(): Promise<typeof State.Update> {
  // The node runs again from its start after an interrupt: do nothing before this that must happen only once.
  const { token } = await client.authenticate({ provider: "sample", scopes: ["documents.read"], userId: "you" });
  // The demo's sample provider has its API beside its authorization page.
  const api = (await client.getOAuthProvider("sample")).authUrl.replace("/authorize", "/documents");
  const response = await fetch(api, { headers: { authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(`the provider's API answered ${response.status}`);
  const { documents }: { documents: { title: string }[] } = await response.json();
  // The result goes into the state, the token does not: the checkpointer stores the state.
  return { titles: documents.map((document) => document.title) };
}

const graph = new StateGraph(State)
  .addNode("listDocuments", listDocuments)
  .addEdge(START, "listDocuments")
  .addEdge("listDocuments", END)
  .compile({ checkpointer: new MemorySaver() });

const terminal = createInterface({ input: process.stdin, output: process.stdout });
const thread = { configurable: { thread_id: "1" } };
let state = await graph.invoke({}, thread);
while (isInterrupted<{ auth_url: string }>(state)) {
  console.log("Please open", state[INTERRUPT][0]?.value?.auth_url);
  await terminal.question("Approve, then press Enter. ");
  state = await graph.invoke(new Command({ resume: true }), thread);
}
terminal.close();
console.log("Your documents:", state.titles.join(", "));
