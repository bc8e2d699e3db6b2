-- Who is signed in to the console, by which API key. Only the SHA-256 of what the browser's cookie has is stored. A session
-- lasts no longer than its key is valid.
CREATE TABLE console_sessions (
    id              UUID PRIMARY KEY,
    organization_id TEXT NOT NULL,
    workspace_id    TEXT NOT NULL,
    api_key         UUID NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    digest          BYTEA NOT NULL UNIQUE,
    created_at      TIMESTAMPTZ NOT NULL,
    expires_at      TIMESTAMPTZ NOT NULL
);
CREATE INDEX console_sessions_of_key ON console_sessions (api_key);
CREATE INDEX console_sessions_expired ON console_sessions (expires_at);
