-- Up to which end it was reported that access tokens without a refresh token have ended: one row for the installation.
-- token tells apart tokens that ended at the same moment. NULL: nothing was reported yet.
CREATE TABLE ended_tokens_reported (
    id         BIGINT PRIMARY KEY CHECK (id = 1),
    expires_at TIMESTAMPTZ,
    token      UUID
);
INSERT INTO ended_tokens_reported (id) VALUES (1);

-- Writes to the tokens wait while the index is built. On a large database, build it beforehand, with CONCURRENTLY:
-- docs/upgrading.md.
CREATE INDEX IF NOT EXISTS tokens_without_refresh ON tokens (expires_at, id)
    WHERE state = 'active' AND refresh_token IS NULL AND expires_at IS NOT NULL;
