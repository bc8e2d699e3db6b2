"""A consent belongs to the browser in which the person went on from our page: the published attacks, in real browsers."""

import time
from urllib.parse import quote, urlsplit

from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from test_newcomer import register
from test_pages import CONSENT, DENIED, QUESTION, button, has_quiet_console, heading, is_clean_success, open_consent, shows, status

OTHER_BROWSER = "This link was opened in another browser"
INVALID = "This link is no longer valid"
ATTEMPTS = 10


def main(browser):
    return browser.find_element(By.TAG_NAME, "main").text


def test_the_page_says_who_asks_for_what_before_anything_happens(demo, browser):
    request = demo.begin()
    browser.get(request.url)
    shows(browser, QUESTION)
    page = main(browser)
    for text in (request.body["user_id"], "Sample provider", "See your name and profile", "Continue only if you are"):
        assert text in page, page
    assert browser.get_cookies() == []
    assert browser.execute_script("return document.referrer") == ""
    has_quiet_console(browser)
    browser.refresh()
    shows(browser, QUESTION)
    button(browser, "Continue").click()
    shows(browser, CONSENT)
    has_quiet_console(browser)


def test_the_cookie_is_hidden_from_scripts_and_sent_back_from_the_provider(demo, browser):
    request = demo.begin()
    open_consent(browser, request)
    cookies = {cookie["name"]: cookie for cookie in browser.get_cookies()}
    assert (cookies["agent-auth"]["httpOnly"], cookies["agent-auth"]["sameSite"]) == (True, "Lax")
    assert browser.execute_script("return document.cookie") == ""
    assert browser.execute_script("return document.referrer") == "", "the provider does not learn the link"
    button(browser, "Approve").click()
    is_clean_success(browser, demo)
    assert request.authenticate()["status"] == "completed"


def test_what_one_browser_began_no_other_completes(demo, browser, another_browser):
    for _ in range(ATTEMPTS):
        request = demo.begin()
        open_consent(browser, request)
        # The attacker stops here and sends the address of the provider to the victim, who approves.
        another_browser.get(browser.current_url)
        shows(another_browser, CONSENT)
        button(another_browser, "Approve").click()
        shows(another_browser, OTHER_BROWSER)
        assert status(another_browser) == 400
        another_browser.get(request.url)
        shows(another_browser, OTHER_BROWSER)
        assert request.authenticate()["status"] == "pending"
    button(browser, "Approve").click()
    is_clean_success(browser, demo)
    assert request.authenticate()["status"] == "completed", "the right browser still can"


def test_a_victim_with_a_consent_of_their_own_completes_only_that(demo, browser, another_browser):
    mallorys, alices = demo.begin(), demo.begin()
    open_consent(browser, mallorys)
    open_consent(another_browser, alices)
    own = another_browser.current_url
    another_browser.get(browser.current_url)
    button(another_browser, "Approve").click()
    shows(another_browser, OTHER_BROWSER)
    another_browser.get(own)
    button(another_browser, "Approve").click()
    is_clean_success(another_browser, demo)
    assert (alices.authenticate()["status"], mallorys.authenticate()["status"]) == ("completed", "pending")


def test_pressing_continue_twice_goes_on_once(demo, browser):
    request = demo.begin()
    browser.get(request.url)
    shows(browser, QUESTION)
    twice = "const twice = arguments[0]; setTimeout(() => { twice.click(); twice.click(); })"
    browser.execute_script(twice, button(browser, "Continue"))
    shows(browser, CONSENT)
    button(browser, "Approve").click()
    is_clean_success(browser, demo)


def test_back_from_the_provider_and_on_again(demo, browser):
    request = demo.begin()
    open_consent(browser, request)
    browser.back()
    shows(browser, QUESTION)
    button(browser, "Continue").click()
    shows(browser, CONSENT)
    button(browser, "Approve").click()
    is_clean_success(browser, demo)


def test_cancel_ends_the_wait_at_once(demo, browser):
    request = demo.begin()
    waiting = request.wait()
    browser.get(request.url)
    shows(browser, QUESTION)
    button(browser, "Cancel").click()
    answer = waiting.result(10)
    assert (answer["status"], answer["error"]) == ("not_found", "access_denied"), answer
    shows(browser, DENIED)
    browser.get(request.url)
    shows(browser, INVALID)


def test_a_form_of_another_site_binds_nothing(demo, browser):
    request = demo.begin()
    fields = '<input name="browser" value="' + "A" * 43 + '"><input name="decision" value="continue">'
    page = f'<form method="post" action="{request.url}">{fields}<button>Win a prize</button></form><h1>Forged</h1>'
    browser.get("data:text/html," + quote(page))
    shows(browser, "Forged")
    button(browser, "Win a prize").click()
    shows(browser, INVALID)
    assert status(browser) == 403
    browser.get(request.url)
    shows(browser, QUESTION)
    assert browser.get_cookies() == []


def test_a_planted_cookie_lets_no_other_browser_in(demo, browser, another_browser):
    mallorys, alices = demo.begin(), demo.begin()
    open_consent(browser, mallorys)
    open_consent(another_browser, alices)
    # Two of the name: the browser's own, and one for a path that is more precise.
    planted = next(cookie for cookie in browser.get_cookies() if cookie["name"] == "agent-auth")
    another_browser.get(f"{demo.base}/livez")
    another_browser.add_cookie({"name": "agent-auth", "value": planted["value"], "path": "/host-oauth-callback"})
    another_browser.get(browser.current_url)
    button(another_browser, "Approve").click()
    shows(another_browser, OTHER_BROWSER)
    assert mallorys.authenticate()["status"] == "pending"


def test_an_agent_that_only_checked_leads_a_person_on(demo, browser):
    request = demo.begin()
    answer = demo.call("POST", "/v2/auth/authenticate", request.body | {"check_only": True})
    assert answer["status"] == "connection_required" and not answer["auth_id"], answer
    browser.get(answer["url"])
    shows(browser, QUESTION)
    assert "no access to Sample provider" in main(browser)
    button(browser, "Continue").click()
    shows(browser, CONSENT)
    assert urlsplit(browser.current_url).path == "/sample-provider/authorize"
    button(browser, "Approve").click()
    is_clean_success(browser, demo)
    assert request.authenticate()["status"] == "completed"


def test_a_browser_comes_back_from_another_site(demo, browser):
    """The demo's provider is at the server's own address. By another name of the machine it is at another site."""
    elsewhere = f"{demo.base.replace('127.0.0.1', 'localhost')}/sample-provider"
    client = register(browser, f"{elsewhere}/apps", f"{demo.base}/host-oauth-callback/elsewhere")
    endpoints = {"auth_url": f"{elsewhere}/authorize", "token_url": f"{demo.base}/sample-provider/token"}
    provider = {"provider_id": "elsewhere", "name": "Elsewhere", "uses_pkce": True}
    demo.call("POST", "/v2/auth/providers", provider | client | endpoints)
    request = demo.begin("elsewhere")
    browser.get(request.url)
    shows(browser, "Connect Elsewhere?")
    button(browser, "Continue").click()
    shows(browser, "My agents wants to use your account")
    assert browser.current_url.startswith(f"{elsewhere}/authorize")
    button(browser, "Approve").click()
    is_clean_success(browser, demo)
    assert request.authenticate()["status"] == "completed"
    has_quiet_console(browser)
