"""The pages of people in a browser: what somebody does at a link, on every screen and in every colour scheme.

TEST_SCREENSHOTS  a folder to write a picture of every page to
"""

import os
import uuid
from pathlib import Path

import pytest
from axe import has_no_barrier
from selenium.webdriver.common.by import By
from test_console import SCREENS, follow, loaded, main, picture, resize, says
from test_pages import CONSENT, DARK, LIGHT, QUESTION, button, has_quiet_console, shows


def make_link(demo, user):
    return demo.call("POST", "/v2/auth/connect-links", {"user_id": user})["url"]


def open_link(browser, url):
    browser.get(url)
    shows(browser, "Your connections")
    button(browser, "Continue").click()
    says(browser, "Connect an account")


def connect(browser):
    browser.find_element(By.XPATH, "//form[contains(@action, '/connections/connect/sample')]//button").click()
    shows(browser, QUESTION)
    button(browser, "Continue").click()
    shows(browser, CONSENT)
    button(browser, "Approve").click()
    says(browser, "You came back from the provider.")


def test_a_person_connects_sees_and_revokes_without_a_key(demo, browser, another_browser):
    user = f"person-{uuid.uuid4()}"
    link = make_link(demo, user)
    open_link(browser, link)
    assert "You are not connected to anything here." in main(browser)
    connect(browser)
    assert "Connected" in main(browser) and "Connect another account of Sample provider" in main(browser)
    follow(browser, "Sample", "Sample")
    assert "What it permits" in main(browser) and "documents.read" in main(browser)
    follow(browser, "Revoke", "Revoke the connection to Sample")
    button(browser, "Revoke").click()
    says(browser, "The connection was ended, here and at the provider.")
    has_quiet_console(browser)
    another_browser.get(link)
    shows(another_browser, "This link cannot be opened")
    button(browser, "Leave").click()
    shows(browser, "You have left")
    browser.get(f"{demo.base}/connections")
    shows(browser, "Open your link first")


@pytest.fixture
def pages(demo, browser):
    """Opens every page, one after the other."""

    def opened():
        user = f"person-{uuid.uuid4()}"
        url = make_link(demo, user)
        browser.get(url)
        shows(browser, "Your connections")
        yield "people-link"
        open_link(browser, url)
        yield "people-nothing"
        connect(browser)
        yield "people-connections"
        follow(browser, "Sample", "Sample")
        yield "people-connection"
        follow(browser, "Revoke", "Revoke the connection")
        yield "people-revoke"
        browser.get(url)
        shows(browser, "This link cannot be opened")
        yield "people-failure"
        browser.get(f"{demo.base}/connections")
        button(browser, "Leave").click()
        shows(browser, "You have left")
        yield "people-left"

    return opened


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("size", SCREENS, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_page_fits_its_screen_and_colour_scheme(demo, pages, browser, scheme, size):
    width, height = size
    resize(browser, width, height)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    folder = os.environ.get("TEST_SCREENSHOTS")
    for page in pages():
        if folder:
            Path(folder, f"{page}-{scheme}-{width}.png").write_bytes(picture(browser, width))
            resize(browser, width, height)
        scroll_width = browser.execute_script("return document.documentElement.scrollWidth")
        assert scroll_width <= width, f"{page} is {scroll_width} wide"
        has_no_barrier(browser, page)
        has_quiet_console(browser, document_status=404)
        assert all(address.startswith(demo.base) for address in loaded(browser)), page
