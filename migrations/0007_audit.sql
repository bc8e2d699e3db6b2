-- What was done, by whom and for whom. Rows are only ever added, numbered without a gap within their organization; each
-- hash covers the row and the hash before it. Only retention deletes, from the oldest row on.
CREATE TABLE audit_events (
    organization_id TEXT NOT NULL,
    sequence        BIGINT NOT NULL,
    at              TIMESTAMPTZ NOT NULL,
    event           TEXT NOT NULL,
    result          TEXT NOT NULL,
    actor           TEXT NOT NULL,
    actor_id        TEXT,
    workspace_id    TEXT NOT NULL,
    user_id         TEXT,
    agent_id        TEXT,
    provider_id     TEXT,
    token_id        UUID,
    auth_id         UUID,
    scopes          JSONB NOT NULL,
    error           TEXT,
    details         JSONB NOT NULL,
    request_id      TEXT,
    address         TEXT,
    hash            BYTEA NOT NULL,
    PRIMARY KEY (organization_id, sequence)
);

-- The ends of each organization's chain: its last event, and the last one that retention deleted (0: none). The code in mac
-- covers both, so that cutting the chain is noticed. audit_key is the sealed key of all these codes; it belongs to no
-- workspace, so workspace_id is ''.
CREATE TABLE audit_heads (
    id              UUID PRIMARY KEY,
    organization_id TEXT NOT NULL UNIQUE,
    workspace_id    TEXT NOT NULL,
    audit_key       BYTEA NOT NULL,
    sequence        BIGINT NOT NULL,
    hash            BYTEA NOT NULL,
    pruned_to       BIGINT NOT NULL,
    pruned_hash     BYTEA NOT NULL,
    mac             BYTEA NOT NULL
);
