// LangGraph.js, an optional peer dependency: finding out whether the caller is a node of a graph, and interrupting that graph.

type LangGraph = typeof import("@langchain/langgraph");

let loaded: Promise<LangGraph | undefined> | undefined;

/** The graph that runs the caller. */
export interface Graph {
  /** The run's assistant, which is the agent that tokens are for. */
  assistantId: string | undefined;
  /** Interrupts the graph. Returns at once if it was resumed from this interrupt. */
  interrupt(value: object): unknown;
}

/** The graph that runs the caller; undefined outside of a graph, or where LangGraph.js is not installed. */
export async function currentGraph(): Promise<Graph | undefined> {
  const langgraph = await (loaded ??= load());
  if (!langgraph) return undefined;
  try {
    langgraph.getCurrentTaskInput(); // throws outside of a graph
  } catch {
    return undefined;
  }
  const assistantId: unknown = langgraph.getConfig()?.configurable?.["assistant_id"];
  return { assistantId: typeof assistantId === "string" ? assistantId : undefined, interrupt: langgraph.interrupt };
}

async function load(): Promise<LangGraph | undefined> {
  try {
    return await import("@langchain/langgraph");
  } catch {
    return undefined;
  }
}
