// LangChain's quickstart, and what else an application writes, under the strictest settings of the compiler. Never run.

import { ApiError, type AuthResult, type CallOptions, Client, type OAuthProviderResponse } from "agent-auth";

const client = new Client({ apiKey: "key", apiUrl: "https://auth.example.com/api-host" });

const provider: OAuthProviderResponse = await client.createOAuthProvider({
  providerId: "github-local-dev",
  name: "GitHub",
  clientId: "id",
  clientSecret: "secret",
  authUrl: "https://github.com/login/oauth/authorize",
  tokenUrl: "https://github.com/login/oauth/access_token",
});

const authResult: AuthResult = await client.authenticate({ provider: provider.providerId, scopes: ["a"], userId: "ada" });
if (authResult.status === "pending") {
  const url: string = authResult.authUrl;
  const { token }: { token: string } = await client.waitForCompletion(authResult.authId);
  console.log(url, token);
} else {
  console.log(authResult.token);
}
if (authResult.status === "completed") {
  const token: string = authResult.token;
  console.log(token);
}

const options: CallOptions = { signal: AbortSignal.timeout(1000), userId: "ada" };
const exists: boolean = (await client.checkTokenExists("github", options)).hasToken;
console.log(exists);

try {
  await client.authenticate({ provider: "github", scopes: [], minTtl: 600, grant: "device" });
} catch (error) {
  if (error instanceof ApiError && error.code === "rate_limited") console.log(error.retryAfter?.toFixed());
}

// @ts-expect-error: a name that the server does not have
await client.authenticate({ provider: "github", scopes: [], userID: "ada" });
// @ts-expect-error: the scopes are missing
await client.authenticate({ provider: "github" });
