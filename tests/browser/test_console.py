"""The operators' console in a browser: what a newcomer does there, on every screen and in every colour scheme.

TEST_SCREENSHOTS  a folder to write a picture of every page to
"""

import os
from pathlib import Path

import pytest
from axe import has_no_barrier
from fake_provider import FakeProvider
from selenium.common.exceptions import (
    NoSuchElementException, StaleElementReferenceException, TimeoutException, WebDriverException,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from test_pages import CONSENT, DARK, DESKTOP, LIGHT, PHONE, SMALL_PHONE, button, has_quiet_console, open_consent, shows

SCREENS = [PHONE, SMALL_PHONE, DESKTOP]


def sign_in(browser, demo):
    browser.get(f"{demo.base}/")
    browser.find_element(By.LINK_TEXT, "Console").click()
    shows(browser, "Sign in to the console")
    browser.switch_to.active_element.send_keys(demo.api_key, Keys.ENTER)
    shows(browser, "Overview")


def wait(browser, condition):
    """A page that is being left has elements that are gone a moment later, for which the driver has no error of its own."""
    gone = [StaleElementReferenceException, NoSuchElementException, WebDriverException]
    return WebDriverWait(browser, 10, ignored_exceptions=gone).until(condition)


def follow(browser, link, *headings):
    def click(browser):
        browser.find_element(By.PARTIAL_LINK_TEXT, link).click()
        return True

    wait(browser, click)
    shows(browser, *headings)


def says(browser, text):
    """Waits for a page that has this text."""
    try:
        wait(browser, lambda browser: text in main(browser))
    except TimeoutException as late:
        raise AssertionError(f"no {text!r} at {browser.current_url}: {main(browser)}") from late


def field(browser, name):
    return browser.find_element(By.NAME, name)


def main(browser):
    return browser.find_element(By.TAG_NAME, "main").text


def connect(demo, browser, another_browser):
    request = demo.begin()
    open_consent(another_browser, request)
    button(another_browser, "Approve").click()
    shows(another_browser, "Connected to ", "Already connected to ")
    return request


def loaded(browser):
    """The addresses of everything that the page loaded, itself included."""
    return browser.execute_script("return performance.getEntries().filter(e => e.name.includes('://')).map(e => e.name)")


def test_a_newcomer_signs_in_adds_a_provider_and_revokes_a_connection(demo, browser, another_browser):
    request = connect(demo, browser, another_browser)
    sign_in(browser, demo)
    follow(browser, "Providers", "Providers")
    follow(browser, "Add a provider", "Add a provider")
    field(browser, "search").send_keys("github", Keys.ENTER)
    follow(browser, "GitHub", "Add GitHub")
    assert f"{demo.base}/host-oauth-callback/github" in main(browser)
    field(browser, "provider_id").clear()
    field(browser, "provider_id").send_keys("work-github")
    field(browser, "client_id").send_keys("Iv1.abc")
    field(browser, "client_secret").send_keys("a-secret")
    button(browser, "Add GitHub").click()
    says(browser, "The provider was added.")
    follow(browser, "Change", "Change GitHub")
    field(browser, "name").clear()
    field(browser, "name").send_keys("GitHub at work", Keys.ENTER)
    says(browser, "Saved.")
    shows(browser, "GitHub at work")
    follow(browser, "Delete", "Delete this provider?")
    button(browser, "Delete").click()
    shows(browser, "Providers")

    follow(browser, "Connections", "Connections")
    field(browser, "user").send_keys(request.body["user_id"], Keys.ENTER)
    says(browser, "Show all")
    follow(browser, request.body["user_id"], request.body["user_id"])
    button(browser, "Refresh now").click()
    says(browser, "The token was refreshed.")
    follow(browser, "Overview", "Overview")
    chart = browser.find_element(By.CSS_SELECTOR, "svg[role=img]")
    assert chart.accessible_name.startswith("Refreshes by hour") and chart.rect["height"] > 50
    bars = chart.find_elements(By.TAG_NAME, "rect")
    assert bars and all(bar.rect["height"] >= 1 for bar in bars)
    browser.back()
    shows(browser, request.body["user_id"])
    follow(browser, "Revoke", "Revoke this connection?")
    button(browser, "Revoke").click()
    shows(browser, "Connections")
    assert request.authenticate()["status"] == "pending"

    follow(browser, "Audit log", "Audit log")
    assert "token.deleted" in main(browser) and "console user" in main(browser)
    button(browser, "Verify the whole log").click()
    shows(browser, "The audit log is whole")
    follow(browser, "Back to the audit log", "Audit log")
    has_quiet_console(browser)
    assert all(address.startswith(demo.base) for address in loaded(browser))
    button(browser, "Sign out").click()
    shows(browser, "Sign in to the console")
    browser.back()
    shows(browser, "Sign in to the console")


def try_sample(browser, demo, decision):
    """Goes through the consent of the sample provider from its page in the console."""
    browser.get(f"{demo.base}/console/providers/sample")
    follow(browser, "Try it", "Try Sample provider")
    button(browser, "Try it").click()
    shows(browser, "Connect Sample provider?")
    button(browser, "Continue").click()
    shows(browser, CONSENT)
    button(browser, decision).click()


def test_a_provider_is_tried_and_its_connection_ended(demo, browser):
    sign_in(browser, demo)
    try_sample(browser, demo, "Approve")
    shows(browser, "It works")
    for text in ("admin", "Read your documents", "documents.read"):
        assert text in main(browser), (text, main(browser))
    has_quiet_console(browser)
    button(browser, "End this connection").click()
    says(browser, "The token was deleted")
    try_sample(browser, demo, "Deny")
    shows(browser, "It did not work")
    assert "access_denied" in main(browser) and "Try again, and approve." in main(browser)
    follow(browser, "Try it again", "Try Sample provider")
    has_quiet_console(browser)


def test_the_discovery_of_an_mcp_server_is_shown_step_by_step(demo, browser):
    provider = FakeProvider()
    provider.be_mcp_server(code_challenge_methods_supported=None)
    sign_in(browser, demo)
    follow(browser, "Providers", "Providers")
    follow(browser, "Connect an MCP server", "Connect an MCP server")
    browser.switch_to.active_element.send_keys(f"{provider.base}/mcp", Keys.ENTER)
    says(browser, "What was found, step by step")
    for text in ("Failed PKCE", f"{provider.base}/.well-known/oauth-protected-resource/mcp", "accept that its metadata does not say so"):
        assert text in main(browser), (text, main(browser))
    browser.find_element(By.ID, "allow_missing_pkce").click()
    button(browser, "Connect").click()
    shows(browser, "The MCP server is connected")
    assert "registered as registered-77" in main(browser)
    follow(browser, "See the provider", "127.0.0.1")
    has_quiet_console(browser, document_status=422)
    follow(browser, "Delete", "Delete this provider?")
    button(browser, "Delete").click()
    says(browser, "The provider was deleted")
    provider.stop()


def test_several_connections_are_revoked_at_once(demo, browser, another_browser):
    requests = [connect(demo, browser, another_browser) for _ in range(2)]
    sign_in(browser, demo)
    follow(browser, "Connections", "Connections")
    for request in requests:
        name = f"Choose {request.body['user_id']} at "
        browser.find_element(By.XPATH, f"//label[contains(., '{name}')]/preceding-sibling::input").click()
    button(browser, "Revoke those chosen…").click()
    shows(browser, "Revoke these connections?")
    assert all(request.body["user_id"] in main(browser) for request in requests)
    button(browser, "Revoke 2").click()
    shows(browser, "Revoked connections")
    says(browser, "2 deleted and revoked at the provider")
    assert all(request.authenticate()["status"] == "pending" for request in requests)
    has_quiet_console(browser)


def test_a_key_is_created_and_shown_once(demo, browser):
    sign_in(browser, demo)
    follow(browser, "API keys", "API keys")
    field(browser, "name").send_keys("made in a browser")
    button(browser, "Create").click()
    shows(browser, "Copy the new API key")
    key = browser.find_element(By.ID, "created").get_attribute("value")
    assert key.startswith("aauth_")
    follow(browser, "I have stored it", "API keys")
    assert "made in a browser" in main(browser) and key not in browser.page_source
    has_quiet_console(browser)


def test_events_appear_while_the_page_is_open(demo, browser, another_browser):
    sign_in(browser, demo)
    follow(browser, "Events", "Events")
    says(browser, "New events appear at the top.")
    requests = [connect(demo, browser, another_browser) for _ in range(2)]
    says(browser, "2 new events")
    status = browser.find_element(By.CSS_SELECTOR, "[role=status]")
    assert status.text == "2 new events" and status.get_attribute("aria-live") == "polite"
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "tbody tr")][:2]
    assert [request.body["user_id"] in row for request, row in zip(reversed(requests), rows)] == [True, True], rows
    has_quiet_console(browser)
    follow(browser, requests[1].body["user_id"], requests[1].body["user_id"])
    browser.back()
    says(browser, "New events appear at the top.")
    assert requests[1].body["user_id"] in main(browser)
    has_quiet_console(browser)
    assert all(address.startswith(demo.base) for address in loaded(browser))
    # The session ends elsewhere.
    live = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(f"{demo.base}/console")
    button(browser, "Sign out").click()
    shows(browser, "Sign in to the console")
    browser.switch_to.window(live)
    after = connect(demo, browser, another_browser)
    says(browser, "You are signed out.")
    assert after.body["user_id"] not in main(browser)


def test_a_page_of_events_without_a_stream_says_so(demo, browser):
    sign_in(browser, demo)
    tabs = []
    for _ in range(5):
        browser.switch_to.new_window("tab")
        browser.get(f"{demo.base}/console/events")
        tabs.append(browser.current_window_handle)
        says(browser, "New events appear at the top." if len(tabs) < 5 else "Too many pages like this one are open.")
    # What the streams leave is enough for every other page.
    follow(browser, "Overview", "Overview")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(f"{demo.base}/console/events")
    assert "Load this page again to see what has happened since." in main(browser)


def test_the_keyboard_reaches_everything(demo, browser):
    sign_in(browser, demo)
    browser.get(f"{demo.base}/console")
    visited = []
    for _ in range(30):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        visited.append(browser.switch_to.active_element.text.split("\n")[0])
    assert visited[0] == "Skip to the content"
    for name in ("Connections", "Providers", "API keys", "Audit log", "Settings", "Sign out"):
        assert name in visited, visited
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


@pytest.fixture
def pages(demo, browser, another_browser):
    """Opens every page of the console, one after the other."""

    def opened():
        browser.get(f"{demo.base}/")
        shows(browser, "agent-auth is running")
        yield "start"
        browser.get(f"{demo.base}/console/sign-in")
        shows(browser, "Sign in")
        yield "sign-in"
        connect(demo, browser, another_browser)
        demo.begin()
        sign_in(browser, demo)
        yield "overview"
        for path in ("connections", "requests", "providers", "add-provider", "add-mcp", "keys", "audit", "settings"):
            browser.get(f"{demo.base}/console/{path}")
            yield path
        browser.get(f"{demo.base}/console/add-provider?template=microsoft")
        yield "add-microsoft"
        browser.get(f"{demo.base}/console/events")
        says(browser, "New events appear at the top.")
        connect(demo, browser, another_browser)
        says(browser, "1 new event")
        yield "events"
        browser.get(f"{demo.base}/console/connections")
        browser.find_element(By.CSS_SELECTOR, "tbody a").click()
        shows(browser, "person-")
        yield "connection"
        button(browser, "Refresh now").click()
        says(browser, "The token was refreshed.")
        follow(browser, "Overview", "Overview")
        says(browser, "Refreshes")
        yield "charts"
        browser.get(f"{demo.base}/console/connections")
        browser.find_element(By.CSS_SELECTOR, "tbody a").click()
        shows(browser, "person-")
        follow(browser, "Revoke", "Revoke this connection?")
        yield "revoke"
        browser.get(f"{demo.base}/console/connections")
        browser.find_element(By.CSS_SELECTOR, "tbody input").click()
        button(browser, "Revoke those chosen…").click()
        shows(browser, "Revoke these connections?")
        yield "revoke-many"
        button(browser, "Revoke 1").click()
        shows(browser, "Revoked connections")
        yield "revoked-many"
        browser.get(f"{demo.base}/console/audit")
        button(browser, "Verify the whole log").click()
        shows(browser, "The audit log is whole")
        yield "verified"
        browser.get(f"{demo.base}/console/providers")
        browser.find_element(By.LINK_TEXT, "Sample provider").click()
        shows(browser, "Sample provider")
        button(browser, "Check it now").click()
        says(browser, "Checked just now")
        yield "provider"
        follow(browser, "Change", "Change Sample provider")
        yield "edit"
        follow(browser, "Cancel", "Sample provider")
        follow(browser, "Try it", "Try Sample provider")
        yield "try"
        try_sample(browser, demo, "Approve")
        shows(browser, "It works")
        yield "tried"
        try_sample(browser, demo, "Deny")
        shows(browser, "It did not work")
        yield "tried-in-vain"
        browser.get(f"{demo.base}/console/add-mcp")
        field(browser, "url").send_keys(f"{demo.base}/mcp", Keys.ENTER)
        says(browser, "What was found, step by step")
        yield "mcp-in-vain"
        browser.get(f"{demo.base}/console/providers/sample")
        follow(browser, "Delete", "Delete this provider?")
        yield "delete"
        browser.get(f"{demo.base}/console/connections/none")
        yield "failure"

    return opened


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("size", SCREENS, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_page_fits_its_screen_and_colour_scheme(demo, pages, browser, scheme, size):
    width, height = size
    resize(browser, width, height)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    pictures = os.environ.get("TEST_SCREENSHOTS")
    for page in pages():
        if pictures:
            Path(pictures, f"{page}-{scheme}-{width}.png").write_bytes(picture(browser, width))
            resize(browser, width, height)
        scroll_width = browser.execute_script("return document.documentElement.scrollWidth")
        assert scroll_width <= width, f"{page} is {scroll_width} wide"
        background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        brightest = max(int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(","))
        assert (brightest < 64) == (scheme == DARK), f"{page}: {background}"
        has_no_barrier(browser, page)
        has_quiet_console(browser, document_status=422 if page == "mcp-in-vain" else 404)
        assert all(address.startswith(demo.base) for address in loaded(browser)), page


def picture(browser, width):
    """The whole page, not only what is on the screen: on a screen that is as high as the page."""
    height = browser.execute_script("return document.documentElement.scrollHeight")
    resize(browser, width, height)
    return browser.get_screenshot_as_png()


def resize(browser, width, height):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
