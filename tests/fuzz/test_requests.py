"""Requests that no client sends: what a real one looks like, changed at random, over plain sockets, on each database. None
is answered with an internal error, and the server never stops answering. FUZZ_REQUESTS=100000 sends more; the seed is
printed."""

import collections
import json
import os
import random
import socket
import threading
import time
from urllib.parse import parse_qs, quote, urlsplit

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "5000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
CONNECTIONS = 8
# How many requests share what was prepared for them.
PREPARED_FOR = 25
BROWSER = "A" * 43

ID = "01a21a6c-7fb6-76f1-a640-0916a8d8cfed"
PROVIDER = {
    "provider_id": "acme", "name": "Acme", "client_id": "c", "client_secret": "s", "auth_url": "https://acme.invalid/a",
    "token_url": "https://acme.invalid/t", "uses_pkce": True, "code_challenge_method": "S256", "consent": "confirm",
    "authorization_params": {"a": "b"}, "allowed_redirect_uris": ["https://app.invalid/back"], "default_scopes": ["a"],
    "token_params": {"a": "b"}, "token_format": "json", "token_endpoint_auth_method": "client_secret_basic",
    "scope_separator": ",", "resource": "https://r.invalid", "return_urls": ["https://app.invalid/done"],
    "always_scopes": ["b"], "userinfo_url": "https://acme.invalid/u", "revocation_url": "https://acme.invalid/v",
}  # fmt: skip
# What does not go together, but for a field that is taken away or changed.
MIXED = PROVIDER | {
    "template": "github", "template_params": {"host": "x"}, "provider_type": "slack", "grant_type": "api_key",
    "issuer": "http://i.invalid", "device_authorization_url": "https://acme.invalid/d", "omit_resource": True,
}  # fmt: skip
ASKING = {
    "provider": "acme", "scopes": ["read"], "user_id": "USER", "agent_id": "agent", "force_new": True, "min_ttl": 60,
    "is_default": True, "token_id": ID, "redirect_uri": "https://app.invalid/back", "grant": "device", "ls_user_id": "l",
    "return_url": "https://app.invalid/done", "login_hint": "a@b.invalid", "check_only": True,
    "challenge": 'Bearer scope="a b"',
}  # fmt: skip
# Names in capitals are replaced by what `prepare` made. A text is the body of a form.
SAMPLES = [
    ("POST", "/v2/auth/providers", PROVIDER),
    ("POST", "/v2/auth/providers", MIXED),
    ("POST", "/v2/auth/providers", {"provider_id": "g", "client_id": "c", "client_secret": "s", "template": "github"}),
    ("PATCH", "/v2/auth/providers/acme", {"client_secret": "t", "refresh_url": "https://acme.invalid/r", "name": "A"}),
    ("GET", "/v2/auth/providers?limit=10&offset=0", None),
    ("GET", "/v2/auth/providers/acme", None),
    ("DELETE", "/v2/auth/providers/g", None),
    ("POST", "/v2/auth/authenticate", ASKING),
    ("POST", "/v2/auth/authenticate", {"provider": "steady", "scopes": ["read"], "user_id": "USER"}),
    ("POST", "/v2/auth/authenticate", {"provider": "key", "scopes": [], "user_id": "USER", "token_id": "TOKEN"}),
    ("POST", "/api-host/v2/auth/authenticate", {"provider": "key", "scopes": []}),
    ("GET", "/v2/auth/wait/AUTH?timeout=0", None),
    ("POST", "/v2/auth/authorizations/AUTH/confirm", {"user_id": "USER", "reference": "r"}),
    ("GET", "/v2/auth/callback/acme?code=abc&state=def", None),
    ("GET", "/host-oauth-callback/steady?error=access_denied&error_description=no&state=STATE", None),
    ("GET", "/host-oauth-callback/steady/at/tag?error=access_denied&iss=https%3A%2F%2Fi.invalid&state=STATE", None),
    ("GET", "/host-oauth-callback/key/DONE?again", None),
    ("POST", "/v2/auth/callback/key", {"code": "k", "state": "KEY_STATE", "iss": "https://i.invalid", "user_id": "USER"}),
    ("GET", "/v2/auth/setup/acme?setup_action=install&installation_id=1&state=s&code=c", None),
    ("GET", "/connect/PAGE", None),
    ("POST", "/connect/PAGE", f"decision=continue&browser={BROWSER}"),
    ("POST", "/connect/PAGE", "decision=cancel"),
    ("GET", "/connect/link/LINK", None),
    ("POST", "/connect/link/LINK", "decision=continue"),
    ("GET", "/host-api-key/key?state=KEY_STATE", None),
    ("POST", "/host-api-key/key", "state=KEY_STATE&key=k"),
    ("GET", "/v2/auth/tokens?provider_id=key", None),
    ("DELETE", "/v2/auth/tokens?provider_id=acme", None),
    ("GET", "/v2/auth/tokens/exists?provider_id=key", None),
    ("POST", "/v2/auth/tokens/exists/batch", {"provider_ids": ["acme", "b"], "user_id": "USER"}),
    ("GET", "/v2/auth/tokens/TOKEN", None),
    ("DELETE", "/v2/auth/tokens/TOKEN", None),
    ("PATCH", "/v2/auth/tokens/TOKEN/metadata", {"provider_account_label": "work", "is_default": True}),
    ("POST", "/v2/auth/tokens/TOKEN/report-invalid", {"access_token": "k"}),
    ("GET", "/v2/auth/tokens/workspace/slack/exists", None),
    ("DELETE", "/v2/auth/tokens/workspace/slack", None),
    ("GET", "/v2/auth/agents/USER/connections", None),
    ("POST", "/v2/auth/agents/USER/connections", {"oauth_token_id": "TOKEN"}),
    ("DELETE", "/v2/auth/agents/USER/connections/CONNECTION", None),
    ("POST", "/v2/auth/providers/mcp-discover", {"url": "https://mcp.invalid/mcp"}),
    ("GET", "/v2/audit?limit=5&cursor=SEQUENCE", None),
    ("GET", "/v2/audit?event=token.handed_out&provider_id=key&user_id=USER&agent_id=a&actor=api_key&limit=9", None),
    ("GET", "/api-host/v2/audit?format=jsonl&limit=20&from=2026-01-31T00:00:00Z&to=2999-01-31T00:00:00%2B01:00", None),
    ("GET", "/oauth/client-metadata.json/acme", None),
    ("GET", "/oauth/client-metadata.json/acme/tag", None),
    ("GET", "/openapi.json", None),
    ("GET", "/docs/", None),
    ("GET", "/", None),
    ("GET", "/metrics", None),
    ("GET", "/ok", None),
    ("GET", "/livez", None),
    ("GET", "/readyz", None),
]
# They cannot work: the state was not issued, or is for a browser; the person refused; or the provider would have to be reached.
REFUSED = {
    "/v2/auth/callback/acme", "/v2/auth/callback/key", "/v2/auth/setup/acme", "/host-oauth-callback/steady", "/host-oauth-callback/steady/at/tag",
    "/v2/auth/authorizations/AUTH/confirm", "/v2/auth/providers/mcp-discover",
}  # fmt: skip
ODD = [
    None, True, False, 0, -1, 1e308, 2**63, 2**64, "", " ", "\0", "\r\n", "é", "\u202e", "😀", "a" * 600, "a" * 9000, [], {},
    ["a"], [None], {"a": None}, "../..", "%00", "https://", "https://a@b", "http://127.0.0.1/", "javascript:alert(1)",
    "https://acme.invalid/\n", "https://[::1", "S256", "null", ID, "0" * 32, [["a"] * 300], "a b", "'; DROP TABLE tokens;--",
    "9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59", "2026-06-30T23:59:60Z", "jsonl", "9223372036854775807",
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


def changed_path(chance, path):
    """One value of the query, or one step of the path, is another one."""
    path, mark, query = path.partition("?")
    value = quote(str(chance.choice(ODD)).encode("utf-8", "surrogatepass")[:2000], safe="")
    if query and chance.random() < 0.7:
        pairs = query.split("&")
        at = chance.randrange(len(pairs))
        pairs[at] = pairs[at].partition("=")[0] + "=" + value
        query = "&".join(pairs)
    else:
        steps = path.split("/")
        steps[chance.randrange(1, len(steps))] = value
        path = "/".join(steps)
    return path + mark + query


def request(chance, host, keys, prepared):
    """A method, a request, and the sample that it was made of, if it is as it was."""
    sample = method, path, body = chance.choice(SAMPLES)
    is_changed = False
    for name, value in prepared.items():
        path = path.replace(name, value)
    if body is not None:
        text = body if isinstance(body, str) else json.dumps(body)
        for name, value in prepared.items():
            text = text.replace(name, value)
        body = text if isinstance(body, str) else json.loads(text)
    if chance.random() < 0.2:
        path, is_changed = changed_path(chance, path), True
    path = path.encode()
    if chance.random() < 0.3:
        # A blank or a line break would end the address.
        path = b"/" + bytes(byte for byte in changed_bytes(chance, path[1:], 3) if byte not in b" \r\n")
        is_changed = True
    if isinstance(body, str):
        data = body.encode()
    else:
        for _ in range(chance.choice([0, 0, 1, 2, 3])):
            body, is_changed = changed_value(chance, body) if body is not None else body, is_changed or body is not None
        data = b"" if body is None else json.dumps(body, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if data and chance.random() < 0.2:
        data, is_changed = changed_bytes(chance, data, 4), True
    if chance.random() < 0.05:
        method, is_changed = chance.choice(["PUT", "HEAD", "OPTIONS", "TRACE", "PATCH", "POST", "GET", "DELETE"]), True
    headers = []
    if chance.random() < 0.95:
        headers.append(b"X-Api-Key: " + chance.choice(keys))
    if chance.random() < 0.9:
        headers.append(b"X-User-Id: " + prepared["USER"].encode())
    if chance.random() < 0.95:
        headers += browser_headers(host)
    if chance.random() < 0.2:
        name = chance.choice([b"X-User-Id", b"X-Request-Id", b"Authorization", b"X-Tenant-Id", b"Cookie", b"User-Agent", b"Accept"])
        value = changed_bytes(chance, chance.choice([b"alice", b"Bearer x", b"a" * 300]), 4)
        headers.append(name + b": " + value.translate(None, b"\r\n\0"))
    return method, message(method, path, host, headers, data), None if is_changed else sample


def browser_headers(host):
    return [b"Origin: http://" + host, b"Cookie: agent-auth=" + BROWSER.encode()]


def message(method, path, host, headers, data):
    headers = [b"Host: " + host, b"Content-Length: %d" % len(data), b"Content-Type: application/json", *headers]
    return b"%s %s HTTP/1.1\r\n" % (method.encode(), path) + b"\r\n".join(headers) + b"\r\n\r\n" + data


def prepare(connection, host, key, user):
    """What the samples name: a token, an authorization request in each state, a link, a connection, an event."""

    def send(method, path, body=None):
        data = b"" if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        headers = [b"X-Api-Key: " + key, b"X-User-Id: " + user.encode(), *browser_headers(host)]
        status = connection.send(method, message(method, path.encode(), host, headers, data))
        assert status in (200, 201, 303, 409), (method, path, status, connection.body)
        return connection.location if status == 303 else json.loads(connection.body)

    def begin(provider, **options):
        return send("POST", "/v2/auth/authenticate", {"provider": provider, "scopes": ["read"], "user_id": user} | options)

    def state_of(pending):
        at_provider = send("POST", urlsplit(pending["url"]).path, "decision=continue")
        return parse_qs(urlsplit(at_provider).query)["state"][0]

    send("POST", "/v2/auth/providers", PROVIDER | {"provider_id": "steady"})
    send("POST", "/v2/auth/providers", {"provider_id": "key", "name": "Key", "grant_type": "api_key"})
    # What the requests before left of their token.
    send("DELETE", "/v2/auth/tokens?provider_id=key")
    done = begin("key", force_new=True)
    send("POST", "/host-api-key/key", f"state={state_of(done)}&key=k")
    token = send("GET", "/v2/auth/tokens?provider_id=key")[0]["id"]
    connected = send("POST", f"/v2/auth/agents/{user}/connections", {"oauth_token_id": token})
    pending = begin("steady", force_new=True)
    link = begin("steady", agent_id=user, check_only=True)
    return {
        "TOKEN": token, "CONNECTION": connected["id"], "DONE": done["auth_id"], "AUTH": pending["auth_id"], "USER": user,
        "KEY_STATE": quote(state_of(begin("key", force_new=True))), "STATE": quote(state_of(pending)),
        "PAGE": urlsplit(begin("steady", force_new=True)["url"]).path.rpartition("/")[2],
        "LINK": urlsplit(link["url"]).path.rpartition("/")[2],
        "SEQUENCE": str(send("GET", "/v2/audit?limit=1")["data"][0]["sequence"]),
    }  # fmt: skip


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
        self.body, self.location = b"", None
        while (header := self.stream.readline().strip()):
            name, _, value = header.partition(b":")
            name = name.lower()
            if name == b"content-length":
                length = int(value)
            is_last |= name == b"connection" and value.strip().lower() == b"close"
            chunked |= name == b"transfer-encoding"
            if name == b"location":
                self.location = value.strip().decode()
        if method != "HEAD":
            self.body = b"".join(self.chunks()) if chunked else self.stream.read(length)
            assert status != 500, self.body
        if is_last:
            self.close()
        return status

    def chunks(self):
        while (length := int(self.stream.readline(), 16)) > 0:
            yield self.stream.read(length)
            self.stream.readline()
        self.stream.readline()

    def close(self):
        self.stream.close()
        self.socket.close()
        self.stream = None


def test_no_request_finds_a_bug(broker, key):
    host, statuses, faults, worked = urlsplit(broker.url).netloc.encode(), collections.Counter(), [], collections.Counter()
    service_key = broker.service_key.encode()
    # Mostly the one that acts for the users whose records are prepared.
    keys = [service_key] * 4 + [key.encode()]
    begun = time.monotonic()

    def work(number):
        chance = random.Random(f"{SEED}-{number}")
        connection = Connection(broker.url)
        data = b""
        try:
            for count in range(REQUESTS // CONNECTIONS):
                if count % PREPARED_FOR == 0:
                    prepared = prepare(connection, host, service_key, f"user-{number}")
                method, data, sample = request(chance, host, keys, prepared)
                status = connection.send(method, data)
                statuses[status] += 1
                if sample and status in (200, 201, 204, 303):
                    worked[sample[0], sample[1].partition("?")[0]] += 1
        except Exception as error:
            faults.append((data, repr(error)))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - begun
    print(f"\n{sum(statuses.values())} requests in {seconds:.0f} s, seed {SEED}: {dict(sorted(statuses.items()))}")
    assert not faults, faults[0]
    assert statuses[500] == 0
    operations = {(method, path.partition("?")[0]) for method, path, _ in SAMPLES if path.partition("?")[0] not in REFUSED}
    assert sorted(operations - worked.keys()) == [], "these work when they are sent as they should be"
    assert Connection(broker.url).send("GET", b"GET /readyz HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == 200
