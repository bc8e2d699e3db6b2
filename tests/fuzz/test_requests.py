"""Requests that no client sends: what a real one looks like, changed at random, over plain sockets. None is answered with
an internal error, and the server never stops answering. FUZZ_REQUESTS=100000 sends more; the seed is printed."""

import collections
import json
import os
import random
import socket
import threading
import time
from urllib.parse import urlsplit

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "5000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
CONNECTIONS = 8

ID = "01a21a6c-7fb6-76f1-a640-0916a8d8cfed"
PROVIDER = {
    "provider_id": "acme", "name": "Acme", "client_id": "c", "client_secret": "s", "auth_url": "https://acme.invalid/a",
    "token_url": "https://acme.invalid/t", "uses_pkce": True, "code_challenge_method": "S256",
    "authorization_params": {"a": "b"}, "allowed_redirect_uris": ["https://app.invalid/back"], "default_scopes": ["a"],
    "token_params": {"a": "b"}, "token_format": "json", "template_params": {"host": "x"}, "provider_type": "slack",
    "token_endpoint_auth_method": "none", "grant_type": "api_key", "scope_separator": ",", "resource": "https://r.invalid",
}  # fmt: skip
ASKING = {
    "provider": "acme", "scopes": ["read"], "user_id": "alice", "agent_id": "agent", "force_new": True, "min_ttl": 60,
    "is_default": True, "token_id": ID, "redirect_uri": "https://app.invalid/back", "grant": "device", "ls_user_id": "l",
}  # fmt: skip
SAMPLES = [
    ("POST", "/v2/auth/providers", PROVIDER),
    ("POST", "/v2/auth/providers", {"provider_id": "g", "client_id": "c", "client_secret": "s", "template": "github"}),
    ("PATCH", "/v2/auth/providers/acme", {"client_secret": "t", "refresh_url": "https://acme.invalid/r", "name": "A"}),
    ("GET", "/v2/auth/providers?limit=10&offset=0", None),
    ("GET", "/v2/auth/providers/acme", None),
    ("DELETE", "/v2/auth/providers/other", None),
    ("POST", "/v2/auth/authenticate", ASKING),
    ("POST", "/v2/auth/authenticate", {"provider": "acme", "scopes": ["read"], "user_id": "alice"}),
    ("POST", "/api-host/v2/auth/authenticate", {"provider": "key", "scopes": []}),
    ("GET", f"/v2/auth/wait/{ID}?timeout=0", None),
    ("GET", "/v2/auth/callback/acme?code=abc&state=def", None),
    ("GET", "/host-oauth-callback/acme?error=access_denied&error_description=no&state=def", None),
    ("GET", f"/host-oauth-callback/acme/{ID}?again", None),
    ("POST", "/v2/auth/callback/acme", {"code": "c", "state": "s"}),
    ("GET", "/v2/auth/setup/acme?setup_action=install&installation_id=1&state=s&code=c", None),
    ("GET", "/host-api-key/acme?state=s", None),
    ("POST", "/host-api-key/acme", {"state": "s", "key": "k"}),
    ("GET", "/v2/auth/tokens?provider_id=acme&user_id=alice", None),
    ("DELETE", "/v2/auth/tokens?provider_id=acme", None),
    ("GET", "/v2/auth/tokens/exists?provider_id=acme", None),
    ("POST", "/v2/auth/tokens/exists/batch", {"provider_ids": ["acme", "b"], "user_id": "alice"}),
    ("GET", f"/v2/auth/tokens/{ID}", None),
    ("DELETE", f"/v2/auth/tokens/{ID}", None),
    ("PATCH", f"/v2/auth/tokens/{ID}/metadata", {"provider_account_label": "work", "is_default": True}),
    ("POST", f"/v2/auth/tokens/{ID}/report-invalid", {"access_token": "t"}),
    ("GET", "/v2/auth/tokens/workspace/slack/exists", None),
    ("GET", "/v2/auth/agents/agent/connections", None),
    ("POST", "/v2/auth/agents/agent/connections", {"oauth_token_id": ID}),
    ("DELETE", f"/v2/auth/agents/agent/connections/{ID}", None),
    ("GET", "/oauth/client-metadata.json/acme", None),
    ("GET", "/openapi.json", None),
    ("GET", "/readyz", None),
]
ODD = [
    None, True, False, 0, -1, 1e308, 2**63, 2**64, "", " ", "\0", "\r\n", "é", "\u202e", "😀", "a" * 600, "a" * 9000, [], {},
    ["a"], [None], {"a": None}, "../..", "%00", "https://", "https://a@b", "http://127.0.0.1/", "javascript:alert(1)",
    "https://acme.invalid/\n", "https://[::1", "S256", "null", ID, "0" * 32, [["a"] * 300], "a b", "'; DROP TABLE tokens;--",
]  # fmt: skip
BYTES = [b"\0", b"\xff", b"%00", b"%ff", b"%", b"..", b"//", b"?", b"#", b"\\", b"'", b"\xe2\x80\xae", b"&", b"=", b"+", b"%2f"]


def changed_value(chance, value):
    if isinstance(value, dict) and value and chance.random() < 0.8:
        value, name = dict(value), chance.choice(list(value))
        action = chance.random()
        if action < 0.2:
            del value[name]
        elif action < 0.3:
            value[chance.choice(["\0", "x" * 300, "é", "issuer ", name.upper()])] = chance.choice(ODD)
        else:
            value[name] = changed_value(chance, value[name])
        return value
    if isinstance(value, list) and value and chance.random() < 0.6:
        value, at = list(value), chance.randrange(len(value))
        value[at] = changed_value(chance, value[at])
        # Long lists only of short texts: nested ones would grow beyond any limit.
        return value * 250 if len(value) < 4 and chance.random() < 0.2 and len(str(value)) < 40 else value
    return chance.choice(ODD)


def changed_bytes(chance, data, times):
    data = bytearray(data)
    for _ in range(chance.randint(1, times)):
        at = chance.randint(0, len(data))
        action = chance.random()
        if action < 0.3 and data:
            del data[at : at + chance.randint(1, 8)]
        elif action < 0.7:
            data[at:at] = chance.choice(BYTES)
        elif at < len(data):
            data[at] = chance.randrange(256)
    return bytes(data)


def request(chance, host, key):
    method, path, body = chance.choice(SAMPLES)
    path = path.encode()
    if chance.random() < 0.4:
        # A blank or a line break would end the address.
        path = b"/" + bytes(byte for byte in changed_bytes(chance, path[1:], 3) if byte not in b" \r\n")
    for _ in range(chance.randint(0, 3)):
        body = changed_value(chance, body) if body is not None else body
    data = b"" if body is None else json.dumps(body, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if data and chance.random() < 0.2:
        data = changed_bytes(chance, data, 4)
    if chance.random() < 0.05:
        method = chance.choice(["PUT", "HEAD", "OPTIONS", "TRACE", "PATCH", "POST", "GET", "DELETE"])
    headers = [b"Host: " + host, b"Content-Length: " + str(len(data)).encode(), b"Content-Type: application/json"]
    if chance.random() < 0.95:
        headers.append(b"X-Api-Key: " + key)
    if chance.random() < 0.2:
        name = chance.choice([b"X-User-Id", b"X-Request-Id", b"Authorization", b"X-Tenant-Id", b"Cookie", b"User-Agent", b"Accept"])
        value = changed_bytes(chance, chance.choice([b"alice", b"Bearer x", b"a" * 300]), 4)
        headers.append(name + b": " + value.translate(None, b"\r\n\0"))
    return method, b"%s %s HTTP/1.1\r\n" % (method.encode(), path) + b"\r\n".join(headers) + b"\r\n\r\n" + data


class Connection:
    def __init__(self, url):
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self.stream = None

    def send(self, method, data):
        """The status of the answer; 0 if the server closes the connection without one."""
        if self.stream is None:
            self.socket = socket.create_connection(self.address, timeout=20)
            self.stream = self.socket.makefile("rb")
        try:
            self.socket.sendall(data)
            return self.answer(method)
        except (ConnectionError, BrokenPipeError):
            self.close()
            return 0

    def answer(self, method):
        line = self.stream.readline()
        if not line:
            self.close()
            return 0
        status, length, is_last, chunked = int(line.split()[1]), 0, False, False
        while (header := self.stream.readline().strip().lower()):
            name, _, value = header.partition(b":")
            if name == b"content-length":
                length = int(value)
            is_last |= name == b"connection" and value.strip() == b"close"
            chunked |= name == b"transfer-encoding"
        if method != "HEAD" and not chunked:
            body = self.stream.read(length)
            assert status != 500, body
        if is_last or chunked:
            self.close()
        return status

    def close(self):
        self.stream.close()
        self.socket.close()
        self.stream = None


def test_no_request_finds_a_bug(broker, key):
    host, statuses, faults = urlsplit(broker.url).netloc.encode(), collections.Counter(), []
    begun = time.monotonic()

    def work(number):
        chance = random.Random(f"{SEED}-{number}")
        connection = Connection(broker.url)
        for _ in range(REQUESTS // CONNECTIONS):
            method, data = request(chance, host, key.encode())
            try:
                status = connection.send(method, data)
            except Exception as error:
                faults.append((data, repr(error)))
                return
            statuses[status] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - begun
    print(f"\n{sum(statuses.values())} requests in {seconds:.0f} s, seed {SEED}: {dict(sorted(statuses.items()))}")
    assert not faults, faults[0]
    assert statuses[500] == 0
    assert sum(statuses[status] for status in (200, 201, 204, 303)) > REQUESTS / 50, "some of them work"
    assert Connection(broker.url).send("GET", b"GET /readyz HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == 200
