-- Which grants were brought in from elsewhere, by the id they have there: a second run of an import finds them here. A row
-- stays when its token is deleted, so that a grant that was revoked is not brought back.
CREATE TABLE imported_grants (
    organization_id TEXT NOT NULL,
    workspace_id    TEXT NOT NULL,
    source_id       TEXT NOT NULL,
    token           UUID NOT NULL UNIQUE,
    imported_at     TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (organization_id, workspace_id, source_id)
);
