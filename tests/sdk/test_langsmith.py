"""LangSmith's keys, where they differ from keys of agent-auth. Every other test also runs with a personal key of LangSmith."""

import asyncio

import pytest
from langchain_auth import Client

from langsmith_server import SERVICE_KEY, WORKSPACE

pytestmark = pytest.mark.parametrize("broker", ["sqlite-langsmith", "postgres-langsmith"], indirect=True)


@pytest.fixture
def service(client):
    """The SDK with a service key of the same workspace."""
    return Client(api_key=SERVICE_KEY, api_url=client.api_url)


def test_providers_belong_to_the_organization_that_langsmith_names(client, provider):
    assert asyncio.run(client.get_oauth_provider(provider)).organization_id == WORKSPACE["organization_id"]


def test_a_service_key_gets_the_tokens_of_the_users_it_names(client, service, provider, person):
    token = person.consent(service, ["read"], user="ls-dana")
    assert person.authenticate(client, ["read"], user="ls-dana").token == token
    assert asyncio.run(client.check_token_exists(provider)).has_token is True


def test_a_service_key_is_no_user(service, provider):
    for call in (service.check_token_exists, service.revoke_tokens):
        with pytest.raises(Exception, match="HTTP 422.*personal API key"):
            asyncio.run(call(provider))


def test_an_unknown_key_is_refused_with_the_reason(client, provider):
    stranger = Client(api_key="lsv2_pt_unknown", api_url=client.api_url)
    with pytest.raises(Exception, match="HTTP 401.*LangSmith does not accept"):
        asyncio.run(stranger.get_oauth_provider(provider))
