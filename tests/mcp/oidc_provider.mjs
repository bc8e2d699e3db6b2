// An authorization server made with oidc-provider, and beside it a resource that answers as a protected MCP server
// does. Strict where it can be: resource indicators, PKCE, refresh tokens that are used once. People sign in and consent
// on the development pages of oidc-provider. Prints both addresses as JSON once both listen.
import http from "node:http";
import { Provider, errors } from "oidc-provider";

const SCOPES = ["notes:read", "notes:write"];

const listen = (server) =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
  });

const authorization = http.createServer();
const issuer = await listen(authorization);
const server = http.createServer();
const origin = await listen(server);
const resource = `${origin}/mcp`;
const metadata = `${origin}/.well-known/oauth-protected-resource/mcp`;

const provider = new Provider(issuer, {
  cookies: { keys: ["a key of a test"] },
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed("refresh_token"),
  rotateRefreshToken: true,
  scopes: ["openid", "offline_access", ...SCOPES],
  ttl: { AccessToken: 20, Grant: 86400, Interaction: 3600, RefreshToken: 86400, Session: 86400 },
  features: {
    registration: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(ctx, indicator) {
        if (indicator !== resource) throw new errors.InvalidTarget();
        return { scope: SCOPES.join(" "), audience: resource, accessTokenFormat: "opaque" };
      },
    },
  },
});
provider.on("server_error", (ctx, error) => console.error(error));
provider.on("grant.error", (ctx, error) => console.error(error.message, error.error_detail));
authorization.on("request", provider.callback());

const answer = (response, status, body, headers = {}) =>
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));

server.on("request", async (request, response) => {
  if (request.url === new URL(metadata).pathname) {
    return answer(response, 200, { resource, authorization_servers: [issuer], scopes_supported: SCOPES });
  }
  if (request.url !== "/mcp") return answer(response, 404, {});
  const [, bearer] = (request.headers.authorization ?? "").match(/^Bearer (.+)$/) ?? [];
  const token = bearer && (await provider.AccessToken.find(bearer));
  const challenge = `resource_metadata="${metadata}", scope="${SCOPES[0]}"`;
  if (!token?.isValid || token.aud !== resource) {
    return answer(response, 401, {}, { "www-authenticate": `Bearer ${challenge}` });
  }
  if (!token.scopes.has(SCOPES[0])) {
    return answer(response, 403, {}, { "www-authenticate": `Bearer error="insufficient_scope", ${challenge}` });
  }
  answer(response, 200, { jsonrpc: "2.0", id: 1, result: { account: token.accountId } });
});

console.log(JSON.stringify({ issuer, resource }));
