-- PostgreSQL has to know that a workspace belongs to one organization. Otherwise it takes the two for independent, expects
-- a few rows of a workspace that has millions, and reads all of them where there is a better index.
-- Run at every start, so it must not lock a table that has its statistics already. SQLite knows nothing like it.
DO $$
DECLARE
    name TEXT;
    is_new BOOLEAN := FALSE;
BEGIN
    FOREACH name IN ARRAY ARRAY['tokens', 'agent_connections', 'authorization_requests'] LOOP
        IF NOT EXISTS (
            SELECT 1 FROM pg_statistic_ext
            WHERE stxname = name || '_tenant' AND stxnamespace = current_schema()::regnamespace
        ) THEN
            EXECUTE format('CREATE STATISTICS %I (dependencies) ON organization_id, workspace_id FROM %I', name || '_tenant', name);
            is_new := TRUE;
        END IF;
    END LOOP;
    -- A database of an earlier version; autovacuum might not come for weeks.
    IF is_new AND EXISTS (SELECT 1 FROM tokens) THEN
        ANALYZE tokens, agent_connections, authorization_requests;
    END IF;
END
$$;
