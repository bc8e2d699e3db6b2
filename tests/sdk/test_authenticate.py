"""authenticate: consent once, then the token; and whose token, with which scopes."""

import asyncio

import pytest

from browser import browser, walk


def test_consent_once_then_the_same_token(client, provider, upstream, person):
    token = person.consent(client, ["read", "write"])

    again = person.authenticate(client, ["read", "write"])
    assert (again.status, again.token, again.url) == ("completed", token, None)
    assert upstream.access_tokens == [token]
    assert len(upstream.token_requests) == 1


def test_what_the_authorization_server_is_asked(client, provider, upstream, person, broker):
    person.consent(client, ["read", "write"])

    [asked] = upstream.authorizations
    assert asked["response_type"] == "code"
    assert asked["client_id"] == upstream.client_id
    assert asked["scope"] == "read write"
    assert asked["redirect_uri"] == f"{broker.url}/host-oauth-callback/{provider}"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) >= 43, "256 bits need 43 characters of base64url"
    [(status, form)] = upstream.token_requests
    assert status == 200
    assert 43 <= len(form["code_verifier"]) <= 128
    assert form["redirect_uri"] == asked["redirect_uri"]


def test_the_person_ends_on_a_page_that_is_harmless_to_reload(client, provider, upstream, person):
    pending = person.authenticate(client, ["read"])
    with browser() as tab:
        page = walk(tab, pending.url)
        callback = page.history[-1].url
        again = tab.get(callback)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.url.path == f"/host-oauth-callback/{provider}/{pending.auth_id}"
    assert not page.url.query, "the code and the state must not stay in the address bar"

    assert "code=" in str(callback)
    with browser() as another:
        assert another.get(page.url).status_code == 200
    assert (again.status_code, again.url.path) == (200, page.url.path)
    assert b"code=" not in again.url.query and b"state=" not in again.url.query
    assert len(upstream.token_requests) == 1


def test_a_subset_of_the_granted_scopes_is_completed(client, provider, person):
    token = person.consent(client, ["read", "write"])
    for subset in (["read"], ["write"], ["write", "read"], []):
        assert person.authenticate(client, subset).token == token, subset


def test_a_superset_is_pending_until_it_is_granted(client, provider, upstream, person):
    first = person.consent(client, ["read"])
    assert person.authenticate(client, ["read", "write"]).status == "pending"
    assert person.authenticate(client, ["read"]).token == first

    second = person.consent(client, ["read", "write"])
    assert second != first
    assert person.authenticate(client, ["read", "write"]).token == second


def test_what_was_granted_counts_not_what_was_asked(client, provider, upstream, person):
    upstream.granted_scopes = "read"
    token = person.consent(client, ["read", "write"])
    assert person.authenticate(client, ["read"]).token == token
    assert person.authenticate(client, ["read", "write"]).status == "pending"


def test_another_user_is_pending(client, provider, person):
    alices = person.consent(client, ["read"], "alice")
    assert person.authenticate(client, ["read"], "bob").status == "pending"

    bobs = person.consent(client, ["read"], "bob")
    assert bobs != alices
    assert person.authenticate(client, ["read"], "alice").token == alices
    assert person.authenticate(client, ["read"], "bob").token == bobs


def test_another_agent_is_pending(client, provider, person):
    ones = person.consent(client, ["read"], agent_id="agent-one")
    assert person.authenticate(client, ["read"], agent_id="agent-one").token == ones
    assert person.authenticate(client, ["read"], agent_id="agent-two").status == "pending"
    assert person.authenticate(client, ["read"]).status == "pending", "an agent's token is not the user's at large"


def test_each_pending_answer_is_an_authorization_request_of_its_own(client, provider, person):
    first, second = (person.authenticate(client, ["read"]) for _ in range(2))
    assert first.status == second.status == "pending"
    assert first.auth_id != second.auth_id
    assert first.url != second.url


def test_an_unknown_provider_is_refused(client, provider, person):
    with pytest.raises(Exception, match="HTTP 404.*not_found"):
        asyncio.run(client.authenticate(provider=f"{provider}-unknown", scopes=["read"], user_id="alice"))


def test_extra_headers_win_over_the_sdks_own(client, provider, person):
    with pytest.raises(Exception, match="HTTP 401.*unauthorized"):
        person.authenticate(client, ["read"], extra_headers={"x-api-key": "not-a-key"})
