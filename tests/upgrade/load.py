"""Mixed load: fresh tokens, tokens that are due all the time, whole consents, lists and deletions."""

import asyncio
import collections
import secrets
import time
from urllib.parse import parse_qs, urlsplit


class Failed(Exception):
    """A request that did not end as it must."""


async def expect(balancer, status, method, path, **options):
    response = await balancer.request(method, path, **options)
    if response.status_code != status:
        raise Failed(f"{method} {path}: {response.status_code} {response.text[:300]}")
    return response


async def authenticate(balancer, provider, user):
    body = {"provider": provider, "scopes": ["read"], "user_id": user}
    return (await expect(balancer, 200, "POST", "/v2/auth/authenticate", json=body)).json()


async def consent(balancer, provider, user):
    """A whole consent; each request may go to another replica, and the waiter waits before the person is done."""
    begun = await authenticate(balancer, provider, user)
    if begun["status"] != "pending":
        raise Failed(f"pending, and not {begun['status']}")
    path = f"/v2/auth/wait/{begun['auth_id']}"
    waiter = asyncio.create_task(expect(balancer, 200, "GET", path, params={"timeout": 30}))
    await asyncio.sleep(0.05)
    state = parse_qs(urlsplit(begun["url"]).query)["state"][0]
    query = {"code": secrets.token_urlsafe(8), "state": state}
    await expect(balancer, 303, "GET", f"/host-oauth-callback/{provider}", params=query, headers={"accept": "text/html"})
    while True:
        waited = (await waiter).json()
        # A replica that stops answers its waiters early; they ask again.
        if waited["status"] in ("pending", "timeout"):
            waiter = asyncio.create_task(expect(balancer, 200, "GET", path, params={"timeout": 30}))
        elif waited["status"] == "completed" and waited["token"]:
            return
        else:
            raise Failed(f"wait: {waited}")


async def token_of(balancer, provider, user):
    """The token of a user who consented before."""
    answer = await authenticate(balancer, provider, user)
    if answer["status"] != "completed" or not answer["token"]:
        raise Failed(f"a consent is lost: {provider} {user} {answer['status']}")


class Load:
    """Runs until it is stopped, and counts what it did and what failed."""

    def __init__(self, balancer, users, workers=12):
        self.balancer, self.users = balancer, users
        self.done, self.failures = collections.Counter(), []
        self._stopping, self._deleting = False, asyncio.Lock()
        self._workers = [asyncio.create_task(self._work(number)) for number in range(workers)]

    async def _work(self, number):
        kinds = [self._fresh, self._due, self._consent, self._read, self._delete]
        turn = number
        while not self._stopping:
            kind, turn = kinds[turn % len(kinds)], turn + 1
            try:
                await kind()
                self.done[kind.__name__.lstrip("_")] += 1
            except Exception as error:  # whatever it is, a request failed
                self.failures.append(repr(error))

    async def _fresh(self):
        await token_of(self.balancer, "long", secrets.choice(self.users))

    async def _due(self):
        await token_of(self.balancer, "short", secrets.choice(self.users))

    async def _consent(self):
        await consent(self.balancer, "long", f"new-{secrets.token_hex(6)}")

    async def _read(self):
        await expect(self.balancer, 200, "GET", "/v2/auth/providers/long")

    async def _delete(self):
        # It deletes every token of the provider, so one at a time.
        async with self._deleting:
            await consent(self.balancer, "gone", f"gone-{secrets.token_hex(6)}")
            await expect(self.balancer, 200, "DELETE", "/v2/auth/tokens", params={"provider_id": "gone"})

    async def goes_on(self, seconds=4):
        """Returns when every kind of request was made again; a failed request ends it at once."""
        before, until = self.done.copy(), time.monotonic() + seconds
        kinds = ["fresh", "due", "consent", "read", "delete"]
        while time.monotonic() < until or any(self.done[kind] <= before[kind] for kind in kinds):
            assert self.failures == [], (self.failures[:3], dict(self.done))
            await asyncio.sleep(0.05)

    async def stop(self):
        self._stopping = True
        await asyncio.gather(*self._workers)
