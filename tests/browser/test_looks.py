"""The pages for people with a brand, in German, from right to left, and inside a page of an application.

TEST_SCREENSHOTS  a folder to write a picture of every page to
"""

import http.server
import os
import threading
import uuid
from pathlib import Path

import pytest
from axe import has_no_barrier
from conftest import free_port, running_demo
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from test_console import SCREENS, loaded, picture, resize, says
from test_pages import CONSENT, DARK, LIGHT, QUESTION, button, has_quiet_console, shows
from test_people import make_link

LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="24" height="24">'
    '<rect width="24" height="24" rx="6" fill="#7a1fa2"/><path d="M7 12h10" stroke="#fff" stroke-width="3"/></svg>'
)
HOST_PAGE = """<!doctype html><link rel="icon" href="data:,"><title>Application</title><h1>Application</h1><p id="said"></p><iframe width="900" height="900"></iframe>
<script>addEventListener("message", ({ origin, data }) => { said.textContent += `${origin} ${JSON.stringify(data)}` })</script>"""


class Application(http.server.BaseHTTPRequestHandler):
    """A page of an application, which can embed and open others."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(HOST_PAGE.encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def application():
    """Its origin. `localhost` and `127.0.0.1` are different sites."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def branded(tmp_path_factory, application):
    """A demo with a brand, whose pages the application may embed."""
    logo = tmp_path_factory.mktemp("brand") / "logo.svg"
    logo.write_text(LOGO)
    settings = {
        "BRAND_NAME": "Example Workspace",
        "BRAND_LOGO": str(logo),
        "BRAND_COLOR": "#7a1fa2",
        "SUPPORT_URL": "mailto:help@example.com",
        "PRIVACY_URL": "https://example.com/privacy",
        "FRAME_ANCESTORS": application,
    }
    with running_demo(tmp_path_factory.mktemp("branded"), free_port(), settings) as client:
        yield client


def prefer(browser, language):
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Accept-Language": language}})


@pytest.fixture
def german_pages(branded, browser):
    """Opens every page for people in German, one after the other."""

    def opened():
        prefer(browser, "de-DE,de;q=0.9,en;q=0.5")
        user = f"person-{uuid.uuid4()}"
        request = branded.begin()
        browser.get(request.url)
        shows(browser, "Sample provider verbinden?")
        yield "connect"
        button(browser, "Weiter").click()
        shows(browser, CONSENT)
        button(browser, "Approve").click()
        shows(browser, "Mit Sample provider verbunden")
        yield "connected"
        browser.get(branded.begin_with_key().url)
        shows(browser, "Weather verbinden?")
        button(browser, "Weiter").click()
        shows(browser, "Ihr Schlüssel für Weather")
        yield "key"
        browser.get(f"{branded.base}/connect/unknown")
        shows(browser, "Dieser Link ist nicht mehr gültig")
        yield "invalid"
        url = make_link(branded, user)
        browser.get(url)
        shows(browser, "Ihre Verbindungen")
        yield "people-link"
        button(browser, "Weiter").click()
        says(browser, "Konto verbinden")
        yield "people-nothing"
        browser.find_element(By.XPATH, "//form[contains(@action, '/connections/connect/sample')]//button").click()
        shows(browser, "Sample provider verbinden?")
        button(browser, "Weiter").click()
        shows(browser, CONSENT)
        button(browser, "Approve").click()
        says(browser, "Sie sind vom Anbieter zurückgekehrt.")
        yield "people-connections"
        browser.find_element(By.CSS_SELECTOR, "tbody th a").click()
        says(browser, "Was zu tun ist")
        yield "people-connection"
        browser.find_element(By.PARTIAL_LINK_TEXT, "Beenden").click()
        shows(browser, "Verbindung zu")
        yield "people-revoke"
        browser.get(url)
        shows(browser, "Dieser Link lässt sich nicht öffnen")
        yield "people-failure"

    return opened


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
@pytest.mark.parametrize("size", SCREENS, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_page_fits_with_a_brand_in_german_and_in_both_directions(
    branded, german_pages, browser, scheme, direction, size
):
    width, height = size
    resize(browser, width, height)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    folder = os.environ.get("TEST_SCREENSHOTS")
    for page in german_pages():
        assert browser.execute_script("return document.documentElement.lang") == "de"
        assert "Example Workspace" in browser.title
        # No language here is written from right to left; the layout must be ready for one.
        browser.execute_script("document.documentElement.dir = arguments[0]", direction)
        if folder:
            Path(folder, f"{page}-{direction}-{scheme}-{width}.png").write_bytes(picture(browser, width))
            resize(browser, width, height)
        overhang = "const e = document.documentElement; return [e.scrollWidth, document.body.getBoundingClientRect().left]"
        scroll_width, left = browser.execute_script(overhang)
        assert scroll_width <= width and left >= 0, f"{page} is {scroll_width} wide"
        logo = "return document.querySelector('.brand img').naturalWidth"
        assert browser.execute_script(logo) == 24, page
        has_no_barrier(browser, page)
        has_quiet_console(browser, document_status=404 if page == "people-failure" else 400)
        assert all(address.startswith(branded.base) for address in loaded(browser)), page


def test_an_application_embeds_the_pages_and_is_told_what_was_connected(branded, application, browser):
    user = f"person-{uuid.uuid4()}"
    browser.get(application)
    host = browser.current_window_handle
    frame = browser.find_element(By.TAG_NAME, "iframe")
    browser.execute_script("arguments[0].src = arguments[1]", frame, make_link(branded, user))
    browser.switch_to.frame(frame)
    shows(browser, "Your connections")
    button(browser, "Continue").click()
    says(browser, "Connect an account")
    has_no_barrier(browser, "embedded")
    browser.find_element(By.XPATH, "//form[contains(@action, '/connections/connect/sample')]//button").click()
    shows(browser, "Connect Sample provider in a new window")
    has_no_barrier(browser, "elsewhere")
    browser.find_element(By.LINK_TEXT, "Open the window").click()
    WebDriverWait(browser, 10).until(lambda _: len(browser.window_handles) == 2)
    browser.switch_to.window(next(window for window in browser.window_handles if window != host))
    shows(browser, QUESTION)
    button(browser, "Continue").click()
    shows(browser, CONSENT)
    button(browser, "Approve").click()
    shows(browser, "Connected to Sample provider")
    browser.close()
    browser.switch_to.window(host)
    told = WebDriverWait(browser, 20).until(lambda _: browser.find_element(By.ID, "said").text)
    assert told.startswith(f'{branded.base} {{"auth_id":') and '"type":"agent-auth:connected"' in told
    assert '"provider_id":"sample"' in told and '"token_id":' in told
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    says(browser, "Your connections are listed here as they are now.")
    browser.find_element(By.PARTIAL_LINK_TEXT, "Revoke").click()
    shows(browser, "Revoke the connection to")
    button(browser, "Revoke").click()
    says(browser, "The connection was ended, here and at the provider.")
    has_quiet_console(browser)


def test_an_application_that_opened_a_consent_is_told_when_it_is_done(branded, application, browser):
    # The pages of the sample provider cut the opener off, as those of some providers do.
    request = branded.begin_with_key()
    browser.get(application)
    host = browser.current_window_handle
    browser.execute_script("window.open(arguments[0])", request.url)
    WebDriverWait(browser, 10).until(lambda _: len(browser.window_handles) == 2)
    browser.switch_to.window(next(window for window in browser.window_handles if window != host))
    shows(browser, "Connect Weather?")
    button(browser, "Continue").click()
    shows(browser, "Your key for Weather")
    browser.switch_to.active_element.send_keys("wx-1234567890", Keys.ENTER)
    shows(browser, "Connected to Weather")
    has_quiet_console(browser)
    browser.switch_to.window(host)
    told = WebDriverWait(browser, 10).until(lambda _: browser.find_element(By.ID, "said").text)
    assert told.startswith(branded.base) and request.auth_id in told and '"provider_id":"weather"' in told


def test_a_page_that_is_not_listed_cannot_embed_the_pages_and_nobody_the_consent(branded, demo, application, browser):
    for url in (make_link(demo, "alice"), branded.begin().url, f"{branded.base}/console"):
        browser.get(application)
        frame = browser.find_element(By.TAG_NAME, "iframe")
        browser.execute_script("arguments[0].src = arguments[1]", frame, url)

        def refused(browser):
            return [entry for entry in browser.get_log("browser") if "frame-ancestors" in entry["message"]]

        assert WebDriverWait(browser, 10).until(refused), url
