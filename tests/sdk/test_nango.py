"""`agent-auth import nango`: a Nango database as Nango itself makes it, encrypted the way it encrypts.

The tables have the columns of Nango's migrations that matter here, and some that do not. The encryption is written here
once more: AES-256-GCM with a nonce of 12 bytes; ciphertext, nonce and tag are base64 of their own.
"""

import base64
import json
import os
import secrets
import subprocess
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import broker as agent_auth

ADMIN = "nango-tests-bootstrap-key-0123456789abcdef"

TABLES = """
CREATE SCHEMA nango;
CREATE TABLE nango._nango_environments (
    id serial PRIMARY KEY, name varchar(255) NOT NULL, account_id integer, secret_key varchar(255) NOT NULL,
    secret_key_iv varchar(255), secret_key_tag varchar(255), callback_url text, hmac_enabled boolean DEFAULT false
);
CREATE TABLE nango._nango_configs (
    id serial PRIMARY KEY, created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(),
    unique_key varchar(255) NOT NULL, provider varchar(255) NOT NULL, oauth_client_id varchar(255),
    oauth_client_secret text, oauth_scopes text, environment_id integer NOT NULL, oauth_client_secret_iv varchar(255),
    oauth_client_secret_tag varchar(255), app_link text, custom jsonb, deleted boolean DEFAULT false,
    deleted_at timestamptz, missing_fields text[] DEFAULT '{}', display_name varchar(255)
);
CREATE TABLE nango.end_users (
    id serial PRIMARY KEY, end_user_id varchar(255) NOT NULL, account_id integer NOT NULL, environment_id integer NOT NULL,
    email varchar(255), display_name varchar(255), organization_id varchar(255), created_at timestamptz DEFAULT now()
);
CREATE TABLE nango._nango_connections (
    id serial PRIMARY KEY, created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(),
    provider_config_key varchar(255) NOT NULL, connection_id varchar(255) NOT NULL, credentials json NOT NULL,
    connection_config jsonb, environment_id integer NOT NULL, metadata jsonb, credentials_iv varchar(255),
    credentials_tag varchar(255), deleted boolean DEFAULT false, deleted_at timestamptz, last_fetched_at timestamptz,
    config_id integer, end_user_id integer, tags jsonb, credentials_expires_at timestamptz
);
"""


class Nango:
    """A self-hosted Nango: its database, and its key unless it has none."""

    def __init__(self, encrypted=True, with_end_users=True):
        url, database = os.environ[agent_auth.POSTGRES], f"nango_{secrets.token_hex(6)}"
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(f'CREATE DATABASE "{database}"')
        self.url = urlsplit(url)._replace(path=f"/{database}").geturl()
        self.key = base64.b64encode(secrets.token_bytes(32)).decode() if encrypted else None
        self.database = psycopg.connect(self.url, autocommit=True)
        self.database.execute(TABLES)
        if not with_end_users:
            self.database.execute("DROP TABLE nango.end_users")
            self.database.execute("ALTER TABLE nango._nango_connections DROP end_user_id, DROP tags, DROP config_id")
        self.environment = self._insert("_nango_environments", name="prod", account_id=1, secret_key="s")

    def _insert(self, table, **columns):
        names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
        row = self.database.execute(f"INSERT INTO nango.{table} ({names}) VALUES ({places}) RETURNING id", [*columns.values()])
        return row.fetchone()[0]

    def encrypt(self, text):
        nonce = secrets.token_bytes(12)
        sealed = AESGCM(base64.b64decode(self.key)).encrypt(nonce, text.encode(), None)
        return tuple(base64.b64encode(part).decode() for part in (sealed[:-16], nonce, sealed[-16:]))

    def integration(self, unique_key, provider, client_id, client_secret, scopes="read,write", **columns):
        secret, iv, tag = self.encrypt(client_secret) if self.key else (client_secret, None, None)
        return self._insert(
            "_nango_configs", unique_key=unique_key, provider=provider, oauth_client_id=client_id,
            oauth_client_secret=secret, oauth_client_secret_iv=iv, oauth_client_secret_tag=tag, oauth_scopes=scopes,
            environment_id=self.environment, **columns,
        )

    def end_user(self, end_user_id):
        return self._insert(
            "end_users", end_user_id=end_user_id, account_id=1, environment_id=self.environment, email="e@acme.example"
        )

    def connection(self, integration, connection_id, credentials, **columns):
        text, iv, tag = json.dumps(credentials), None, None
        if self.key:
            sealed, iv, tag = self.encrypt(text)
            text = json.dumps({"encrypted_credentials": sealed})
        return self._insert(
            "_nango_connections", provider_config_key=integration, connection_id=connection_id, credentials=text,
            credentials_iv=iv, credentials_tag=tag, environment_id=self.environment, connection_config="{}", **columns,
        )

    def variables(self):
        return {"NANGO_DATABASE_URL": self.url} | ({"NANGO_ENCRYPTION_KEY": self.key} if self.key else {})


def oauth2(refresh_token, **more):
    access_token = f"old-{secrets.token_hex(8)}"
    raw = {"access_token": access_token, "refresh_token": refresh_token, "scope": "read", "token_type": "bearer"}
    credentials = {"type": "OAUTH2", "access_token": access_token, "refresh_token": refresh_token}
    return credentials | {"expires_at": "2999-01-01T00:00:00.000Z", "raw": raw | more.pop("raw", {})} | more


class Installation:
    """An empty agent-auth with an entry of the catalogue that stands for the scripted provider."""

    def __init__(self, database, folder, upstream):
        entries = folder / "catalog"
        entries.mkdir()
        (entries / "scripted.toml").write_text(
            f'display_name = "Scripted"\nauth_url = "{upstream.authorization_url}"\ntoken_url = "{upstream.token_url}"\n'
            'accounts = [{ id = ["/person/id"], label = ["/person/email"] }]\n'
        )
        self.folder = folder
        self.settings = {
            "DATA_DIR": str(folder / "data"), "BOOTSTRAP_API_KEY": ADMIN, "ALLOW_PRIVATE_UPSTREAMS": "true",
            "CATALOG_FILE": str(entries),
        }
        if database == "postgres":
            self.settings |= agent_auth.new_postgres_database()

    def run(self, nango, *arguments, variables=None):
        environment = agent_auth.environment(self.settings) | (nango.variables() if variables is None else variables)
        command = [agent_auth.BINARY, "import", "nango", *arguments]
        return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60)

    def tokens_of(self, users, provider):
        server = agent_auth.Broker(self.folder, self.settings)
        try:
            def ask(user):
                body = {"provider": provider, "scopes": ["read"], "user_id": user}
                headers = {"x-api-key": ADMIN, "x-user-id": user}
                return httpx.post(f"{server.url}/v2/auth/authenticate", json=body, headers=headers, timeout=30).json()

            return [ask(user) for user in users]
        finally:
            server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def installation(request, tmp_path, upstream):
    return Installation(request.param, tmp_path, upstream)


def given(upstream, refresh_token, scope="read"):
    """The provider knows this refresh token."""
    upstream.refresh_tokens[refresh_token] = scope
    return refresh_token


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
def test_integrations_and_connections_are_brought_over(installation, upstream, encrypted):
    nango = Nango(encrypted=encrypted)
    config = nango.integration("scripted-prod", "scripted", upstream.client_id, upstream.client_secret)
    alice = nango.end_user("alice")
    person = {"person": {"id": "42", "email": "alice@acme.example"}, "instance_url": "https://eu.acme.example"}
    nango.connection("scripted-prod", "c-1", oauth2(given(upstream, "rt-1"), raw=person), config_id=config, end_user_id=alice)
    nango.connection(
        "scripted-prod", "c-2", oauth2(given(upstream, "rt-2")), config_id=config, tags='{"end_user_id": "bob"}'
    )
    nango.connection("scripted-prod", "carol", oauth2(given(upstream, "rt-3")), config_id=config)
    nango.connection("scripted-prod", "gone", oauth2("rt-gone"), config_id=config, deleted=True)

    arguments = ["--provider", "scripted-prod=scripted"]
    dry = installation.run(nango, *arguments, "--dry-run")
    assert dry.returncode == 0 and "Would take 3 grants" in dry.stdout, dry
    done = installation.run(nango, *arguments)
    assert done.returncode == 0, done
    assert "Created provider scripted." in done.stdout and "Took 3 grants with a refresh token." in done.stdout, done
    again = installation.run(nango, *arguments)
    assert again.returncode == 0 and "3 grants were brought in before." in again.stdout, again

    answers = installation.tokens_of(["alice", "bob", "carol"], "scripted")
    assert [answer["status"] for answer in answers] == ["completed"] * 3, answers
    assert [answer["token"] for answer in answers] == upstream.access_tokens, "refreshed, each once"
    assert [form["refresh_token"] for _, form in upstream.token_requests] == ["rt-1", "rt-2", "rt-3"]
    assert answers[0]["metadata"]["instance_url"] == "https://eu.acme.example"
    for said in (dry, done, again):
        for secret in (upstream.client_secret, "rt-1", nango.key or "rt-2"):
            assert secret not in said.stdout + said.stderr


def test_an_older_version_without_end_users_is_read(installation, upstream):
    nango = Nango(with_end_users=False)
    nango.integration("scripted", "scripted", upstream.client_id, upstream.client_secret)
    nango.connection("scripted", "alice", oauth2(given(upstream, "rt-1")))
    done = installation.run(nango)
    assert done.returncode == 0 and "Took 1 grants" in done.stdout, done


def test_what_cannot_be_brought_over_is_reported(installation, upstream):
    nango = Nango()
    config = nango.integration("scripted", "scripted", upstream.client_id, upstream.client_secret)
    nango.integration("unknown", "no-such-provider", "id", "secret")
    nango.connection("scripted", "good", oauth2(given(upstream, "rt-1")), config_id=config)
    nango.connection("scripted", "old", {"type": "OAUTH1", "oauth_token": "t", "oauth_token_secret": "s"}, config_id=config)
    nango.connection("scripted", "machine", {"type": "OAUTH2_CC", "token": "t", "raw": {}}, config_id=config)
    nango.connection("scripted", "own", oauth2("rt-2", config_override={"client_id": "other"}), config_id=config)
    nango.connection("unknown", "lost", oauth2("rt-3"))
    damaged = nango.connection("scripted", "damaged", oauth2("rt-4"), config_id=config)
    nango.database.execute("UPDATE nango._nango_connections SET credentials_tag = credentials_iv WHERE id = %s", [damaged])
    done = installation.run(nango)
    assert done.returncode == 1, done
    assert "Took 1 grants" in done.stdout, done
    for place, why in [
        ("integration unknown", "no template of that name"),
        ("connection old of scripted", "only OAuth 2.0 and API keys"),
        ("connection machine of scripted", "without a person"),
        ("connection own of scripted", "a client of its own"),
        ("connection lost of unknown", "its provider was not taken"),
        ("connection damaged of scripted", "its credentials: "),
    ]:
        assert any(f"Not taken: {place}: " in line and why in line for line in done.stdout.splitlines()), (place, done)


def test_a_missing_or_wrong_key_ends_the_import_before_anything_is_written(installation, upstream):
    nango = Nango()
    nango.integration("scripted", "scripted", upstream.client_id, upstream.client_secret)
    missing = installation.run(nango, variables={"NANGO_DATABASE_URL": nango.url})
    assert missing.returncode == 1 and "NANGO_ENCRYPTION_KEY" in missing.stderr, missing
    wrong = base64.b64encode(secrets.token_bytes(32)).decode()
    refused = installation.run(nango, variables={"NANGO_DATABASE_URL": nango.url, "NANGO_ENCRYPTION_KEY": wrong})
    assert refused.returncode == 1 and "does not open with NANGO_ENCRYPTION_KEY" in refused.stderr, refused
    assert "Created" not in refused.stdout and wrong not in refused.stderr, refused


def test_two_databases_with_the_same_row_ids_lose_nothing_and_deleted_rows_end_nothing(installation, upstream):
    first, second = Nango(), Nango()
    for nango, user, token in ((first, "alice", "rt-1"), (second, "bob", "rt-2")):
        config = nango.integration("scripted", "scripted", upstream.client_id, upstream.client_secret)
        nango.connection("scripted", user, oauth2(given(upstream, token)), config_id=config)
        nango.connection("scripted", f"of-{user}", oauth2(f"more-{token}"), config_id=config, tags='{"end_user_id": "zoe"}')
    second.database.execute(
        "INSERT INTO nango._nango_connections (provider_config_key, connection_id, credentials, environment_id, deleted)"
        " SELECT 'scripted', 'gone', '{}', %s, true FROM generate_series(1, 600)", [second.environment]
    )
    second.connection("scripted", "dave", oauth2("rt-4"))
    assert "Took 2 grants" in installation.run(first).stdout
    done = installation.run(second)
    assert done.returncode == 0 and "Took 3 grants" in done.stdout, done
    again = installation.run(second)
    assert again.returncode == 0 and "3 grants were brought in before." in again.stdout, again


def test_an_environment_is_chosen_and_nothing_is_written_to_nango(installation, upstream):
    nango = Nango()
    nango.integration("scripted", "scripted", upstream.client_id, upstream.client_secret)
    nango.connection("scripted", "alice", oauth2(given(upstream, "rt-1")))
    nango._insert("_nango_environments", name="dev", account_id=1, secret_key="t")
    refused = installation.run(nango)
    assert refused.returncode == 1 and "There are: prod, dev" in refused.stderr, refused
    assert "no environment `stage`" in installation.run(nango, "--environment", "stage").stderr
    before = nango.database.execute("SELECT md5(string_agg(c::text, ',')) FROM nango._nango_connections c").fetchone()
    done = installation.run(nango, "--environment", "prod")
    assert done.returncode == 0 and "Took 1 grants" in done.stdout, done
    after = nango.database.execute("SELECT md5(string_agg(c::text, ',')) FROM nango._nango_connections c").fetchone()
    assert before == after
