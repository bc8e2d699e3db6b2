"""A job without a browser: the person consents once on another device, and cron runs the job every night.

    cron_device.py connect      once, in a terminal: shows a code to enter on a phone or a laptop
    cron_device.py              from cron; fails with a message if there is no consent, or if it was withdrawn

The provider must support device authorization, as GitHub, GitLab, Google and Microsoft do.
"""

import asyncio
import os
import sys

import httpx
from agent_auth import Client, ConsentRequired, TokenAuth, TokenSource

provider, api = os.environ["PROVIDER"], os.environ["API_URL"]


def show(auth):
    print(f"Open {auth.verification_uri} on any device, and enter the code {auth.user_code}", flush=True)


async def main():
    tokens = TokenSource(
        Client(),  # LANGSMITH_API_URL and LANGSMITH_API_KEY
        provider,
        ["profile.read"],
        user_id="you",
        agent_id="nightly-report",  # the consent is for this job alone
        grant="device",
        min_ttl=600,  # the job takes up to ten minutes
        on_consent=show if sys.argv[1:] == ["connect"] else None,
    )
    try:
        async with httpx.AsyncClient(auth=TokenAuth(tokens, api)) as http:
            print("Report:", (await http.get(api)).raise_for_status().text)
    except ConsentRequired:
        sys.exit(f"There is no consent for this job. Run `{sys.argv[0]} connect`.")


asyncio.run(main())
