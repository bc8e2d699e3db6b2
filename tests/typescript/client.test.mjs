// The client against a running server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, Client, ConnectionError, ConsentError, WaitTimeoutError } from "agent-auth";
import { approve, deny, setUp } from "./environment.mjs";

test("a person consents once, and then there is a token", async () => {
  const { client, provider } = await setUp();
  const request = { provider, scopes: ["read"], userId: "ada", agentId: "inbox" };
  const pending = await client.authenticate(request);
  assert.equal(pending.status, "pending");
  assert.equal(await approve(pending.authUrl), 200);
  const completed = await client.waitForCompletion(pending.authId);
  assert.equal(completed.status, "completed");
  const again = await client.authenticate(request);
  assert.deepEqual([again.status, again.token], ["completed", completed.token]);
  assert.equal((await client.authenticate({ ...request, agentId: "other" })).status, "pending");
});

test("a wait that began before the consent returns the token", async () => {
  const { client, provider } = await setUp();
  const { authId, authUrl } = await client.authenticate({ provider, scopes: [], userId: "ada" });
  const waiting = client.waitForCompletion(authId, { timeout: 20 });
  await approve(authUrl);
  assert.ok((await waiting).token);
});

test("a denied consent ends the wait with its reason", async () => {
  const { client, provider } = await setUp();
  const { authId, authUrl } = await client.authenticate({ provider, scopes: [], userId: "ada" });
  const waiting = client.waitForCompletion(authId);
  await Promise.all([
    assert.rejects(waiting, (error) => error instanceof ConsentError && error.error === "access_denied"),
    deny(authUrl, provider),
  ]);
  await assert.rejects(client.waitForCompletion("00000000-0000-4000-8000-000000000000"), ConsentError);
});

test("a wait ends after its timeout, and when it is aborted", async () => {
  const { client, provider } = await setUp();
  const { authId } = await client.authenticate({ provider, scopes: [], userId: "ada" });
  await assert.rejects(client.waitForCompletion(authId, { timeout: 0 }), WaitTimeoutError);
  await assert.rejects(client.waitForCompletion(authId, { timeout: 1 }), WaitTimeoutError);
  const controller = new AbortController();
  const waiting = client.waitForCompletion(authId, { signal: controller.signal });
  const reason = new Error("the user left");
  controller.abort(reason);
  await assert.rejects(waiting, reason);
});

test("providers are created, listed, read, changed and deleted", async () => {
  const { client, definition, provider } = await setUp();
  assert.ok((await client.listOAuthProviders()).some(({ providerId }) => providerId === provider));
  const found = await client.getOAuthProvider(provider);
  assert.equal(found.tokenUrl, definition.tokenUrl);
  assert.equal(found.usesPkce, true);
  const changed = await client.updateOAuthProvider(provider, { name: "Changed", authorizationParams: { prompt_style: "x" } });
  assert.deepEqual([changed.name, changed.authorizationParams], ["Changed", { prompt_style: "x" }]);
  assert.equal((await client.deleteOAuthProvider(provider)).upstreamRevoked, true);
  await assert.rejects(client.getOAuthProvider(provider), { status: 404, code: "not_found" });
});

test("tokens are found, listed and deleted for the current user", async () => {
  const { client, provider } = await setUp();
  assert.deepEqual(await client.checkTokenExists(provider), { hasToken: false });
  const { authUrl } = await client.authenticate({ provider, scopes: ["read"], userId: "admin" });
  await approve(authUrl);
  assert.deepEqual(await client.checkTokenExists(provider), { hasToken: true });
  const [token] = await client.listTokens(provider);
  assert.deepEqual(token.scopes, ["read"]);
  assert.equal((await client.revokeTokens(provider)).providerId, provider);
  assert.deepEqual(await client.checkTokenExists(provider), { hasToken: false });
});

test("a rejected token is reported, and replaced", async () => {
  const { client, provider } = await setUp();
  const request = { provider, scopes: [], userId: "admin" };
  await approve((await client.authenticate(request)).authUrl);
  const { metadata, token } = await client.authenticate(request);
  const report = await client.reportInvalidToken(metadata.token_id, { token });
  assert.equal(report.status, "refreshed");
  assert.notEqual(report.token, token);
  assert.equal((await client.authenticate(request)).token, report.token);
});

test("an unknown consent cannot be confirmed", async () => {
  const { client } = await setUp();
  const confirmation = { userId: "ada", reference: "none" };
  await assert.rejects(client.confirmAuthorization("00000000-0000-4000-8000-000000000000", confirmation), { status: 404 });
});

test("errors have the status, the code, and each error of a request", async () => {
  const { client } = await setUp();
  await assert.rejects(client.authenticate({ provider: "none", scopes: [], userId: "ada" }), (error) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.name, error.status, error.code], ["ApiError", 404, "not_found"]);
    assert.ok(error.requestId);
    return true;
  });
  await assert.rejects(client.authenticate({ provider: "none", scopes: [""], userId: "ada", minTtl: -1 }), (error) => {
    assert.equal(error.status, 422);
    assert.deepEqual(error.errors.map(({ loc }) => loc.join(".")).sort(), ["body.min_ttl", "body.scopes.0"]);
    assert.match(error.message, /body\.min_ttl: /);
    return true;
  });
  await assert.rejects(new Client({ apiKey: "wrong" }).listOAuthProviders(), { status: 401, code: "unauthorized" });
  await assert.rejects(new Client({ apiUrl: "http://127.0.0.1:1" }).listOAuthProviders(), (error) => {
    assert.ok(error instanceof ConnectionError);
    assert.match(error.message, /^GET http:\/\/127\.0\.0\.1:1\/v2\/auth\/providers: .+/);
    return true;
  });
});

test("without an address or a key there is no client", () => {
  const { LANGSMITH_API_URL, LANGSMITH_API_KEY } = process.env;
  try {
    delete process.env.LANGSMITH_API_URL;
    assert.throws(() => new Client({ apiKey: "k" }), /LANGSMITH_API_URL/);
    delete process.env.LANGSMITH_API_KEY;
    assert.throws(() => new Client({ apiUrl: LANGSMITH_API_URL }), /LANGSMITH_API_KEY/);
    assert.throws(() => new Client({ apiUrl: "auth.example.com", apiKey: "k" }), /not an http/);
  } finally {
    Object.assign(process.env, { LANGSMITH_API_URL, LANGSMITH_API_KEY });
  }
});
