// What the client does with answers that a running server seldom gives.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { AgentAuthError, ApiError, Client, ConnectionError } from "agent-auth";

/** A client of a server that gives these answers, one after the other; "hang up" and "silence" are none. */
async function scripted(answers, options) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request);
    const answer = answers[requests.length - 1];
    if (answer === "hang up") return request.socket.destroy();
    if (answer === "silence") return undefined;
    const [status, headers, body] = answer;
    return response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  const apiUrl = `http://127.0.0.1:${server.address().port}`;
  return { client: new Client({ apiUrl: `${apiUrl}/`, apiKey: "secret", ...options }), requests };
}

const limited = [429, { "retry-after": "0" }, { detail: "Too many.", code: "rate_limited" }];
const unavailable = [503, { "retry-after": "1" }, { detail: "Down.", code: "provider_unavailable" }];
const exists = [200, {}, { has_token: true }];

test("a 429 and a 503 are repeated, after the time that the server says", async () => {
  const { client, requests } = await scripted([limited, unavailable, exists]);
  const began = performance.now();
  assert.deepEqual(await client.checkTokenExists("p"), { hasToken: true });
  assert.ok(performance.now() - began > 950);
  assert.equal(requests.length, 3);
});

test("retries end, and then the error says when to try again", async () => {
  const { client, requests } = await scripted([limited, unavailable], { maxRetries: 1 });
  await assert.rejects(client.checkTokenExists("p"), { status: 503, code: "provider_unavailable", retryAfter: 1 });
  assert.equal(requests.length, 2);
});

test("a long Retry-After is not waited for, and may be a date", async () => {
  const date = new Date(Date.now() + 3_600_000).toUTCString();
  const { client, requests } = await scripted([[503, { "retry-after": date }, "Down"]]);
  await assert.rejects(client.checkTokenExists("p"), (error) => error.retryAfter > 3500 && error.retryAfter <= 3600);
  assert.equal(requests.length, 1);
});

test("no other error is repeated", async () => {
  const { client, requests } = await scripted([[502, {}, "<html>Bad Gateway</html>"]]);
  await assert.rejects(client.checkTokenExists("p"), (error) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.status, error.code, error.message], [502, undefined, "HTTP 502: Bad Gateway"]);
    return true;
  });
  assert.equal(requests.length, 1);
});

test("an abort ends the wait between two tries", async () => {
  const { client } = await scripted([[429, { "retry-after": "30" }, "{}"]]);
  await assert.rejects(client.checkTokenExists("p", { signal: AbortSignal.timeout(100) }), { name: "TimeoutError" });
});

test("a wait goes on when the server restarts", async () => {
  const { client, requests } = await scripted(["hang up", [200, {}, { status: "completed", token: "t" }]]);
  assert.deepEqual(await client.waitForCompletion("id"), { status: "completed", token: "t" });
  assert.deepEqual(requests.map(({ url }) => url), Array(2).fill("/v2/auth/wait/id?timeout=25"));
});

test("a wait goes on when a proxy cannot reach the server", async () => {
  const proxy = [[502, {}, "<html>"], [504, {}, "<html>"], [503, { "retry-after": "0.1" }, "Down"]];
  const { client } = await scripted([...proxy, [200, {}, { status: "completed", token: "t" }]]);
  assert.deepEqual(await client.waitForCompletion("id"), { status: "completed", token: "t" });
});

test("whatever the answer is, the error is one of this package", async () => {
  const odd = [[422, {}, { detail: [{ msg: "Odd" }, null] }], [200, {}, "null"], [200, {}, "{}"]];
  const { client } = await scripted(odd);
  await assert.rejects(client.listTokens(), { status: 422, message: "HTTP 422: Odd; null" });
  await assert.rejects(client.listTokens(), (error) => error instanceof AgentAuthError && /is not a JSON/.test(error.message));
  await assert.rejects(client.listTokens(), (error) => error instanceof AgentAuthError && /not a list/.test(error.message));
});

test("a server that does not answer is an error", async () => {
  const { client } = await scripted(["silence"], { requestTimeout: 0.2 });
  await assert.rejects(client.listTokens(), (error) => {
    assert.ok(error instanceof ConnectionError);
    assert.match(error.message, /no answer within 0.2 seconds/);
    return true;
  });
});

test("a redirect is not followed, and another site is recognized", async () => {
  const { client, requests } = await scripted([[308, { location: "https://auth.example.com/" }, ""], [200, {}, "<html>"]]);
  await assert.rejects(client.listTokens(), { status: 308, message: /redirected to https:\/\/auth\.example\.com\// });
  await assert.rejects(client.listTokens(), (error) => error instanceof AgentAuthError && /is not a JSON/.test(error.message));
  assert.equal(requests.length, 2);
});

test("the key and the user go with each request, and names are escaped", async () => {
  const options = { userId: "ada", headers: { "x-tenant-id": "w" } };
  const { client, requests } = await scripted([exists, exists, [200, {}, {}]], options);
  await client.checkTokenExists("a b&c");
  await client.checkTokenExists("p", { userId: "bob", headers: { "x-other": "1" } });
  await client.getOAuthProvider("a/b?c");
  assert.deepEqual(requests.map(({ url }) => url), [
    "/v2/auth/tokens/exists?provider_id=a+b%26c",
    "/v2/auth/tokens/exists?provider_id=p",
    "/v2/auth/providers/a%2Fb%3Fc",
  ]);
  assert.deepEqual(requests.map(({ headers }) => headers["x-user-id"]), ["ada", "bob", "ada"]);
  assert.deepEqual(requests.map(({ headers }) => headers["x-other"]), [undefined, "1", undefined]);
  assert.ok(requests.every(({ headers }) => headers["x-api-key"] === "secret" && headers["x-tenant-id"] === "w"));
});
