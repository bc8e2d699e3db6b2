"""Plain Python: get a token, after a consent the first time, and call an API with it."""

import asyncio

import httpx
from langchain_auth import Client

client = Client()  # LANGSMITH_API_URL and LANGSMITH_API_KEY


async def main():
    auth = await client.authenticate(provider="sample", scopes=["profile.read"], user_id="you")
    if auth.status == "pending":
        print("Please open", auth.url, flush=True)
        auth = await client.wait_for_completion(auth.auth_id, timeout=300)

    # The demo's sample provider has its API beside its authorization page.
    api = (await client.get_oauth_provider("sample")).auth_url.replace("/authorize", "/me")
    profile = httpx.get(api, headers={"authorization": f"Bearer {auth.token}"}).raise_for_status().json()
    print("You are", profile["name"])


asyncio.run(main())
