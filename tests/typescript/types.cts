// The types through `require`. Never run.

import agentAuth = require("agent-auth");

const client: agentAuth.Client = new agentAuth.Client({ apiKey: "key", apiUrl: "https://auth.example.com" });
const request: agentAuth.AuthAuthenticateRequest = { provider: "github", scopes: [] };
void client.authenticate(request).then((result: agentAuth.AuthResult) => console.log(result.authUrl));
