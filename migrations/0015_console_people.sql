-- People who are signed in to the console through an identity provider, without an API key. Only the SHA-256 of what the browser's
-- cookie has is stored. groups: those of the person's groups that had a role when they signed in; the settings of the server
-- decide at each request which role that is, so that a group that is taken out of them ends its sessions.
CREATE TABLE console_people (
    id              UUID PRIMARY KEY,
    organization_id TEXT NOT NULL,
    workspace_id    TEXT NOT NULL,
    issuer          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    name            TEXT,
    email           TEXT,
    groups          JSONB NOT NULL,
    digest          BYTEA NOT NULL UNIQUE,
    created_at      TIMESTAMPTZ NOT NULL,
    expires_at      TIMESTAMPTZ NOT NULL
);
CREATE INDEX console_people_expired ON console_people (expires_at);
