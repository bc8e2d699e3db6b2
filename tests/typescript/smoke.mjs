// The whole way once, with nothing that only one runtime has.

import { Client } from "agent-auth";
import { approve, setUp } from "./environment.mjs";

const { client, provider } = await setUp();
const pending = await client.authenticate({ provider, scopes: ["read"], userId: "ada" });
await approve(pending.authUrl);
const { token } = await client.waitForCompletion(pending.authId);
const failure = await new Client({ apiKey: "wrong" }).listOAuthProviders().catch((error) => error);
const aborted = await client.listTokens(undefined, { signal: AbortSignal.abort("gone") }).catch((reason) => reason);
console.log(typeof token, failure.name, failure.status, aborted);
