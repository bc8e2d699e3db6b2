-- What was reported of each workspace lately, whether or not it has webhooks: who follows its events reads them here.
-- sequence is the number of the audit event; a workspace has only some of the numbers of its organization.
CREATE TABLE reported_events (
    organization_id TEXT NOT NULL,
    workspace_id    TEXT NOT NULL,
    sequence        BIGINT NOT NULL,
    event           TEXT NOT NULL,
    payload         TEXT NOT NULL,
    at              TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (organization_id, workspace_id, sequence)
);
CREATE INDEX reported_events_oldest ON reported_events (at);
