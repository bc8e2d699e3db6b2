"""A scripted LangSmith on loopback: it says who a key belongs to, and knows nothing else."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

WORKSPACE = {
    "organization_id": "c2a9a5c2-0f1b-4f7e-9a53-2f6d1f1f0a01",
    "tenant_id": "7d3f4f0e-7a54-4f43-8f0c-5f0c1d5b2b02",
}
PERSONAL_KEY = "lsv2_pt_0123456789abcdef0123456789abcdef_0123456789"
SERVICE_KEY = "lsv2_sk_0123456789abcdef0123456789abcdef_0123456789"
IDENTITIES = {
    PERSONAL_KEY: WORKSPACE | {"user_id": "auth-dana", "ls_user_id": "ls-dana", "user_email": "dana@example.com"},
    SERVICE_KEY: WORKSPACE | {"user_id": None, "ls_user_id": None, "user_email": None},
}


class LangSmith:
    def __init__(self):
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._http.server_port}/api/v1"

    def stop(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/api/v1/auth/public":
            return self._answer(404, {"detail": "Not Found"})
        identity = IDENTITIES.get(self.headers.get("x-api-key"))
        return self._answer(200, identity) if identity else self._answer(401, {"detail": "Invalid token"})

    def _answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
