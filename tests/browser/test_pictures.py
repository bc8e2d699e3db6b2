"""The pictures in the documentation, made of a small made-up company.

TEST_SCREENSHOTS  a folder to write them to, such as docs/images
"""

import os
from pathlib import Path

import pytest
from conftest import free_port, running_demo
from fake_provider import FakeProvider
from selenium.webdriver.common.keys import Keys
from test_console import field, picture, resize, says, sign_in
from test_pages import DARK, DESKTOP, LIGHT, PHONE, button, shows

SIZE_MAX = 150_000
# The account whose grant has ended.
DEAD = "edsger@example.org"
# Who connected what: the catalogue's entry, the user, the agent, the account, the granted scopes.
CONNECTED = [
    ("github", "ada", "release-notes", "ada-l", "repo read:user"),
    ("google", "ada", "", "ada@example.com", "https://www.googleapis.com/auth/calendar.readonly openid email"),
    ("slack", "ada", "", "Ada at Example", "chat:write channels:read"),
    ("github", "grace", "", "ghopper", "read:user"),
    ("linear", "grace", "triage", "grace@example.com", "read write"),
    ("google", "edsger", "scheduler", "edsger@example.com", "https://www.googleapis.com/auth/calendar.readonly"),
    ("linear", "edsger", "", DEAD, "read"),
]
NAMES = {"github": "GitHub", "google": "Google", "linear": "Linear", "slack": "Slack"}


@pytest.fixture
def company(tmp_path_factory, browser):
    """A server of its own, on which three people have connected four providers."""
    provider = FakeProvider()
    with running_demo(tmp_path_factory.mktemp("demo"), free_port(), {}) as client:
        client.call("DELETE", "/v2/auth/providers/sample")
        for provider_id, name in NAMES.items():
            template = {"template": provider_id, "uses_pkce": True}
            client.call("POST", "/v2/auth/providers", {**provider.definition(provider_id, name), **template})
        tokens = [connect(client, provider, browser, *connection) for connection in CONNECTED]
        # A token is refreshed once in a while only, however often it is reported.
        provider.answers["/token"] = {"error": "invalid_grant", "error_description": "The grant was revoked.", "status": 400}
        refresh(client, tokens[-1])
        yield client, provider
    provider.stop()


def connect(client, provider, browser, provider_id, user, agent, account, scopes):
    provider.answers["/token"] = {
        "access_token": f"{user}-{provider_id}",
        "refresh_token": "r",
        "expires_in": 3600,
        "scope": scopes,
    }
    provider.answers["/userinfo"] = {"sub": account, "email": account, "name": account}
    asked = {"provider": provider_id, "scopes": scopes.split(), "user_id": user, "agent_id": agent or None}
    asked = {name: value for name, value in asked.items() if value}
    browser.get(client.call("POST", "/v2/auth/authenticate", asked)["url"])
    button(browser, "Continue").click()
    shows(browser, "Connected to ")
    token = client.call("GET", "/v2/admin/tokens?limit=1")["data"][0]["id"]
    client.call("PATCH", f"/v2/auth/tokens/{token}/metadata", {"provider_account_label": account})
    if account != DEAD:
        refresh(client, token)
    return token


def refresh(client, token):
    client.call("POST", f"/v2/auth/tokens/{token}/report-invalid", {})


def look(browser, size, scheme):
    resize(browser, *size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


def test_the_pictures_of_the_documentation(company, browser):
    (client, provider), taken = company, {}

    def take(name, size, scheme):
        look(browser, size, scheme)
        # Of a phone only what is on its screen.
        taken[name] = browser.get_screenshot_as_png() if size == PHONE else picture(browser, size[0])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0], name
        look(browser, DESKTOP, LIGHT)

    sign_in(browser, client)
    take("console-overview", DESKTOP, LIGHT)
    browser.get(f"{client.base}/console/connections")
    take("console-connections", DESKTOP, LIGHT)
    take("console-connections-phone", PHONE, DARK)
    browser.get(f"{client.base}/console/providers/github")
    button(browser, "Check it now").click()
    says(browser, "Checked just now")
    take("console-provider", DESKTOP, DARK)
    provider.answers["/token"] = {"access_token": "t", "refresh_token": "r", "expires_in": 43200, "scope": "chat:write"}
    provider.answers["/userinfo"] = {"sub": "U1", "email": "ops@example.com", "name": "Ops"}
    browser.get(f"{client.base}/console/providers/slack/try")
    field(browser, "scopes").send_keys("chat:write channels:read")
    button(browser, "Try it").click()
    button(browser, "Continue").click()
    shows(browser, "It works")
    take("console-trial", DESKTOP, LIGHT)
    provider.be_mcp_server()
    browser.get(f"{client.base}/console/add-mcp")
    field(browser, "url").send_keys(f"{provider.base}/mcp", Keys.ENTER)
    shows(browser, "The MCP server is connected")
    take("console-mcp", DESKTOP, LIGHT)
    browser.get(client.call("POST", "/v2/auth/connect-links", {"user_id": "ada"})["url"])
    button(browser, "Continue").click()
    says(browser, "Connect an account")
    take("people-connections", DESKTOP, LIGHT)
    take("people-connections-phone", PHONE, DARK)

    folder = os.environ.get("TEST_SCREENSHOTS")
    for name, png in taken.items():
        assert len(png) < SIZE_MAX, (name, len(png))
        if folder:
            Path(folder, f"{name}.png").write_bytes(png)
