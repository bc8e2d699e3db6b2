"""The SDK's provider calls: create, list, get, update, delete."""

import asyncio
from datetime import datetime

import pytest


def test_a_created_provider_is_returned_with_every_published_field(client, provider, upstream):
    created = asyncio.run(client.get_oauth_provider(provider))
    assert created.provider_id == provider
    assert created.name == "Scripted Provider"
    assert created.client_id == upstream.client_id
    assert created.auth_url == upstream.authorization_url
    assert created.token_url == upstream.token_url
    assert created.uses_pkce is True
    assert created.code_challenge_method == "S256"
    assert created.provider_type is None
    assert created.id and created.organization_id
    assert datetime.fromisoformat(created.created_at.replace("Z", "+00:00")).tzinfo is not None


def test_create_get_and_list_agree(client, upstream, name):
    created = asyncio.run(
        client.create_oauth_provider(
            provider_id=name,
            name="Without PKCE",
            client_id=upstream.client_id,
            client_secret=upstream.client_secret,
            auth_url=upstream.authorization_url,
            token_url=upstream.token_url,
        )
    )
    assert created.uses_pkce is False
    assert asyncio.run(client.get_oauth_provider(name)) == created
    assert [one for one in asyncio.run(client.list_oauth_providers()) if one.provider_id == name] == [created]


def test_an_update_changes_what_it_names_and_nothing_else(client, provider):
    before = asyncio.run(client.get_oauth_provider(provider))
    updated = asyncio.run(client.update_oauth_provider(provider, name="Renamed", uses_pkce=False))
    assert (updated.name, updated.uses_pkce) == ("Renamed", False)
    for field in ("id", "organization_id", "provider_id", "client_id", "auth_url", "token_url", "created_at"):
        assert getattr(updated, field) == getattr(before, field), field
    assert updated.updated_at > before.updated_at
    assert asyncio.run(client.get_oauth_provider(provider)) == updated


def test_an_updated_client_secret_is_the_one_that_is_sent(client, provider, upstream, person):
    upstream.client_secret = "rotated / secret"
    asyncio.run(client.update_oauth_provider(provider, client_secret="rotated / secret"))
    assert person.consent(client, ["read"]) == upstream.access_tokens[0]


def test_a_second_provider_of_the_same_id_is_refused(client, provider, upstream):
    with pytest.raises(Exception, match="HTTP 409.*conflict"):
        asyncio.run(
            client.create_oauth_provider(
                provider_id=provider,
                name="Second",
                client_id="other",
                client_secret="other",
                auth_url=upstream.authorization_url,
                token_url=upstream.token_url,
            )
        )
    assert asyncio.run(client.get_oauth_provider(provider)).name == "Scripted Provider"


def test_a_deleted_provider_is_gone(client, provider, person):
    person.consent(client, ["read"])
    assert asyncio.run(client.delete_oauth_provider(provider)).message
    with pytest.raises(Exception, match="HTTP 404.*not_found"):
        asyncio.run(client.get_oauth_provider(provider))
    assert provider not in [one.provider_id for one in asyncio.run(client.list_oauth_providers())]
    with pytest.raises(Exception, match="HTTP 404.*not_found"):
        person.authenticate(client, ["read"])


def test_every_fault_of_a_request_is_named_at_once(client, name):
    with pytest.raises(Exception, match="HTTP 422") as refused:
        asyncio.run(
            client.create_oauth_provider(
                provider_id="../../etc",
                name="",
                client_id="c",
                client_secret="never-echoed",
                auth_url="javascript:alert(1)",
                token_url="not a url",
            )
        )
    for field in ("provider_id", "name", "auth_url", "token_url"):
        assert f'["body","{field}"]' in str(refused.value).replace(" ", ""), field
    assert "never-echoed" not in str(refused.value)
