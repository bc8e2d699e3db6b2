"""Two replicas under mixed load with churn, for MINUTES: what fails, and what grows. scripts/steady runs it.

It ends with an error if a request failed, if memory or descriptors grow, or if a table has more rows than its rule permits.
"""

import asyncio
import collections
import os
import re
import secrets
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psycopg

from broker import BINARY, new_postgres_database, run
from load import authenticate, consent, expect, token_of
from provider import Provider
from replicas import KEY, PUBLIC_URL, Balancer, Replica

USERS = [f"user-{number}" for number in range(200)]
WORKERS = 12
# Between two requests of a worker, so that the load is mixed and not merely as fast as possible.
PAUSE = 0.01
# What a replica may grow while it is measured: the slope of its memory, times the time.
GROWTH_MAX_KIB = 2048
SAMPLE_EVERY, ROWS_EVERY = 5, 30
# Of these a request writes one or two; the rest have no reason to grow.
AUDIT_EVENTS_PER_REQUEST = 3
REVOKED_WITHIN = 60


class RevokingProvider(Provider):
    """The same authorization server, which revokes too, so that grants of deleted tokens are ended there."""

    revocations = 0

    def definition(self, name):
        return super().definition(name) | {"revocation_url": f"{self.url}/{name}/revoke"}

    def _token(self, path, form):
        if path.endswith("/revoke"):
            with self._lock:
                self._current.discard(form["token"])
                self.revocations += 1
            return 200, {}
        return super()._token(path, form)


class Mix:
    """The load: counts what it did, and keeps what failed."""

    def __init__(self, balancer, provider):
        self.balancer, self.provider = balancer, provider
        self.done, self.failures = collections.Counter(), []
        self.consents = 0
        self._stopping, self._deleting, self._changing = False, asyncio.Lock(), asyncio.Lock()
        self.weights = [
            (self.hit, 40), (self.due, 10), (self.read, 5), (self.consents_and_ends, 4), (self.vanishes, 8),
            (self.refused, 3), (self.provider_changes, 1), (self.provider_comes_and_goes, 1), (self.health, 2),
        ]
        self._workers = []

    def start(self):
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self):
        self._stopping = True
        await asyncio.gather(*self._workers)

    async def _work(self):
        deck = [kind for kind, weight in self.weights for _ in range(weight)]
        while not self._stopping:
            kind = secrets.choice(deck)
            try:
                await kind()
                self.done[kind.__name__] += 1
            except Exception as error:  # whatever it is, a request failed
                self.failures.append(f"{kind.__name__}: {error!r}")
            await asyncio.sleep(PAUSE)

    async def hit(self):
        await token_of(self.balancer, "long", secrets.choice(USERS))

    async def due(self):
        await token_of(self.balancer, "short", secrets.choice(USERS[:20]))

    async def read(self):
        for path in ["/v2/auth/providers", "/v2/auth/tokens"]:
            await expect(self.balancer, 200, "GET", path)

    async def consents_and_ends(self):
        # The deletion ends every token of the provider, so one at a time.
        async with self._deleting:
            self.consents += 1
            await consent(self.balancer, "gone", f"gone-{secrets.token_hex(6)}")
            await expect(self.balancer, 200, "DELETE", "/v2/auth/tokens", params={"provider_id": "gone"})

    async def vanishes(self):
        """A long poll whose client goes away, with its connection."""
        self.consents += 1
        begun = await authenticate(self.balancer, "long", f"never-{secrets.token_hex(6)}")
        replica = secrets.choice(self.balancer.replicas)
        replica.open += 1
        try:
            async with httpx.AsyncClient(base_url=replica.url, headers={"x-api-key": KEY}) as client:
                path = f"/v2/auth/wait/{begun['auth_id']}"
                wait = asyncio.create_task(client.get(path, params={"timeout": 50}, timeout=60))
                done, _ = await asyncio.wait([wait], timeout=secrets.randbelow(300) / 1000)
                if done and not replica.leaving:
                    raise AssertionError(f"answered at once: {wait.result().text}")
                wait.cancel()
        finally:
            replica.open -= 1

    async def refused(self):
        await expect(self.balancer, 401, "GET", "/v2/auth/providers", headers={"x-api-key": secrets.token_hex(16)})
        await expect(self.balancer, 404, "GET", "/v2/auth/providers/there-is-none")

    async def provider_changes(self):
        # Two changes at the same moment are a 409, and rightly.
        async with self._changing:
            name = f"Long {secrets.token_hex(2)}"
            await expect(self.balancer, 200, "PATCH", "/v2/auth/providers/long", json={"name": name})

    async def provider_comes_and_goes(self):
        name = f"guest-{secrets.token_hex(4)}"
        await expect(self.balancer, 200, "POST", "/v2/auth/providers", json=self.provider.definition(name))
        self.consents += 1
        await consent(self.balancer, name, "guest")
        await expect(self.balancer, 200, "DELETE", f"/v2/auth/providers/{name}")

    async def health(self):
        await expect(self.balancer, 200, "GET", "/readyz")
        await expect(self.balancer, 200, "GET", "/metrics")


class Watch:
    """The memory and descriptors of the replicas, and the rows of the tables, over time."""

    def __init__(self, replicas, database):
        self.replicas, self.database = replicas, database
        self.memory = [[] for _ in replicas]  # of (seconds, KiB)
        self.descriptors = [[] for _ in replicas]
        self.rows = []  # of (seconds, {table: rows})
        self._began = time.monotonic()

    async def run(self):
        while True:
            now = time.monotonic() - self._began
            for number, replica in enumerate(self.replicas):
                self.memory[number].append((now, memory_kib(replica)))
                self.descriptors[number].append((now, descriptors(replica)))
            if not self.rows or now - self.rows[-1][0] >= ROWS_EVERY:
                self.rows.append((now, await asyncio.to_thread(rows, self.database)))
                kib = "  ".join(f"{of[-1][1]:>7}" for of in self.memory)
                print(f"{now / 60:6.1f} min | memory (KiB) {kib}", flush=True)
            await asyncio.sleep(SAMPLE_EVERY)


def memory_kib(replica):
    status = Path(f"/proc/{replica.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def descriptors(replica):
    return len(os.listdir(f"/proc/{replica.process.pid}/fd"))


def rows(database):
    with psycopg.connect(database["DATABASE_URL"], autocommit=True) as session:
        tables = session.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        ).fetchall()
        return {table: session.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for (table,) in tables}


def slope(samples):
    """KiB a minute, by least squares."""
    seconds, values = zip(*samples)
    return statistics.linear_regression(seconds, values).slope * 60


async def waiters(replica):
    text = (await replica.http.get("/metrics")).text
    return int(re.search(r"^agent_auth_waiters (\d+)", text, re.M)[1])


async def until(what, holds, seconds=REVOKED_WITHIN):
    """True when it holds within this time."""
    end = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > end:
            print(f"not within {seconds} s: {what}")
            return False
        await asyncio.sleep(0.5)
    return True


async def rolling_restart(balancer, start):
    """Nothing drains the replicas but /readyz and SHUTDOWN_DELAY_SECONDS."""
    health = asyncio.create_task(balancer.check_health())
    for replica in list(balancer.replicas):
        balancer.replicas.append(await start())
        replica.leaving = True
        replica.process.send_signal(signal.SIGTERM)
        while replica in balancer.replicas:
            await asyncio.sleep(0.02)
        code = await asyncio.to_thread(replica.process.wait, 60)
        assert code == 0, replica.log.read_text()[-4000:]
        await asyncio.sleep(3)
    health.cancel()


async def soak(minutes, folder):
    provider = RevokingProvider()
    database = new_postgres_database() | {
        "BOOTSTRAP_API_KEY": KEY, "PUBLIC_URL": PUBLIC_URL, "ALLOW_PRIVATE_UPSTREAMS": "true", "CONSENT": "direct",
        "AUTHORIZATION_TTL_SECONDS": "60", "SHUTDOWN_DELAY_SECONDS": "3",
    }
    started = []

    async def start():
        replica = Replica(BINARY, database, folder)
        replica.leaving = False
        started.append(replica)
        return await replica.start()

    faults = []

    def rule(holds, sentence):
        if not holds:
            faults.append(sentence)

    try:
        first, second = await start(), await start()
        balancer = Balancer(first, second)
        mix = Mix(balancer, provider)
        for name in ["long", "short", "gone"]:
            await expect(balancer, 200, "POST", "/v2/auth/providers", json=provider.definition(name))
        for user in USERS:
            await consent(balancer, "long", user)
        for user in USERS[:20]:
            await consent(balancer, "short", user)
        mix.consents += len(USERS) + 20
        fixed = await asyncio.to_thread(rows, database)

        # Meanwhile what is bounded fills up: caches, pools, and what the allocator keeps.
        warm_up = min(minutes * 60 / 3, 600)
        mix.start()
        print(f"Warming up for {warm_up:.0f} s, then measuring for {minutes * 60 - warm_up:.0f} s", flush=True)
        await asyncio.sleep(warm_up)
        watch = Watch([first, second], database)
        watching = asyncio.create_task(watch.run())
        measured = minutes * 60 - warm_up
        await asyncio.sleep(measured)
        watching.cancel()
        steady = mix.done.copy()
        print("Restarting both replicas, one after the other, under the same load", flush=True)
        before = len(mix.failures)
        await rolling_restart(balancer, start)
        in_restart = len(mix.failures) - before
        await mix.stop()

        async def is_quiet():
            return [await waiters(replica) for replica in balancer.replicas] == [0, 0]

        async def is_revoked():
            return (await asyncio.to_thread(rows, database))["revocations"] == 0

        rule(await until("no waiter is left", is_quiet, 10), "waiters are left whose clients are gone")
        rule(await until("no revocation is left", is_revoked), "revocations are left")
        end = await asyncio.to_thread(rows, database)

        # An hour later, expired requests may go. The clock of the database cannot be moved, so the requests are.
        with psycopg.connect(database["DATABASE_URL"], autocommit=True) as session:
            session.execute("UPDATE authorization_requests SET expires_at = expires_at - interval '2 hours'")
        run("sweep", settings=database)
        swept = await asyncio.to_thread(rows, database)
        verified = run("audit", "verify", settings=database).strip()
        for replica in balancer.replicas:
            await replica.stop()
        logs = "".join(replica.log.read_text() for replica in started)
    finally:
        for replica in started:
            replica.kill()
        provider.stop()

    total = sum(mix.done.values())
    print(f"\n{'requests by kind':<34} | {'done':>9}")
    for kind, count in sorted(mix.done.items()):
        print(f"{kind:<34} | {count:>9}")
    print(f"{'all, a second':<34} | {sum(steady.values()) / (minutes * 60):>9.0f}")
    print(f"{'refreshes at the provider':<34} | {provider.refreshes:>9}")
    print(f"{'refresh tokens used twice':<34} | {len(provider.refused):>9}")
    print(f"{'failed, while measured':<34} | {before:>9}")
    print(f"{'failed, during the rolling restart':<34} | {in_restart:>9}")
    for failure in mix.failures[:5]:
        print(f"  {failure[:200]}")
    rule(not mix.failures, f"{len(mix.failures)} requests failed")
    rule(not provider.refused, f"{len(provider.refused)} refresh tokens were used twice")

    print(f"\n{'replica':<8} | {'memory at the start (KiB)':>25} | {'middle':>8} | {'end':>8} | {'KiB a minute':>12} | descriptors")
    for number, samples in enumerate(watch.memory):
        per_minute, of = slope(samples), [value for _, value in samples]
        files = [value for _, value in watch.descriptors[number]]
        print(
            f"{number + 1:<8} | {of[0]:>25} | {of[len(of) // 2]:>8} | {of[-1]:>8} | {per_minute:>12.1f} | "
            f"{min(files)} to {max(files)}"
        )
        growth = per_minute * measured / 60
        rule(growth <= GROWTH_MAX_KIB, f"replica {number + 1} grew by {growth:.0f} KiB, and may by {GROWTH_MAX_KIB}")

    first_rows, last_rows = watch.rows[0][1], watch.rows[-1][1]
    limits = {name: fixed[name] for name in fixed} | {
        "authorization_requests": mix.consents,
        "audit_events": (total + mix.consents) * AUDIT_EVENTS_PER_REQUEST + fixed["audit_events"],
        # That it was connected, and that it was revoked; both are kept for three days.
        "reported_events": mix.consents * 2 + fixed["reported_events"],
        "revocations": 0, "servers": 2, "jobs": max(first_rows["jobs"], fixed["jobs"]),
    }
    print(f"\n{'rows':<26} | {'at the start':>12} | {'end':>9} | {'quiet':>9} | {'swept':>9} | at most, when quiet")
    for table in sorted(end):
        print(
            f"{table:<26} | {first_rows[table]:>12} | {last_rows[table]:>9} | {end[table]:>9} | {swept[table]:>9} | "
            f"{limits[table]}"
        )
        rule(end[table] <= limits[table], f"{table} has {end[table]} rows, and may have {limits[table]}")
    rule(swept["authorization_requests"] == 0, "expired authorization requests are left after their hour")
    print(f"\naudit log: {verified.splitlines()[-1] if verified else 'verified'}")
    for sign in ["panicked", '"level":"ERROR"']:
        rule(sign not in logs, f"the log has {sign}")
    for fault in faults:
        print(f"NOT STEADY: {fault}")
    return not faults


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as folder:
        return 0 if asyncio.run(soak(minutes, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
