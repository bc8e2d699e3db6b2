// What each test here needs: the server from the environment, a provider of its own, and the person.

import { randomUUID } from "node:crypto";
import { Client } from "agent-auth";

const ask = async (action, query) => (await fetch(`${process.env.PERSON}/${action}?${new URLSearchParams(query)}`)).json();

export const approve = (url) => ask("approve", { url });
export const deny = (url, name) => ask("deny", { url, name });

/** A client, and a provider that no other test uses. */
export async function setUp() {
  const client = new Client();
  const definition = await ask("register", { name: `t-${randomUUID()}` });
  await client.createOAuthProvider(definition);
  return { client, definition, provider: definition.providerId };
}
