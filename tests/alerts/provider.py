"""A scripted authorization server on loopback whose tokens expire after a second."""

import json
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

WORKS = 200, None
DOWN = 503, None
DEAD_GRANTS = 400, {"error": "invalid_grant"}
UNKNOWN_CLIENT = 401, {"error": "invalid_client"}


class Provider:
    def __init__(self):
        self.behaves = WORKS
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        Thread(target=self._http.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self._http.server_port}"
        self.definition = {
            "provider_id": "acme",
            "name": "Acme",
            "client_id": "client",
            "client_secret": "secret",
            "auth_url": f"{url}/authorize",
            "token_url": f"{url}/token",
        }

    def stop(self):
        self._http.shutdown()
        self._http.server_close()

    def _handler(provider):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", "0")))
                status, body = provider.behaves
                if status == 200:
                    access, refresh = (f"{kind}-{secrets.token_urlsafe(16)}" for kind in ("access", "refresh"))
                    body = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 1}
                body = json.dumps(body or {}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler
