"""A small scripted authorization server on loopback, strict where a real one is strict.

It approves every authorization request by itself, as a browser with a signed-in person would see it, unless a test
says otherwise on its `Registration`.
"""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Optional
from urllib.parse import parse_qs, urlencode, urlsplit


@dataclass
class Registration:
    """One client of the authorization server, what the next person decides, and all it was asked so far."""

    client_id: str
    client_secret: str
    authorization_url: str
    token_url: str
    device_authorization_url: str
    granted_scopes: Optional[str] = None  # None: all that were asked for
    denies: bool = False
    authorizations: list = field(default_factory=list)  # the parameters of each authorization request
    token_requests: list = field(default_factory=list)  # (status, form) of each token request
    access_tokens: list = field(default_factory=list)  # each one that was issued
    codes: dict = field(default_factory=dict)  # those that were not used yet
    devices: dict = field(default_factory=dict)  # device codes: [user code, scopes, whether the person approved]
    refresh_tokens: dict = field(default_factory=dict)  # those that were not used yet, with their scopes


class AuthorizationServer:
    def __init__(self):
        self._registrations = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def register(self, name):
        """A new client, with endpoints of its own."""
        registration = Registration(
            client_id=f"client-of-{name}",
            # Characters that mean something in a form: only a client that encodes them gets in.
            client_secret=f"s3cret +/%&=:{secrets.token_urlsafe(9)}",
            authorization_url=f"{self.url}/{name}/authorize",
            token_url=f"{self.url}/{name}/token",
            device_authorization_url=f"{self.url}/{name}/device",
        )
        self._registrations[name] = registration
        return registration

    def stop(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self):
        registrations, lock = self._registrations, Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                if url.path.endswith("/enter-code"):  # where a person enters a device's code, and approves
                    self._enter_code(self._registration(url.path, "enter-code"), query.get("user_code"))
                elif registration := self._registration(url.path, "authorize"):
                    with lock:
                        self._authorize(registration, query)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
                path = urlsplit(self.path).path
                endpoint = "device" if path.endswith("/device") else "token"
                registration = self._registration(path, endpoint)
                if registration:
                    form = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
                    with lock:
                        status, answer = getattr(self, f"_{endpoint}")(registration, form)
                        if endpoint == "token":
                            registration.token_requests.append((status, form))
                    self._answer(status, json.dumps(answer).encode(), {"content-type": "application/json"})

            def _registration(self, path, endpoint):
                name, _, asked = path.lstrip("/").partition("/")
                if name in registrations and asked == endpoint:
                    return registrations[name]
                self._answer(404, b"no such endpoint", {})
                return None

            def _authorize(self, registration, asked):
                registration.authorizations.append(asked)
                if asked.get("client_id") != registration.client_id or asked.get("response_type") != "code":
                    self._answer(400, b"unknown client or response type", {})
                    return
                if registration.denies:
                    answer = {"error": "access_denied", "error_description": "The person said no."}
                else:
                    code = secrets.token_urlsafe(16)
                    scope = asked.get("scope", "") if registration.granted_scopes is None else registration.granted_scopes
                    registration.codes[code] = (asked, scope)
                    answer = {"code": code}
                query = urlencode(answer | {"state": asked["state"]})
                self._answer(302, b"", {"location": f"{asked['redirect_uri']}?{query}"})

            def _device(self, registration, form):
                code, user_code = secrets.token_urlsafe(16), secrets.token_hex(4)
                registration.devices[code] = [user_code, form.get("scope", ""), False]
                page = registration.device_authorization_url.removesuffix("device") + "enter-code"
                answer = {"device_code": code, "user_code": user_code, "verification_uri": page}
                return 200, answer | {"expires_in": 60, "interval": 1}

            def _enter_code(self, registration, user_code):
                for device in registration.devices.values():
                    device[2] = device[2] or device[0] == user_code
                self._answer(200, b"Approved", {})

            def _token(self, registration, form):
                if (form.get("client_id"), form.get("client_secret")) != (registration.client_id, registration.client_secret):
                    return 401, {"error": "invalid_client"}
                if form.get("grant_type") == "refresh_token":
                    scope = registration.refresh_tokens.pop(form.get("refresh_token"), None)
                    return self._issue(registration, scope) if scope is not None else (400, {"error": "invalid_grant"})
                if form.get("grant_type") == "urn:ietf:params:oauth:grant-type:device_code":
                    _, scope, approved = registration.devices[form["device_code"]]
                    return self._issue(registration, scope) if approved else (400, {"error": "authorization_pending"})
                if form.get("grant_type") != "authorization_code":
                    return 400, {"error": "unsupported_grant_type"}
                asked, scope = registration.codes.pop(form.get("code"), (None, None))
                if asked is None:
                    return 400, {"error": "invalid_grant", "error_description": "unknown or used code"}
                if form.get("redirect_uri") != asked["redirect_uri"]:
                    return 400, {"error": "invalid_grant", "error_description": "another redirect_uri"}
                if not verifies(form.get("code_verifier"), asked):
                    return 400, {"error": "invalid_grant", "error_description": "PKCE verification failed"}
                return self._issue(registration, scope)

            def _issue(self, registration, scope):
                token, refresh_token = f"at-{secrets.token_urlsafe(24)}", f"rt-{secrets.token_urlsafe(24)}"
                registration.access_tokens.append(token)
                registration.refresh_tokens[refresh_token] = scope
                return 200, {
                    "access_token": token,
                    "token_type": "Bearer",
                    "expires_in": 3600,
                    "refresh_token": refresh_token,
                    "scope": scope,
                }

            def _answer(self, status, body, headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler


def verifies(verifier, asked):
    """RFC 7636, 4.6: whether `verifier` is the one the authorization request's challenge was made from."""
    if "code_challenge" not in asked:
        return verifier is None
    if asked.get("code_challenge_method") != "S256" or verifier is None:
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
