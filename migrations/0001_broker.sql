-- One text for PostgreSQL and SQLite. Lists and maps are JSON, secrets are sealed bytes, times are bound by the program.
-- Every record carries its organization and workspace, and every statement names both.

CREATE TABLE installation (
    id              BIGINT PRIMARY KEY CHECK (id = 1),
    organization_id TEXT NOT NULL,
    workspace_id    TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL
);

-- A known text sealed with each key that was ever used here: a wrong key is refused at start.
CREATE TABLE encryption_keys (
    key_id      TEXT PRIMARY KEY,
    check_value BYTEA NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL
);

CREATE TABLE api_keys (
    id              UUID PRIMARY KEY,
    organization_id TEXT NOT NULL,
    workspace_id    TEXT NOT NULL,
    digest          BYTEA NOT NULL UNIQUE,
    prefix          TEXT NOT NULL,
    name            TEXT NOT NULL,
    role            TEXT NOT NULL CHECK (role IN ('admin', 'agent', 'viewer')),
    kind            TEXT NOT NULL CHECK (kind IN ('personal', 'service')),
    user_id         TEXT,
    created_at      TIMESTAMPTZ NOT NULL,
    expires_at      TIMESTAMPTZ,
    revoked_at      TIMESTAMPTZ,
    CHECK ((kind = 'personal') = (user_id IS NOT NULL))
);

CREATE TABLE providers (
    id                         UUID PRIMARY KEY,
    organization_id            TEXT NOT NULL,
    workspace_id               TEXT NOT NULL,
    provider_id                TEXT NOT NULL,
    name                       TEXT NOT NULL,
    client_id                  TEXT NOT NULL,
    client_secret              BYTEA,
    auth_url                   TEXT NOT NULL,
    token_url                  TEXT NOT NULL,
    uses_pkce                  BOOLEAN NOT NULL,
    code_challenge_method      TEXT NOT NULL,
    provider_type              TEXT,
    token_endpoint_auth_method TEXT NOT NULL,
    authorization_params       JSONB NOT NULL,
    allowed_redirect_uris      JSONB NOT NULL,
    mcp_server_url             TEXT,
    is_dynamic_client          BOOLEAN NOT NULL,
    options                    JSONB NOT NULL,
    revocation_url             TEXT,
    userinfo_url               TEXT,
    client_error               TEXT,
    client_error_at            TIMESTAMPTZ,
    generation                 BIGINT NOT NULL,
    created_at                 TIMESTAMPTZ NOT NULL,
    updated_at                 TIMESTAMPTZ NOT NULL,
    UNIQUE (organization_id, workspace_id, provider_id)
);

-- The stored grant of one subject at one provider. agent_id is '' where the token is for no agent in particular.
-- generation counts the writes of the secrets; refresh_owner and refresh_until are the lease of a running refresh. An
-- owner whose time is over is a refresh that broke off.
CREATE TABLE tokens (
    id                       UUID PRIMARY KEY,
    organization_id          TEXT NOT NULL,
    workspace_id             TEXT NOT NULL,
    provider                 UUID NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
    user_id                  TEXT NOT NULL,
    ls_user_id               TEXT,
    agent_id                 TEXT NOT NULL,
    account_id               TEXT,
    account_label            TEXT,
    access_token             BYTEA NOT NULL,
    refresh_token            BYTEA,
    scopes                   JSONB NOT NULL,
    metadata                 JSONB NOT NULL,
    is_default               BOOLEAN NOT NULL,
    state                    TEXT NOT NULL CHECK (state IN ('active', 'consent_needed')),
    expires_at               TIMESTAMPTZ,
    refresh_due_at           TIMESTAMPTZ,
    refresh_token_expires_at TIMESTAMPTZ,
    generation               BIGINT NOT NULL,
    refresh_owner            UUID,
    refresh_until            BIGINT,
    refresh_failures         BIGINT NOT NULL DEFAULT 0,
    last_refreshed_at        TIMESTAMPTZ,
    last_error               TEXT,
    last_error_at            TIMESTAMPTZ,
    retry_at                 TIMESTAMPTZ,
    last_used_at             TIMESTAMPTZ,
    created_at               TIMESTAMPTZ NOT NULL,
    updated_at               TIMESTAMPTZ NOT NULL
);
-- In the order in which a subject's tokens are preferred.
CREATE INDEX tokens_of_subject ON tokens (provider, user_id, agent_id, is_default DESC, created_at DESC);
CREATE UNIQUE INDEX tokens_one_default ON tokens (provider, user_id, agent_id) WHERE is_default;
CREATE UNIQUE INDEX tokens_one_per_account ON tokens (provider, user_id, agent_id, account_id) WHERE account_id IS NOT NULL;
CREATE INDEX tokens_of_user ON tokens (organization_id, workspace_id, user_id);
CREATE INDEX tokens_of_ls_user ON tokens (organization_id, workspace_id, ls_user_id);
-- For the work in the background: what is due, what was not renewed for long, what is about to end, what is dead.
CREATE INDEX tokens_broken_off ON tokens (id) WHERE refresh_owner IS NOT NULL;
CREATE INDEX tokens_due ON tokens (refresh_due_at) WHERE state = 'active';
CREATE INDEX tokens_renewed ON tokens ((COALESCE(last_refreshed_at, created_at))) WHERE state = 'active';
CREATE INDEX tokens_ending ON tokens (refresh_token_expires_at) WHERE refresh_token_expires_at IS NOT NULL;
CREATE INDEX tokens_dead ON tokens ((COALESCE(last_error_at, updated_at))) WHERE state = 'consent_needed';

-- One attempt to get consent. The endpoints, client and redirect URI are those it was begun with. With a device_code the
-- provider is asked every poll_seconds, next at poll_at, whether the person has consented.
CREATE TABLE authorization_requests (
    id                         UUID PRIMARY KEY,
    organization_id            TEXT NOT NULL,
    workspace_id               TEXT NOT NULL,
    provider                   UUID NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
    provider_id                TEXT NOT NULL,
    state_hash                 BYTEA NOT NULL UNIQUE,
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
CREATE INDEX authorization_requests_finished ON authorization_requests (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX authorization_requests_polled ON authorization_requests (poll_at) WHERE poll_at IS NOT NULL;
CREATE INDEX authorization_requests_expired ON authorization_requests (expires_at);
CREATE INDEX authorization_requests_of_provider ON authorization_requests (provider);
CREATE INDEX authorization_requests_of_token ON authorization_requests (token);

-- An agent's right to use a token that is not its own.
CREATE TABLE agent_connections (
    id              UUID PRIMARY KEY,
    organization_id TEXT NOT NULL,
    workspace_id    TEXT NOT NULL,
    agent_id        TEXT NOT NULL,
    token           UUID NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    created_by      TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    UNIQUE (organization_id, workspace_id, agent_id, token)
);
CREATE INDEX agent_connections_of_token ON agent_connections (token);

-- Grants that were deleted here and are yet to be revoked at their provider, with all that takes: the provider itself may
-- be gone by then.
CREATE TABLE revocations (
    id                         UUID PRIMARY KEY,
    organization_id            TEXT NOT NULL,
    workspace_id               TEXT NOT NULL,
    provider_id                TEXT NOT NULL,
    revocation_url             TEXT NOT NULL,
    token_url                  TEXT NOT NULL,
    client_id                  TEXT NOT NULL,
    client_secret              BYTEA,
    token_endpoint_auth_method TEXT NOT NULL,
    options                    JSONB NOT NULL,
    access_token               BYTEA NOT NULL,
    refresh_token              BYTEA,
    account_id                 TEXT,
    attempts                   BIGINT NOT NULL,
    last_error                 TEXT,
    next_at                    TIMESTAMPTZ NOT NULL,
    created_at                 TIMESTAMPTZ NOT NULL
);
CREATE INDEX revocations_due ON revocations (next_at);

-- Background work that one replica does at a time. until is in milliseconds by the database's clock.
CREATE TABLE jobs (
    name     TEXT PRIMARY KEY,
    owner    UUID NOT NULL,
    until    BIGINT NOT NULL
);
