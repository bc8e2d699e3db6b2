"""A provider that says what it was given to say: granted scopes, accounts, errors and explanations."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit


class FakeProvider:
    """Its next answers are in `answers`, by path; its authorization endpoint sends the browser back at once."""

    def __init__(self):
        self.answers = {}
        self.refusal = None
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                url = urlsplit(self.path)
                if url.path != "/authorize":
                    return self.reply(provider.answers.get(url.path, {}))
                asked = {name: values[0] for name, values in parse_qs(url.query).items()}
                back = provider.refusal or {"code": "a-code"}
                self.send_response(303)
                self.send_header("location", f"{asked['redirect_uri']}?{urlencode({**back, 'state': asked['state']})}")
                self.send_header("content-length", "0")
                self.end_headers()

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.reply(provider.answers.get(urlsplit(self.path).path, {}))

            def reply(self, answer):
                body = json.dumps({name: value for name, value in answer.items() if name != "status"}).encode()
                self.send_response(answer.get("status", 200))
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def definition(self, provider_id, name):
        return {
            "provider_id": provider_id,
            "name": name,
            "client_id": "a-client",
            "client_secret": "a-secret",
            "auth_url": f"{self.base}/authorize",
            "token_url": f"{self.base}/token",
            "userinfo_url": f"{self.base}/userinfo",
        }

    def be_mcp_server(self, **more):
        """From now on it is an MCP server at `/mcp` too, which registers clients; `more` is in its metadata."""
        server = {"issuer": self.base, "registration_endpoint": f"{self.base}/register"}
        server |= {"authorization_endpoint": f"{self.base}/authorize", "token_endpoint": f"{self.base}/token"}
        server |= {"code_challenge_methods_supported": ["S256"], **more}
        resource = {"resource": f"{self.base}/mcp", "authorization_servers": [self.base]}
        self.answers["/mcp"] = {"status": 401}
        self.answers["/.well-known/oauth-protected-resource/mcp"] = resource
        self.answers["/.well-known/oauth-authorization-server"] = server
        self.answers["/register"] = {"client_id": "registered-77", "status": 201}

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
