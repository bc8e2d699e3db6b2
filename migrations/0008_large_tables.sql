-- Where a workspace or a provider has a million tokens, these are found without reading all of them: the tokens of an
-- account, before it is revoked, and those that wait before they are refreshed again.
--
-- Writes to the tokens wait while an index is built. On a large database, build both beforehand, with CONCURRENTLY:
-- docs/upgrading.md.
CREATE INDEX IF NOT EXISTS tokens_of_account ON tokens (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS tokens_cooling_down ON tokens (provider) WHERE retry_at IS NOT NULL;
