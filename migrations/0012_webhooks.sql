-- Where events of a workspace are sent. events are the wanted types, each between spaces; '' is all of them.
CREATE TABLE webhooks (
    id              UUID PRIMARY KEY,
    organization_id TEXT NOT NULL,
    workspace_id    TEXT NOT NULL,
    url             TEXT NOT NULL,
    secret          BYTEA NOT NULL,
    events          TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    disabled_at     TIMESTAMPTZ,
    disabled_reason TEXT
);
CREATE INDEX webhooks_of_workspace ON webhooks (organization_id, workspace_id);

-- The outbox: one row for each event and webhook, written in the transaction of what it reports. sequence is the number of
-- the audit event, so that rows of one ordering_key (a token, a provider) are in the order of their commits. due_at is NULL
-- when there is nothing left to do: it was delivered, or it is dead. owner and leased_until (in milliseconds by the
-- database's clock) are the lease of a running attempt.
CREATE TABLE webhook_deliveries (
    id              UUID PRIMARY KEY,
    organization_id TEXT NOT NULL,
    workspace_id    TEXT NOT NULL,
    webhook         UUID NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    sequence        BIGINT NOT NULL,
    ordering_key    TEXT NOT NULL,
    event           TEXT NOT NULL,
    payload         TEXT NOT NULL,
    attempts        BIGINT NOT NULL DEFAULT 0,
    due_at          TIMESTAMPTZ,
    owner           UUID,
    leased_until    BIGINT,
    last_status     BIGINT,
    last_error      TEXT,
    created_at      TIMESTAMPTZ NOT NULL,
    delivered_at    TIMESTAMPTZ,
    dead_at         TIMESTAMPTZ
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook, due_at, sequence) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook, ordering_key, sequence) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook, created_at);
CREATE INDEX webhook_deliveries_oldest ON webhook_deliveries (created_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_delivered ON webhook_deliveries (delivered_at) WHERE delivered_at IS NOT NULL;
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (dead_at) WHERE dead_at IS NOT NULL;

-- Whether refreshes move the end of the refresh token, and whether its end was reported since the last consent.
ALTER TABLE tokens ADD COLUMN refresh_token_extends BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE tokens ADD COLUMN ending_reported_at TIMESTAMPTZ;
