"""Pydantic AI: a tool that acts for the user of the run. The model sees what the tool returns, never the token."""

import asyncio
from dataclasses import dataclass

import httpx
from agent_auth import Client, ConsentRequired, TokenAuth, TokenSource
from pydantic_ai import Agent, RunContext
from pydantic_ai.models.test import TestModel

client = Client()  # LANGSMITH_API_URL and LANGSMITH_API_KEY


@dataclass
class User:
    """Whom the agent works for in this run."""

    id: str
    profile_url: str

    def tokens(self) -> TokenSource:
        return TokenSource(client, "sample", ["profile.read"], self.id)


# TestModel calls each tool once and needs no account. Write the name of a model here, such as "openai:gpt-5".
agent = Agent(TestModel(), deps_type=User)


@agent.tool
async def read_profile(context: RunContext[User]) -> str:
    """The user's name at the sample provider."""
    user = context.deps
    async with httpx.AsyncClient(auth=TokenAuth(user.tokens(), user.profile_url)) as http:
        return (await http.get(user.profile_url)).raise_for_status().json()["name"]


async def main():
    profile_url = (await client.get_oauth_provider("sample")).auth_url.replace("/authorize", "/me")
    user = User("you", profile_url)
    try:
        result = await agent.run("Who am I?", deps=user)
    except ConsentRequired as consent:  # raised by the tool, on the first run
        print("Please open", consent.auth.url, flush=True)
        await client.wait_for_completion(consent.auth.auth_id, timeout=300)
        result = await agent.run("Who am I?", deps=user)
    print("You are", result.output)


asyncio.run(main())
