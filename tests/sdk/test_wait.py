"""wait: completes with the consent, times out, is not found, and ends at once when the person says no."""

import asyncio
import time
import uuid

import pytest

from browser import browse


def while_waiting(client, auth_id, timeout, act):
    """Runs `act` in a thread while the SDK waits; what the wait gave or raised, and the seconds since `act` ended."""

    async def both():
        waiting = asyncio.create_task(client.wait_for_completion(auth_id, timeout=timeout))
        await asyncio.sleep(0.3)
        assert not waiting.done(), "the wait ended before anything had happened"
        await asyncio.to_thread(act)
        acted = time.monotonic()
        [outcome] = await asyncio.gather(waiting, return_exceptions=True)
        return outcome, time.monotonic() - acted

    return asyncio.run(both())


def test_a_waiter_is_woken_by_the_consent(client, provider, upstream, person):
    pending = person.authenticate(client, ["read"])
    result, seconds = while_waiting(client, pending.auth_id, 30, lambda: browse(pending.url))
    assert (result.status, result.token) == ("completed", upstream.access_tokens[0])
    assert seconds < 5


def test_the_answer_can_be_asked_for_again(client, provider, person):
    pending = person.authenticate(client, ["read"])
    browse(pending.url)
    answers = [asyncio.run(client.wait_for_completion(pending.auth_id, timeout=5)) for _ in range(3)]
    assert [one.status for one in answers] == ["completed"] * 3
    assert len({one.token for one in answers}) == 1


def test_a_wait_without_consent_times_out(client, provider, person):
    pending = person.authenticate(client, ["read"])
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="timed out after 1 seconds"):
        asyncio.run(client.wait_for_completion(pending.auth_id, timeout=1))
    assert 0.9 < time.monotonic() - began < 5


def test_a_consent_after_a_timed_out_wait_still_counts(client, provider, upstream, person):
    pending = person.authenticate(client, ["read"])
    with pytest.raises(TimeoutError):
        asyncio.run(client.wait_for_completion(pending.auth_id, timeout=1))
    browse(pending.url)
    assert asyncio.run(client.wait_for_completion(pending.auth_id, timeout=5)).token == upstream.access_tokens[0]


def test_an_unknown_authorization_request_is_not_found(client):
    with pytest.raises(Exception, match="not found or has expired"):
        asyncio.run(client.wait_for_completion(str(uuid.uuid4()), timeout=30))


def test_a_denied_consent_ends_the_wait_at_once(client, provider, upstream, person):
    upstream.denies = True
    pending = person.authenticate(client, ["read"])
    pages = []
    outcome, seconds = while_waiting(client, pending.auth_id, 20, lambda: pages.append(browse(pending.url)))
    assert "not found" in str(outcome)
    assert seconds < 5
    assert 400 <= pages[0].status_code < 500
    assert upstream.token_requests == []
    assert person.authenticate(client, ["read"]).status == "pending"


def test_a_denied_consent_leaves_an_earlier_token_alone(client, provider, upstream, person):
    token = person.consent(client, ["read"])
    upstream.denies = True
    browse(person.authenticate(client, ["read", "write"]).url)
    assert person.authenticate(client, ["read"]).token == token


def test_an_exchange_that_the_provider_refuses_ends_the_wait_at_once(client, provider, upstream, person):
    upstream.client_secret = "the broker was not told"
    pending = person.authenticate(client, ["read"])
    pages = []
    outcome, seconds = while_waiting(client, pending.auth_id, 20, lambda: pages.append(browse(pending.url)))
    assert "not found" in str(outcome)
    assert seconds < 5
    assert pages[0].status_code >= 400
    assert [status for status, _ in upstream.token_requests] == [401]
