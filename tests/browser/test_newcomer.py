"""A newcomer runs the demo, opens the console, and without reading anything adds a provider, connects, and revokes.

TEST_SCREENSHOTS  a folder to write a picture of every page to
"""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from axe import has_no_barrier
from selenium.webdriver.common.by import By
from test_console import SCREENS, field, follow, main, picture, resize, says, wait
from test_pages import DARK, LIGHT, button, has_quiet_console, shows

CONTACTS = "Sample contacts"


def register(browser, developers, redirect_uri):
    """An application at the sample provider: its client id and its client secret."""
    browser.get(developers)
    shows(browser, "New application")
    field(browser, "redirect_uri").send_keys(redirect_uri)
    button(browser, "Register").click()
    shows(browser, "My agents is registered")
    return {name: browser.find_element(By.ID, name).text for name in ("client_id", "client_secret")}


def add_the_provider(browser):
    """In the console, with an application that is registered at the provider in another tab."""
    follow(browser, "Providers", "Providers")
    follow(browser, "Add a provider", "Add a provider")
    field(browser, "search").send_keys("sample")
    button(browser, "Search").click()
    follow(browser, CONTACTS, f"Add {CONTACTS}")
    console, redirect_uri = browser.current_window_handle, browser.find_element(By.ID, "redirect").get_attribute("value")
    developers = browser.find_element(By.PARTIAL_LINK_TEXT, "/sample-provider/apps").get_attribute("href")
    browser.switch_to.new_window("tab")
    client = register(browser, developers, redirect_uri)
    browser.close()
    browser.switch_to.window(console)
    for name, value in client.items():
        field(browser, name).send_keys(value)
    button(browser, f"Add {CONTACTS}").click()
    says(browser, "The provider was added.")
    button(browser, "Check it now").click()
    says(browser, "Checked just now")
    assert "Failed" not in main(browser), main(browser)


def connect(browser, link):
    """As the person, at the link that the demo printed."""
    browser.get(link)
    shows(browser, "Your connections")
    button(browser, "Continue").click()
    says(browser, "Sample calendar")
    browser.find_element(By.XPATH, "//form[contains(@action, '/connections/connect/sample-contacts')]//button").click()
    shows(browser, f"Connect {CONTACTS}?")
    assert "See your contacts" in main(browser)
    button(browser, "Continue").click()
    shows(browser, "My agents wants to use your account")
    assert "See your contacts" in main(browser)
    button(browser, "Approve").click()
    says(browser, "You came back from the provider.")


def contacts(demo, token):
    request = urllib.request.Request(
        f"{demo.base}/sample-provider/contacts", headers={"authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["contacts"]


def test_a_newcomer_adds_a_provider_connects_and_revokes(new_demo, browser, another_browser):
    browser.get(new_demo.console_link)
    shows(browser, "Open the console")
    button(browser, "Open the console").click()
    shows(browser, "Overview")
    add_the_provider(browser)
    connect(another_browser, new_demo.connect_link)

    # An agent has the token at once, and it opens the API.
    body = {"provider": "sample-contacts", "scopes": ["contacts.read"], "user_id": "you"}
    answer = new_demo.call("POST", "/v2/auth/authenticate", body)
    assert answer["status"] == "completed", answer
    assert len(contacts(new_demo, answer["token"])) == 2

    follow(browser, "Connections", "Connections")
    field(browser, "provider").send_keys("sample-contacts")
    button(browser, "Filter").click()
    says(browser, "Show all")
    follow(browser, "you", "you")
    assert "sam@example.com" in main(browser) and "Active" in main(browser)
    follow(browser, "Revoke", "Revoke this connection?")
    button(browser, "Revoke").click()
    says(browser, "The token was deleted and its grant is revoked at the provider.")

    assert new_demo.call("POST", "/v2/auth/authenticate", body)["status"] == "pending"
    with pytest.raises(urllib.error.HTTPError) as refused:
        contacts(new_demo, answer["token"])
    assert refused.value.code == 401, "the provider has ended it too"
    follow(browser, "Audit log", "Audit log")
    assert "token.deleted" in main(browser) and "token.handed_out" in main(browser)
    for each in (browser, another_browser):
        has_quiet_console(each)


def test_the_link_to_the_console_signs_in_once(new_demo, browser, another_browser):
    another_browser.get(new_demo.console_link)
    shows(another_browser, "Open the console")
    # Looking uses nothing up: programs that preview links look too.
    browser.get(new_demo.console_link)
    shows(browser, "Open the console")
    twice = "const twice = arguments[0]; setTimeout(() => { twice.click(); twice.click(); })"
    browser.execute_script(twice, button(browser, "Open the console"))
    shows(browser, "Overview")
    button(another_browser, "Open the console").click()
    shows(another_browser, "This link cannot be used")
    browser.get(new_demo.console_link)
    shows(browser, "This link cannot be used")
    follow(browser, "Go to the console", "Overview")


def test_the_demo_begins_with_connections_in_every_state(new_demo, browser):
    browser.get(new_demo.console_link)
    button(browser, "Open the console").click()
    shows(browser, "Overview")
    follow(browser, "Connections", "Connections")

    def ended(browser):
        # A second after the consent this access token expires.
        browser.refresh()
        return "Needs consent" in browser.find_element(By.XPATH, "//tbody/tr[contains(., 'cleo')]").text

    wait(browser, ended)
    rows = {row.text.replace("\n", " ") for row in browser.find_elements(By.CSS_SELECTOR, "tbody tr")}
    assert len(rows) == 6
    for user, state in (("mia", "Active"), ("ben", "Active"), ("cleo", "Needs consent"), ("dan", "Failing")):
        assert any(user in row and state in row for row in rows), (user, rows)
    own = [row for row in rows if "Sample calendar" in row or "sample-calendar" in row]
    assert sorted("Active" in row for row in own) == [False, True], own
    for user, why in (("cleo", "no refresh token"), ("dan", "The last refresh failed"), ("ben", "By ")):
        follow(browser, user, user)
        says(browser, why)
        follow(browser, "Connections", "Connections")


def pages(demo, browser):
    """Opens every page of the demo itself, one after the other."""
    browser.get(demo.console_link)
    shows(browser, "Open the console")
    yield "demo-console-link"
    browser.get(f"{demo.console_link}x")
    shows(browser, "This link cannot be used")
    yield "demo-console-link-used"
    sample = f"{demo.base}/sample-provider"
    browser.get(f"{sample}/apps")
    shows(browser, "New application")
    field(browser, "redirect_uri").send_keys("https://elsewhere.example/")
    button(browser, "Register").click()
    says(browser, "The sample provider only sends people back to")
    yield "demo-apps"
    field(browser, "redirect_uri").clear()
    field(browser, "redirect_uri").send_keys(f"{demo.base}/host-oauth-callback/mine")
    button(browser, "Register").click()
    shows(browser, "My agents is registered")
    yield "demo-app"
    body = {"provider": "sample", "scopes": ["documents.read", "calendar.read", "secrets.all"], "user_id": "somebody"}
    browser.get(demo.call("POST", "/v2/auth/authenticate", body)["url"])
    shows(browser, "Connect Sample provider?")
    yield "demo-connect"
    button(browser, "Continue").click()
    shows(browser, "agent-auth demo wants to use your account")
    assert "Read your documents" in main(browser) and "this provider does not know the permission" in main(browser)
    yield "demo-consent"
    browser.get(f"{sample}/authorize")
    shows(browser, "This application is unknown")
    yield "demo-refusal"


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("size", SCREENS, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_page_of_the_demo_fits_its_screen_and_colour_scheme(demo, browser, scheme, size):
    width, height = size
    resize(browser, width, height)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    folder = os.environ.get("TEST_SCREENSHOTS")
    for page in pages(demo, browser):
        if folder:
            Path(folder, f"{page}-{scheme}-{width}.png").write_bytes(picture(browser, width))
            resize(browser, width, height)
        scroll_width = browser.execute_script("return document.documentElement.scrollWidth")
        assert scroll_width <= width, f"{page} is {scroll_width} wide"
        has_no_barrier(browser, page)
