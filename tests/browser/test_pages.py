"""The whole consent, as a person walks through it in a browser."""

import time
from urllib.parse import urlsplit

import pytest
from axe import has_no_barrier
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

QUESTION = "Connect Sample provider?"
CONSENT = "agent-auth demo wants to use your account"
CONNECTED = ("Connected to ", "Already connected to ")
DENIED = "Access was not granted"
USED = "This link was already used"

LIGHT, DARK = "light", "dark"
PHONE, SMALL_PHONE, DESKTOP = (390, 844), (320, 568), (1280, 800)


def heading(browser):
    return browser.execute_script("return document.querySelector('h1')?.textContent ?? ''")


def shows(browser, *starts):
    """Waits for a page whose heading begins like one of these."""
    try:
        WebDriverWait(browser, 10).until(lambda _: heading(browser).startswith(starts))
    except TimeoutException as late:
        raise AssertionError(f"no page {starts}, but {heading(browser)!r} at {browser.current_url}") from late


def button(browser, text):
    return browser.find_element(By.XPATH, f"//button[normalize-space()='{text}']")


def open_consent(browser, request):
    """Opens the link of an agent and goes on from our page to the provider."""
    browser.get(request.url)
    shows(browser, QUESTION)
    button(browser, "Continue").click()
    shows(browser, CONSENT)
    request.at_provider = browser.current_url


def open_key_page(browser, request):
    browser.get(request.url)
    shows(browser, "Connect Weather?")
    button(browser, "Continue").click()
    shows(browser, "Your key for Weather")


def status(browser):
    return browser.execute_script("return performance.getEntriesByType('navigation')[0].responseStatus")


def has_quiet_console(browser, document_status=200):
    """No fault, no violation of the policy. Chromium also notes a document that came with a 4xx, which is meant so."""
    noted = f"the server responded with a status of {document_status}"
    entries = [entry for entry in browser.get_log("browser") if noted not in entry["message"]]
    assert entries == []


def is_clean_success(browser, demo):
    """We stand on a success page whose address holds neither code nor state."""
    shows(browser, "Connected to ")
    href = browser.execute_script("return location.href")
    assert href.startswith(f"{demo.base}/host-oauth-callback/")
    assert "code=" not in href and "state=" not in href and not urlsplit(href).query
    assert status(browser) == 200
    assert "close this window and return to your agent" in browser.find_element(By.TAG_NAME, "main").text


def test_approve_connects_and_leaves_a_clean_address(demo, browser):
    request = demo.begin()
    waiting = request.wait()
    open_consent(browser, request)
    page = browser.find_element(By.TAG_NAME, "main").text
    for text in ("Sam Sample", "sam@example.com", "profile"):
        assert text in page
    button(browser, "Approve").click()
    is_clean_success(browser, demo)
    has_quiet_console(browser)

    answer = waiting.result(10)
    assert answer["status"] == "completed", answer
    assert request.profile(answer["token"])["name"] == "Sam Sample"
    assert request.authenticate()["status"] == "completed"


def test_reload_and_back_are_harmless(demo, browser):
    request = demo.begin()
    open_consent(browser, request)
    button(browser, "Approve").click()
    is_clean_success(browser, demo)
    token = request.authenticate()["token"]

    browser.refresh()
    shows(browser, *CONNECTED)
    assert status(browser) == 200

    browser.back()
    shows(browser, CONSENT)
    browser.forward()
    shows(browser, *CONNECTED)
    has_quiet_console(browser)

    # Whoever goes back and approves once more brings a second code with the same state.
    browser.back()
    shows(browser, CONSENT)
    button(browser, "Approve").click()
    shows(browser, USED)
    assert status(browser) == 400
    has_quiet_console(browser, document_status=400)
    assert request.authenticate()["token"] == token


def test_a_double_click_connects_once(demo, browser):
    request = demo.begin()
    open_consent(browser, request)
    # Both clicks in one task, as fast as can be; the driver's own double click hangs when the page leaves between them.
    browser.execute_script("const twice = arguments[0]; setTimeout(() => { twice.click(); twice.click(); })", button(browser, "Approve"))
    shows(browser, *CONNECTED)
    assert "code=" not in browser.current_url
    assert request.authenticate()["status"] == "completed"
    has_quiet_console(browser)


def test_deny_ends_the_wait_at_once(demo, browser):
    request = demo.begin()
    waiting = request.wait()
    open_consent(browser, request)
    assert not waiting.done()
    button(browser, "Deny").click()
    pressed = time.monotonic()
    answer = waiting.result(10)
    assert time.monotonic() - pressed < 2
    assert (answer["status"], answer["error"]) == ("not_found", "access_denied"), answer
    assert not answer.get("token")

    shows(browser, DENIED)
    assert 400 <= status(browser) < 500
    page = browser.find_element(By.TAG_NAME, "main").text
    assert "access_denied" in page and "connect again" in page
    has_quiet_console(browser, document_status=status(browser))
    assert request.authenticate()["status"] == "pending"


def test_the_keyboard_is_enough(demo, browser):
    request = demo.begin()
    open_consent(browser, request)
    visited = []
    for _ in range(3):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        element = browser.switch_to.active_element
        visited.append(element.text or element.get_attribute("name"))
    assert visited == ["account", "Approve", "Deny"]
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).send_keys(Keys.ENTER).perform()
    is_clean_success(browser, demo)


def test_a_key_is_entered_and_reaches_the_agent(demo, browser):
    request = demo.begin_with_key()
    waiting = request.wait()
    open_key_page(browser, request)
    field = browser.switch_to.active_element
    assert (field.get_attribute("id"), field.get_attribute("type")) == ("key", "password")
    label = browser.find_element(By.CSS_SELECTOR, "label[for=key]")
    assert label.text == "API key"
    field.send_keys("two words", Keys.ENTER)
    shows(browser, "Your key for Weather")
    problem = browser.find_element(By.CSS_SELECTOR, "[role=alert]")
    assert "not a key" in problem.text
    field = browser.switch_to.active_element
    assert (field.get_attribute("value"), field.get_attribute("aria-describedby")) == ("", "problem")
    has_quiet_console(browser, document_status=422)
    field.send_keys("sk-live-1234")
    button(browser, "Save key").click()
    is_clean_success(browser, demo)
    has_quiet_console(browser)
    answer = waiting.result(10)
    assert (answer["status"], answer["token"]) == ("completed", "sk-live-1234")


def test_going_back_to_the_page_of_a_key_that_was_entered_is_harmless(demo, browser):
    open_key_page(browser, demo.begin_with_key())
    browser.switch_to.active_element.send_keys("sk-live-1234", Keys.ENTER)
    is_clean_success(browser, demo)
    browser.back()
    shows(browser, "Already connected to Weather")


@pytest.fixture
def outcomes(demo, browser):
    """Opens, one after the other: the page before it, consent, success, failure, and the page for a key, also after a mistake."""

    def pages():
        approved, denied = demo.begin(), demo.begin()
        browser.get(approved.url)
        shows(browser, QUESTION)
        yield "question"
        open_consent(browser, approved)
        yield "consent"
        button(browser, "Approve").click()
        shows(browser, "Connected to ")
        yield "success"
        open_consent(browser, denied)
        button(browser, "Deny").click()
        shows(browser, DENIED)
        yield "failure"
        open_key_page(browser, demo.begin_with_key())
        yield "key"
        browser.find_element(By.ID, "key").send_keys("two words", Keys.ENTER)
        WebDriverWait(browser, 10).until(lambda _: browser.find_elements(By.ID, "problem"))
        yield "key refused"

    return pages


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("size", [PHONE, SMALL_PHONE, DESKTOP], ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_page_fits_its_screen_and_colour_scheme(outcomes, browser, scheme, size):
    width, height = size
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    for page in outcomes():
        assert browser.execute_script("return innerWidth") == width
        scroll_width = browser.execute_script("return document.documentElement.scrollWidth")
        assert scroll_width <= width, f"{page} is {scroll_width} wide"
        background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        brightest = max(int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(","))
        assert (brightest < 64) == (scheme == DARK), f"{page}: {background}"
        has_no_barrier(browser, page)


def test_every_page_can_be_read_aloud(outcomes, browser):
    for page in outcomes():
        count = lambda selector: len(browser.find_elements(By.CSS_SELECTOR, selector))
        assert browser.execute_script("return document.documentElement.lang") == "en"
        assert (count("h1"), count("main"), count("footer")) == (1, 1, 1), page
        assert browser.title.startswith(("Allow access?", heading(browser)))
        assert count("svg") == count("svg[aria-hidden=true]") > 0, page
        # The consent page of the sample provider asks for one of two accounts, too.
        expected = {"success": 0, "failure": 0, "consent": 4}.get(page, 2)
        assert count("a, button, input:not([type=hidden]), [tabindex]") == expected, page


def test_the_policy_admits_our_style_and_nothing_injected(outcomes, browser):
    for page in outcomes():
        assert browser.execute_script("return getComputedStyle(document.querySelector('.card')).maxWidth") == "432px"
        has_quiet_console(browser, document_status=422 if page == "key refused" else 400)
        injected = browser.execute_script(
            """
            const add = (name, text) => {
                const element = document.createElement(name);
                element.textContent = text;
                document.body.append(element);
            };
            add('script', 'window.injected = true');
            add('style', 'h1 { color: rgb(1, 2, 3) }');
            return [window.injected, getComputedStyle(document.querySelector('h1')).color];
            """
        )
        assert injected[0] is None and injected[1] != "rgb(1, 2, 3)", page
        refused = [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]]
        assert len(refused) == 2, page
