-- The providers, agents and users that an API key is limited to, as {"providers": [...], "agents": [...], "users": [...]}.
-- A list that is absent is no limit; NULL: the key has no limits.
ALTER TABLE api_keys ADD COLUMN limits JSONB;
