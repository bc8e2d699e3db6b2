-- A person who consents on another device does not come back here, so such a request has no state: state_hash becomes
-- nullable. SQLite cannot change a column, so the table is written again, on both databases alike.

CREATE TABLE authorization_requests_2 (
    id                         UUID PRIMARY KEY,
    organization_id            TEXT NOT NULL,
    workspace_id               TEXT NOT NULL,
    provider                   UUID NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
    provider_id                TEXT NOT NULL,
    state_hash                 BYTEA UNIQUE,
    code_verifier              BYTEA,
    client_id                  TEXT NOT NULL,
    client_secret              BYTEA,
    token_endpoint_auth_method TEXT NOT NULL,
    token_url                  TEXT NOT NULL,
    revocation_url             TEXT,
    options                    JSONB NOT NULL,
    redirect_uri               TEXT NOT NULL,
    user_id                    TEXT NOT NULL,
    ls_user_id                 TEXT,
    agent_id                   TEXT NOT NULL,
    scopes                     JSONB NOT NULL,
    is_default                 BOOLEAN NOT NULL,
    force_new                  BOOLEAN NOT NULL,
    status                     TEXT NOT NULL CHECK (status IN ('pending', 'exchanging', 'completed', 'failed')),
    code_hash                  BYTEA,
    taken_at                   TIMESTAMPTZ,
    device_code                BYTEA,
    poll_seconds               BIGINT,
    poll_at                    TIMESTAMPTZ,
    token                      UUID REFERENCES tokens (id) ON DELETE SET NULL,
    error                      TEXT,
    error_description          TEXT,
    created_at                 TIMESTAMPTZ NOT NULL,
    expires_at                 TIMESTAMPTZ NOT NULL,
    finished_at                TIMESTAMPTZ
);

-- From here a replica of the old version that writes a request waits, and then writes it to the new table. The new table
-- has locked tokens before, in the order in which the replicas lock.
ALTER TABLE authorization_requests RENAME TO authorization_requests_1;

INSERT INTO authorization_requests_2 (id, organization_id, workspace_id, provider, provider_id, state_hash, code_verifier,
    client_id, client_secret, token_endpoint_auth_method, token_url, revocation_url, options, redirect_uri, user_id,
    ls_user_id, agent_id, scopes, is_default, force_new, status, code_hash, taken_at, device_code, poll_seconds, poll_at,
    token, error, error_description, created_at, expires_at, finished_at)
SELECT id, organization_id, workspace_id, provider, provider_id, state_hash, code_verifier,
    client_id, client_secret, token_endpoint_auth_method, token_url, revocation_url, options, redirect_uri, user_id,
    ls_user_id, agent_id, scopes, is_default, force_new, status, code_hash, taken_at, device_code, poll_seconds, poll_at,
    token, error, error_description, created_at, expires_at, finished_at
FROM authorization_requests_1;

DROP TABLE authorization_requests_1;
ALTER TABLE authorization_requests_2 RENAME TO authorization_requests;

CREATE INDEX authorization_requests_finished ON authorization_requests (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX authorization_requests_polled ON authorization_requests (poll_at) WHERE poll_at IS NOT NULL;
CREATE INDEX authorization_requests_expired ON authorization_requests (expires_at);
CREATE INDEX authorization_requests_of_provider ON authorization_requests (provider);
CREATE INDEX authorization_requests_of_token ON authorization_requests (token);
