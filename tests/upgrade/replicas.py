"""Replicas of two versions on one database, and the load balancer before them."""

import asyncio
import itertools
import os
import signal
import subprocess
from pathlib import Path

import httpx

from broker import BINARY, environment, free_port, wait_until_ready

OLD = Path(os.environ.get("TEST_AGENT_AUTH_OLD", "not-built"))
NEW = BINARY
KEY = "upgrade-tests-bootstrap-key-0123456789abcdef"
PUBLIC_URL = "http://auth.example.internal"


class Replica:
    """A running server of either version."""

    def __init__(self, binary, database, folder, **settings):
        port = free_port()
        self.url, self.log = f"http://127.0.0.1:{port}", folder / f"{port}.log"
        self.environment = environment(database | {"LISTEN": f"127.0.0.1:{port}"} | settings)
        self.http = httpx.AsyncClient(
            base_url=self.url, timeout=40, headers={"x-api-key": KEY},
            # The server closes a connection that is idle for ten seconds.
            limits=httpx.Limits(keepalive_expiry=5),
        )
        self.open = 0  # requests of the load balancer
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([binary, "serve"], cwd=folder, env=self.environment, stdout=log, stderr=log)

    async def start(self):
        try:
            await asyncio.to_thread(wait_until_ready, self.url, self.process, 60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-4000:]}") from None
        return self

    async def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self.process.wait, 60)
        await self.http.aclose()
        assert code == 0, self.log.read_text()[-4000:]
        for sign in ["panicked", '"level":"ERROR"']:
            assert sign not in self.log.read_text(), self.log.read_text()[-4000:]

    def kill(self):
        self.process.kill()
        self.process.wait()


class Balancer:
    """Sends each request to the next replica, and none to a replica that it does not use."""

    def __init__(self, *replicas):
        self.replicas, self._turn = list(replicas), itertools.count()

    async def request(self, method, path, **options):
        replica = self.replicas[next(self._turn) % len(self.replicas)]
        replica.open += 1
        try:
            return await replica.http.request(method, path, **options)
        finally:
            replica.open -= 1

    async def without(self, replica):
        """Takes a replica away and waits until its requests are answered, as a load balancer that drains does."""
        self.replicas.remove(replica)
        while replica.open:
            await asyncio.sleep(0.02)

    async def check_health(self):
        """Uses only replicas that are ready, as /readyz says, until it is cancelled."""
        while True:
            for replica in list(self.replicas):
                if (await replica.http.get("/readyz")).status_code != 200:
                    self.replicas.remove(replica)
            await asyncio.sleep(0.1)
