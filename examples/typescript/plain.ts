// Plain TypeScript: get a token, after a consent the first time, and call an API with it.

import { Client } from "agent-auth";

const client = new Client(); // LANGSMITH_API_URL and LANGSMITH_API_KEY

let auth = await client.authenticate({ provider: "sample", scopes: ["profile.read"], userId: "you" });
if (auth.status === "pending") {
  console.log("Please open", auth.authUrl);
  auth = await client.waitForCompletion(auth.authId);
}

// The demo's sample provider has its API beside its authorization page.
const { authUrl } = await client.getOAuthProvider("sample");
const response = await fetch(authUrl.replace("/authorize", "/me"), { headers: { authorization: `Bearer ${auth.token}` } });
console.log("You are", (await response.json()).name);
