"""The previous release and today's on one database: what works while both run, and what does not. docs/upgrading.md says it."""

import asyncio
import os
import re
import secrets
import signal
import subprocess
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from broker import environment, run
from load import Load, authenticate, consent, expect, token_of
from provider import Provider
from replicas import KEY, NEW, OLD, PUBLIC_URL, Balancer, Replica

USERS = [f"user-{number}" for number in range(8)]
# What the old version does not know.
DIRECT = {"CONSENT": "direct"}


@pytest.fixture
def provider():
    server = Provider()
    yield server
    server.stop()


@pytest.fixture
def database():
    """The settings of every replica on a new database."""
    url, name = os.environ["TEST_POSTGRES_URL"], f"upgrade_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    return {
        "DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl(),
        "ENCRYPTION_KEYS": run("keys", "generate").strip(),
        "BOOTSTRAP_API_KEY": KEY,
        "PUBLIC_URL": PUBLIC_URL,
        "ALLOW_PRIVATE_UPSTREAMS": "true",
    }


@pytest.fixture
def start(database, tmp_path):
    """Starts a replica, which is ended after the test in any case."""
    started = []

    async def start(binary, **settings):
        started.append(Replica(binary, database, tmp_path, **settings))
        return await started[-1].start()

    yield start
    for replica in started:
        replica.kill()


async def set_up(balancer, provider):
    """The providers, and users who consented at the old version."""
    for name in ["long", "short", "gone"]:
        await expect(balancer, 200, "POST", "/v2/auth/providers", json=provider.definition(name))
    for user in USERS:
        for name in ["long", "short"]:
            await consent(balancer, name, user)


def finished(command, settings):
    return subprocess.run(command, env=environment(settings), capture_output=True, text=True, timeout=60)


def test_a_rolling_upgrade_under_load_fails_no_request_and_loses_no_consent(provider, database, start):
    async def story():
        first, second = await start(OLD), await start(OLD)
        balancer = Balancer(first, second)
        await set_up(balancer, provider)
        load = Load(balancer, USERS)
        await load.goes_on()

        third = await start(NEW, **DIRECT)  # migrates the schema under load
        balancer.replicas.append(third)
        await load.goes_on(8)
        await balancer.without(first)
        await first.stop()
        await load.goes_on()
        fourth = await start(NEW, **DIRECT)
        balancer.replicas.append(fourth)
        await load.goes_on()
        await balancer.without(second)
        await second.stop()
        await load.goes_on()
        await load.stop()
        print(dict(load.done), f"{provider.refreshes} refreshes")
        assert load.failures == []
        assert provider.refused == [], "a refresh token was used twice"
        for user in USERS:
            for name in ["long", "short"]:
                await token_of(balancer, name, user)
        await third.stop()
        await fourth.stop()
        verified = finished([NEW, "audit", "verify"], database)
        assert verified.returncode == 0, verified.stdout + verified.stderr

    asyncio.run(story())


def test_columns_that_a_later_version_adds_fail_no_request_of_this_one(provider, database, start):
    """What the migration of the next version does to replicas of this one, under load."""

    async def story():
        balancer = Balancer(await start(NEW, **DIRECT), await start(NEW, **DIRECT))
        await set_up(balancer, provider)
        load = Load(balancer, USERS)
        await load.goes_on()
        with psycopg.connect(database["DATABASE_URL"], autocommit=True) as session:
            tables = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (table,) in tables:
                session.execute(f"ALTER TABLE {table} ADD COLUMN of_the_next_version TEXT NOT NULL DEFAULT ''")
        assert len(tables) > 10
        await load.goes_on(8)
        await load.stop()
        print(dict(load.done), f"{provider.refreshes} refreshes")
        assert load.failures == []
        assert provider.refused == []

    asyncio.run(story())


def test_a_rolling_restart_of_this_version_under_load_fails_no_request(provider, start):
    """Nothing drains the replicas but /readyz and SHUTDOWN_DELAY_SECONDS."""

    async def story():
        settings = DIRECT | {"SHUTDOWN_DELAY_SECONDS": "3"}
        balancer = Balancer(await start(NEW, **settings), await start(NEW, **settings))
        await set_up(balancer, provider)
        health = asyncio.create_task(balancer.check_health())
        load = Load(balancer, USERS)
        await load.goes_on()
        for replica in list(balancer.replicas):
            balancer.replicas.append(await start(NEW, **settings))
            replica.process.send_signal(signal.SIGTERM)
            while replica in balancer.replicas:
                await asyncio.sleep(0.02)
            assert await asyncio.to_thread(replica.process.wait, 60) == 0
            await load.goes_on()
        health.cancel()
        await load.stop()
        print(dict(load.done), f"{provider.refreshes} refreshes")
        assert load.failures == []
        assert provider.refused == []

    asyncio.run(story())


@pytest.mark.parametrize("begun_on, completed_on", [(OLD, NEW), (NEW, OLD)], ids=["old-new", "new-old"])
def test_a_consent_that_one_version_began_is_completed_by_the_other(provider, start, begun_on, completed_on):
    async def story():
        old, new = await start(OLD), await start(NEW, **DIRECT)
        await set_up(Balancer(old), provider)
        of = {OLD: Balancer(old), NEW: Balancer(new)}
        begun = await authenticate(of[begun_on], "long", "someone")
        wait = asyncio.create_task(expect(of[begun_on], 200, "GET", f"/v2/auth/wait/{begun['auth_id']}"))
        state = parse_qs(urlsplit(begun["url"]).query)["state"][0]
        await expect(of[completed_on], 303, "GET", "/host-oauth-callback/long", params={"code": "c", "state": state})
        assert (await wait).json()["status"] == "completed"

    asyncio.run(story())


def test_an_old_replica_does_not_start_again_after_the_upgrade(database, start):
    async def story():
        await start(OLD)
        await start(NEW)

    asyncio.run(story())
    refused = finished([OLD, "serve"], database | {"LISTEN": "127.0.0.1:0"})
    assert refused.returncode == 1 and "schema does not fit this version" in refused.stderr, refused.stderr


def test_an_old_replica_has_no_page_for_a_consent_that_a_new_one_confirms(provider, start):
    async def story():
        old, new = Balancer(await start(OLD)), Balancer(await start(NEW, CONSENT="confirm"))
        await set_up(old, provider)
        begun = await authenticate(new, "long", "someone")
        page = begun["url"].removeprefix(PUBLIC_URL)
        assert page.startswith("/connect/")
        await expect(new, 200, "GET", page, headers={"accept": "text/html"})
        await expect(old, 404, "GET", page, headers={"accept": "text/html"})
        # And what an old one begins is bound to nobody, also when a new one completes it.
        begun = await authenticate(old, "long", "someone")
        assert begun["url"].startswith(provider.url)
        state = parse_qs(urlsplit(begun["url"]).query)["state"][0]
        await expect(new, 303, "GET", "/host-oauth-callback/long", params={"code": "c", "state": state})

    asyncio.run(story())


def test_an_old_replica_does_not_know_the_limits_of_a_key(provider, database, start):
    async def story():
        old, new = await start(OLD), await start(NEW, **DIRECT)
        await set_up(Balancer(old), provider)
        created = finished([NEW, "api-key", "create", "--name", "limited", "--kind", "service", "--only-provider", "long"], database)
        key = {"x-api-key": created.stdout.split()[-1]}
        body = {"provider": "short", "scopes": ["read"], "user_id": USERS[0]}
        for replica, status in [(new, 403), (old, 200)]:
            answer = await replica.http.post("/v2/auth/authenticate", json=body, headers=key)
            assert answer.status_code == status, answer.text

    asyncio.run(story())


def test_an_old_replica_cannot_add_a_provider_whose_id_another_workspace_uses(provider, database, start):
    async def story():
        old, new = await start(OLD), await start(NEW, **DIRECT)
        await set_up(Balancer(old), provider)
        command = ["api-key", "create", "--name", "other", "--role", "admin", "--organization", "other", "--workspace", "other"]
        created = finished([NEW, *command], database)
        key = {"x-api-key": created.stdout.split()[-1]}
        definition = provider.definition("long")
        refused = await old.http.post("/v2/auth/providers", json=definition, headers=key)
        assert refused.status_code == 409, refused.text
        added = await new.http.post("/v2/auth/providers", json=definition, headers=key)
        assert added.status_code == 200, added.text
        # Its callback address is one that only new replicas know.
        address = urlsplit(added.json()["redirect_uri"]).path
        assert address.startswith("/host-oauth-callback/long/at/")
        for replica, status in [(old, 404), (new, 400)]:
            assert (await replica.http.get(address, params={"code": "c", "state": "s"})).status_code == status

    asyncio.run(story())


def test_an_old_replica_records_nothing_in_the_audit_log(provider, database, start):
    async def story():
        old, new = await start(OLD), await start(NEW, **DIRECT)
        await set_up(Balancer(old), provider)
        for replica in [old, new]:
            await token_of(Balancer(replica), "long", USERS[0])
        await new.stop()

    asyncio.run(story())
    exported = finished([NEW, "audit", "export"], database)
    assert exported.returncode == 0, exported.stderr
    assert len(re.findall(r'"token\.handed_out"', exported.stdout)) == 1, exported.stdout
