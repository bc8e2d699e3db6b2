-- How many values each key has sealed, as far as its algorithm limits them.
ALTER TABLE encryption_keys ADD COLUMN sealed BIGINT NOT NULL DEFAULT 0;

-- The running servers, each with the ids of its encryption keys, the sealing one first. until is in milliseconds by the
-- database's clock; a server that is gone stays until then.
CREATE TABLE servers (
    id              UUID PRIMARY KEY,
    encryption_keys JSONB NOT NULL,
    until           BIGINT NOT NULL
);
