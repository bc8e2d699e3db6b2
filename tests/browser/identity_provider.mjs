// The npm package oidc-provider, with its own pages for signing in: node identity_provider.mjs PORT REDIRECT_URI
// Any password is right. The name decides the groups.
import Provider from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const GROUPS = { ada: ["staff", "platform"], sam: ["support"] };

const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{ client_id: "console", client_secret: "console-secret", redirect_uris: [redirectUri] }],
    claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"], groups: ["groups"] },
    // Claims of scopes are in the ID token, as with most providers, and not in userinfo only.
    conformIdTokenClaims: false,
    cookies: { keys: ["of a test"] },
    findAccount: (_, id) => ({
        accountId: id,
        claims: () => ({
            sub: id,
            name: `${id} of the tests`,
            email: `${id}@example.com`,
            email_verified: true,
            groups: GROUPS[id] ?? ["staff"],
        }),
    }),
});

provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
