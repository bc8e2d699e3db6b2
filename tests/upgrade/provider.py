"""An authorization server whose refresh tokens work once: using one again would cost a person's grant."""

import json
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qs


class Provider:
    """Any code is good. Tokens of `/short/token` live for four seconds, all others for an hour."""

    def __init__(self):
        self.refreshes = 0
        self.refused = []  # the refresh tokens that were used twice, or never issued
        self._current, self._lock = set(), Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                status, answer = provider._token(self.path, form)
                answer = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def definition(self, name):
        return {
            "provider_id": name, "name": name, "client_id": "client", "client_secret": "secret",
            "auth_url": f"{self.url}/{name}/authorize", "token_url": f"{self.url}/{name}/token",
        }

    def stop(self):
        self._http.shutdown()
        self._http.server_close()

    def _token(self, path, form):
        with self._lock:
            if form["grant_type"] == "refresh_token":
                used = form["refresh_token"]
                if used not in self._current:
                    self.refused.append(used)
                    return 400, {"error": "invalid_grant"}
                self._current.remove(used)
                self.refreshes += 1
            issued = secrets.token_urlsafe(16)
            self._current.add(issued)
        return 200, {
            "access_token": secrets.token_urlsafe(16), "refresh_token": issued, "token_type": "Bearer",
            "expires_in": 4 if path == "/short/token" else 3600,
        }
