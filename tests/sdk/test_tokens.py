"""check_token_exists and revoke_tokens: what the key's own user has at a provider."""

import asyncio


def exists(client, provider):
    return asyncio.run(client.check_token_exists(provider)).has_token


def test_a_token_exists_from_consent_to_revocation(client, provider, upstream, person):
    assert exists(client, provider) is False
    first = person.consent(client, ["read"])
    assert exists(client, provider) is True

    revoked = asyncio.run(client.revoke_tokens(provider))
    assert revoked.provider_id == provider
    assert revoked.message
    assert exists(client, provider) is False
    assert person.authenticate(client, ["read"]).status == "pending"

    second = person.consent(client, ["read"])
    assert second != first
    assert exists(client, provider) is True


def test_revoking_at_one_provider_leaves_the_others(client, provider, person, name, authorization_server):
    token = person.consent(client, ["read"])
    other = authorization_server.register(f"{name}-other")
    asyncio.run(
        client.create_oauth_provider(
            provider_id=f"{name}-other",
            name="Other",
            client_id=other.client_id,
            client_secret=other.client_secret,
            auth_url=other.authorization_url,
            token_url=other.token_url,
        )
    )
    asyncio.run(client.revoke_tokens(f"{name}-other"))
    assert person.authenticate(client, ["read"]).token == token


def test_another_persons_token_neither_shows_nor_goes(client, provider, person):
    token = person.consent(client, ["read"], user="carol", ls_user_id="carol")
    assert exists(client, provider) is False
    asyncio.run(client.revoke_tokens(provider))
    assert person.authenticate(client, ["read"], user="carol", ls_user_id="carol").token == token
