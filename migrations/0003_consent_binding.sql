-- Each provider has a callback address of its own. The first of its provider_id has the plain one, an empty tag; those of
-- other workspaces have a tag in it. Records that shared the plain address before this keep it, because it is registered
-- at the provider: all but the earliest are marked.
ALTER TABLE providers ADD COLUMN callback_tag TEXT NOT NULL DEFAULT '';
ALTER TABLE providers ADD COLUMN shares_callback BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE providers SET shares_callback = TRUE
WHERE EXISTS (
    SELECT 1 FROM providers AS earlier
    WHERE earlier.provider_id = providers.provider_id
      AND (earlier.created_at < providers.created_at
           OR (earlier.created_at = providers.created_at AND earlier.id < providers.id)));
CREATE UNIQUE INDEX providers_one_plain_callback ON providers (provider_id) WHERE callback_tag = '' AND NOT shares_callback;
CREATE INDEX providers_of_callback ON providers (provider_id, callback_tag);

-- How a request is bound to its person. reference_hash is of the reference in the URL of our page, browser_hash of the cookie of the
-- browser that went on from there. With consent = 'verify' a pending request that has a code waits for the application,
-- which names the reference of confirmation_hash.
ALTER TABLE authorization_requests ADD COLUMN consent TEXT NOT NULL DEFAULT 'direct'
    CHECK (consent IN ('direct', 'confirm', 'verify'));
ALTER TABLE authorization_requests ADD COLUMN reference_hash BYTEA;
ALTER TABLE authorization_requests ADD COLUMN browser_hash BYTEA;
ALTER TABLE authorization_requests ADD COLUMN authorization_url BYTEA;
ALTER TABLE authorization_requests ADD COLUMN user_code BYTEA;
ALTER TABLE authorization_requests ADD COLUMN return_url TEXT;
ALTER TABLE authorization_requests ADD COLUMN code BYTEA;
ALTER TABLE authorization_requests ADD COLUMN confirmation_hash BYTEA;
CREATE UNIQUE INDEX authorization_requests_reference ON authorization_requests (reference_hash) WHERE reference_hash IS NOT NULL;

-- The least strict consent that a key's requests may have; the server's and the provider's count if they are stricter.
ALTER TABLE api_keys ADD COLUMN consent TEXT CHECK (consent IN ('direct', 'confirm', 'verify'));
