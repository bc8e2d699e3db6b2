"""The person in a browser, and a provider where they have an account, for tests that are not written in Python."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from authorization_server import AuthorizationServer
from browser import browse


class Person:
    """Serves three actions, each with its result as JSON:

    /register?name=NAME     a client at the provider, as `createOAuthProvider` takes it
    /approve?url=URL        opens the URL, consents, and says what status the last page has
    /deny?url=URL&name=NAME the same, but without consent, for the client NAME
    """

    def __init__(self):
        self._provider = AuthorizationServer()
        self._registrations = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def stop(self):
        self._http.shutdown()
        self._http.server_close()
        self._provider.stop()

    def register(self, name):
        client = self._registrations[name] = self._provider.register(name)
        return {
            "providerId": name,
            "name": "Scripted Provider",
            "clientId": client.client_id,
            "clientSecret": client.client_secret,
            "authUrl": client.authorization_url,
            "tokenUrl": client.token_url,
            "usesPkce": True,
        }

    def approve(self, url):
        return browse(url).status_code

    def deny(self, url, name):
        self._registrations[name].denies = True
        return browse(url).status_code

    def _handler(person):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                url = urlsplit(self.path)
                action = {"/register": person.register, "/approve": person.approve, "/deny": person.deny}[url.path]
                body = json.dumps(action(**{name: values[0] for name, values in parse_qs(url.query).items()})).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler
