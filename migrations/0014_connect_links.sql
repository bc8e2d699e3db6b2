-- Links at which one person sees, makes and ends their own connections. Only SHA-256 hashes are stored: secret_hash of what the
-- link's address has, and session_hash of the cookie that it was exchanged for, once. limits is what the session reaches, as in
-- api_keys: always one user. api_key is the key that made the link, which is good no longer than that key; NULL: LangSmith
-- identified who made it.
CREATE TABLE connect_links (
    id                 UUID PRIMARY KEY,
    organization_id    TEXT NOT NULL,
    workspace_id       TEXT NOT NULL,
    user_id            TEXT NOT NULL,
    api_key            UUID REFERENCES api_keys (id) ON DELETE CASCADE,
    limits             JSONB NOT NULL,
    scopes             JSONB NOT NULL,
    consent            TEXT NOT NULL,
    return_url         TEXT,
    secret_hash        BYTEA NOT NULL UNIQUE,
    created_at         TIMESTAMPTZ NOT NULL,
    expires_at         TIMESTAMPTZ NOT NULL,
    session_hash       BYTEA UNIQUE,
    session_expires_at TIMESTAMPTZ
);
CREATE INDEX connect_links_of_key ON connect_links (api_key);
CREATE INDEX connect_links_expired ON connect_links (expires_at);
