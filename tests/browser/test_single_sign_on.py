"""Single sign-on for the console, at the npm package oidc-provider: what an operator does in a browser."""

import subprocess
from pathlib import Path

import pytest
from axe import has_no_barrier
from conftest import free_port, program, running_demo
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from test_console import field, follow, main, says, wait
from test_pages import button, shows

PROVIDER = Path(__file__).parent / "identity_provider.mjs"
BUTTON = "Single sign-on"


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    """`agent-auth demo` whose console people sign in to at an identity provider of its own."""
    folder, port, own_port = tmp_path_factory.mktemp("single-sign-on"), free_port(), free_port()
    assert (PROVIDER.parent / "node_modules/oidc-provider").exists(), "(cd tests/browser && npm ci)"
    redirect_uri = f"http://127.0.0.1:{own_port}/console/sign-in/openid/callback"
    with (folder / "provider").open("wb") as log:
        provider = subprocess.Popen(
            [program("node", "nodejs"), PROVIDER, str(port), redirect_uri],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            # Warnings are on standard error.
            said = iter(provider.stdout.readline, "")
            assert any(line.strip() == "ready" for line in said), (folder / "provider").read_text()
            settings = {
                "CONSOLE_OIDC_ISSUER": f"http://127.0.0.1:{port}",
                "CONSOLE_OIDC_CLIENT_ID": "console",
                "CONSOLE_OIDC_CLIENT_SECRET": "console-secret",
                "CONSOLE_OIDC_SCOPES": "openid profile email groups",
                "CONSOLE_OIDC_ADMIN_GROUPS": "platform",
                "CONSOLE_OIDC_VIEWER_GROUPS": "support",
            }
            with running_demo(folder, own_port, settings) as demo:
                yield demo
        finally:
            provider.terminate()
            provider.wait(10)


def sign_in(browser, console, name):
    """Signs in at the identity provider, and allows it to say who one is."""
    browser.get(f"{console.base}/console")
    shows(browser, "Sign in to the console")
    browser.find_element(By.LINK_TEXT, BUTTON).click()
    field(browser, "login").send_keys(name)
    field(browser, "password").send_keys("any")
    submit = browser.find_element(By.CSS_SELECTOR, "button[type=submit]")
    submit.click()
    # The page that asks for leave has such a button too; the old page may be there for a moment.
    wait(browser, staleness_of(submit))
    browser.find_element(By.CSS_SELECTOR, "button[autofocus], button[type=submit]").click()


def test_an_operator_signs_in_at_the_identity_provider(console, browser):
    browser.get(f"{console.base}/console/sign-in")
    has_no_barrier(browser, "sign-in")
    sign_in(browser, console, "ada")
    shows(browser, "Overview")
    assert browser.current_url == f"{console.base}/console", "neither code nor state is left in the address"
    header = browser.find_element(By.CSS_SELECTOR, ".who").text
    assert "ada of the tests" in header and "admin" in header
    follow(browser, "Audit log", "Audit log")
    assert "console.signed_in" in main(browser) and "openid:ada" in main(browser)
    button(browser, "Verify the whole log").click()
    shows(browser, "The audit log is whole")
    button(browser, "Sign out").click()
    shows(browser, "Sign in to the console")
    browser.get(f"{console.base}/console/audit")
    shows(browser, "Sign in to the console")
    # The provider still knows the browser, and asks nothing again.
    browser.find_element(By.LINK_TEXT, BUTTON).click()
    shows(browser, "Overview")
    # The pages of the provider load fonts, which are not ours.
    assert [entry for entry in browser.get_log("browser") if console.base in entry["message"]] == []


def test_a_viewer_sees_and_changes_nothing(console, browser):
    sign_in(browser, console, "sam")
    shows(browser, "Overview")
    assert "viewer" in browser.find_element(By.CSS_SELECTOR, ".who").text
    follow(browser, "API keys", "API keys")
    assert not browser.find_elements(By.XPATH, "//button[normalize-space()='Create']")


def test_who_is_in_no_group_reads_so_and_can_use_a_key(console, browser):
    sign_in(browser, console, "eve")
    says(browser, "none of your groups may sign in here")
    has_no_barrier(browser, "refused")
    assert "platform" not in main(browser) and "support" not in main(browser)
    field(browser, "key").send_keys(console.api_key)
    button(browser, "Sign in").click()
    shows(browser, "Overview")


def test_another_browser_cannot_finish_a_sign_in(console, browser, another_browser):
    browser.get(f"{console.base}/console/sign-in")
    browser.find_element(By.LINK_TEXT, BUTTON).click()
    assert field(browser, "login"), browser.current_url
    state = browser.get_cookie("agent-auth-sign-in")
    assert state and state["httpOnly"] and state["sameSite"] == "Lax"
    another_browser.get(f"{console.base}/console/sign-in/openid/callback?code=stolen&state=1.x")
    says(another_browser, "was not begun in this browser")
