-- The tokens of a workspace, newest first (their ids are UUIDs of version 7), a page at a time.
--
-- Writes to the tokens wait while the index is built. On a large database, build it beforehand, with CONCURRENTLY:
-- docs/upgrading.md.
CREATE INDEX IF NOT EXISTS tokens_of_workspace ON tokens (organization_id, workspace_id, id);
