"""What attackers write into every text that others choose, on every page: nothing of it runs, loads or leads elsewhere."""

import json
import uuid
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

import pytest
from conftest import chromium, free_port, running_demo
from fake_provider import FakeProvider
from selenium.common.exceptions import JavascriptException, NoAlertPresentException, UnexpectedAlertPresentException
from selenium.webdriver.common.by import By
from test_console import sign_in
from selenium.webdriver.support.wait import WebDriverWait
from test_pages import button, heading, shows

MARKUP = [
    "<script>alert(1)</script>",
    '"><img src=//elsewhere.example/x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)' x='",
    '" autofocus onfocus="alert(1)" x="',
    "</title></style></textarea><svg/onload=alert(1)>",
    "<svg><script>alert(1)</script><animate onbegin=alert(1) attributeName=x dur=1s></svg>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "javascript:alert(1)//",
    '<a href="javascript:alert(1)" autofocus>Continue</a>',
    "<base href=//elsewhere.example/><link rel=stylesheet href=//elsewhere.example/x.css>",
    "<meta http-equiv=refresh content='0;url=//elsewhere.example/'>",
    "<form action=//elsewhere.example><button formaction=//elsewhere.example>Approve</button></form>",
    "{{ 7 * 7 }}{% include 'x' %}${7*7}<%= 7*7 %>#{7*7}",
    "<!--<img src=//elsewhere.example/x>--><style>@import '//elsewhere.example/x.css'</style>",
    "\u202egnp.live\u2066<b>\u2069\u200b&lt;script&gt;alert(1)&lt;/script&gt;",
]
# What a page must not have if all of this is text.
FOREIGN = """
const bad = [...document.querySelectorAll('script:not([src$="/console/events.js"]), img, iframe, base, link, object, embed, meta[http-equiv], animate, textarea')];
for (const element of document.querySelectorAll('*')) {
    for (const { name, value } of element.attributes) {
        if (name.startsWith('on') || name === 'style' || name === 'srcdoc' || name === 'formaction') bad.push(element);
        if (['href', 'src', 'action'].includes(name) && /^\\s*(javascript|data|vbscript):/i.test(value)) bad.push(element);
    }
}
const styles = document.querySelectorAll('style').length;
const hidden = /[\\u202a-\\u202e\\u2066-\\u2069\\u200b]/.test(document.documentElement.innerText);
return [bad.map(element => element.outerHTML), styles, hidden];
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A server of its own: what is written here is on every page of it."""
    with running_demo(tmp_path_factory.mktemp("demo"), free_port(), {}) as client:
        yield client


@pytest.fixture(scope="module")
def provider():
    hostile = FakeProvider()
    yield hostile
    hostile.stop()


@pytest.fixture
def browser():
    with chromium(performance="ALL") as driver:
        yield driver


def is_harmless(browser, demo, provider, page):
    """The page is only ours: nothing ran, nothing was refused by the policy, and nothing went elsewhere."""
    with pytest.raises(NoAlertPresentException):
        browser.switch_to.alert
    foreign, styles, hidden = browser.execute_script(FOREIGN)
    assert (foreign, styles, hidden) == ([], 1, False), page
    # Chromium notes each document with a status of 400 or more, which is meant so.
    noted = [entry for entry in browser.get_log("browser") if "the server responded with a status of 4" not in entry["message"]]
    assert noted == [], page
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in sent if event["method"] == "Network.requestWillBeSent"]
    hosts = {urlsplit(url).netloc for url in urls}
    assert hosts <= {urlsplit(demo.base).netloc, urlsplit(provider.base).netloc, ""}, (page, urls)
    is_harmless.pages += 1


is_harmless.pages = 0


def shows_end(browser, end):
    WebDriverWait(browser, 10).until(lambda _: heading(browser).endswith(end), f"{heading(browser)!r}")


def attacked(demo, provider, browser, number, text):
    """A provider, a user, an agent and an account of that name, connected and then failing; gives its ids."""
    provider_id = f"hostile-{number}"
    demo.call("POST", "/v2/auth/providers", provider.definition(provider_id, text))
    provider.answers["/token"] = {
        "access_token": str(uuid.uuid4()),
        "refresh_token": "r",
        "expires_in": 3600,
        "scope": f"{text.replace(' ', '/')} profile",
    }
    provider.answers["/userinfo"] = {"sub": text, "email": text, "name": text}
    provider.refusal = None
    asked = {"provider": provider_id, "scopes": ["a<b>", "<script>alert(1)</script>"], "user_id": text, "agent_id": text}
    browser.get(demo.call("POST", "/v2/auth/authenticate", asked)["url"])
    shows(browser, "Connect ")
    is_harmless(browser, demo, provider, f"the page before the consent, {text}")
    button(browser, "Continue").click()
    shows(browser, "Connected to ")
    is_harmless(browser, demo, provider, f"connected, {text}")
    token = demo.call("GET", f"/v2/admin/tokens?limit=1")["data"][0]["id"]
    demo.call("PATCH", f"/v2/auth/tokens/{token}/metadata", {"provider_account_label": text})
    # A refusal with an error and an explanation of that text, and a request that stays open.
    provider.refusal = {"error": text, "error_description": text, "error_uri": "javascript:alert(1)"}
    browser.get(demo.call("POST", "/v2/auth/authenticate", {**asked, "force_new": True})["url"])
    button(browser, "Continue").click()
    shows_end(browser, " refused the request")
    is_harmless(browser, demo, provider, f"refused, {text}")
    demo.call("POST", "/v2/auth/authenticate", {**asked, "force_new": True})
    provider.answers["/token"] = {"error": text, "error_description": text, "status": 400}
    try:
        demo.call("POST", f"/v2/auth/tokens/{token}/report-invalid", {})
    except HTTPError as refused:
        assert refused.code in (409, 502), refused.read()
    return provider_id, token


def submit(browser, path, fields, action):
    """Fills the form at a page of the console, whatever it requires, and sends it."""
    browser.get(path)
    for name, value in fields.items():
        browser.execute_script(
            "for (const e of document.getElementsByName(arguments[0])) { e.value = arguments[1]; e.form.noValidate = true; }",
            name,
            value,
        )
    browser.execute_script(
        "const form = document.querySelector(`form[method=post][action$='${arguments[0]}']`); form.noValidate = true;"
        "form.requestSubmit(form.querySelector('button'));",
        action,
    )


def test_texts_of_others_are_text_on_every_page(demo, provider, browser):
    is_harmless.pages = 0
    things = [attacked(demo, provider, browser, number, text) for number, text in enumerate(MARKUP)]
    sign_in(browser, demo)
    console = f"{demo.base}/console"

    def visit(path):
        browser.get(f"{console}{path}")
        is_harmless(browser, demo, provider, path or "the overview")

    for number, text in enumerate(MARKUP):
        submit(browser, f"{console}/keys", {"name": text, "only_users": text, "only_agents": "<b>"}, "/console/keys")
        is_harmless(browser, demo, provider, f"a key named {text}")
        (provider_id, token), named = things[number], quote(text, safe="")
        for path in (
            f"/connections/{token}",
            f"/connections/{token}/revoke",
            f"/connections/revoke?token={token}",
            f"/connections?user={named}&agent={named}&provider={named}&state={named}&done={named}",
            f"/connections?user={named}",
            f"/providers/{provider_id}",
            f"/providers/{provider_id}/edit",
            f"/providers/{provider_id}/try",
            f"/providers/{provider_id}/delete",
            f"/providers/{named}",
            f"/add-provider?search={named}",
            f"/add-provider?template={named}",
            f"/events?event={named}&user={named}&provider={named}",
            f"/events?user={named}",
            f"/audit?event={named}",
            f"/audit?user_id={named}&provider_id={provider_id}",
            f"/tried?auth_id={named}&reference={named}",
            f"/{named}",
        ):
            visit(path)
        # Each form, refused, with what was entered in it again.
        provider.answers["/token"] = {"error": text, "error_description": text, "status": 400}
        form = {"provider_id": text, "client_id": text, "scopes": text, "client_secret": "x"}
        submit(browser, f"{console}/add-provider?template=github", form, "/add-provider")
        is_harmless(browser, demo, provider, f"a provider from the catalogue, {text}")
        place = "/.well-known/oauth-protected-resource/mcp"
        provider.answers[place] = {"resource": f"{provider.base}/mcp", "authorization_servers": [text, text]}
        submit(browser, f"{console}/add-mcp", {"url": f"{provider.base}/mcp", "provider_id": "tools"}, "/add-mcp")
        is_harmless(browser, demo, provider, f"metadata that says {text}")
        form = {"url": text, "provider_id": text, "name": text, "client_id": text}
        submit(browser, f"{console}/add-mcp", form, "/add-mcp")
        is_harmless(browser, demo, provider, f"an MCP server, {text}")
        form = {"name": text, "client_id": text, "auth_url": text, "scopes": text}
        submit(browser, f"{console}/providers/{provider_id}/edit", form, "/edit")
        is_harmless(browser, demo, provider, f"a change of a provider, {text}")
        submit(browser, f"{console}/providers/{provider_id}/try", {"user": "", "scopes": text}, "/try")
        is_harmless(browser, demo, provider, f"a wrong trial, {text}")
        provider.refusal = {"error": text, "error_description": text}
        submit(browser, f"{console}/providers/{provider_id}/try", {"user": text, "scopes": ""}, "/try")
        shows(browser, "Connect ")
        button(browser, "Continue").click()
        shows(browser, "It did not work")
        is_harmless(browser, demo, provider, f"a trial, {text}")
    submit(browser, f"{console}/providers/hostile-0", {}, "/providers/hostile-0")
    shows(browser, "<script>")
    is_harmless(browser, demo, provider, "a check")
    for path in ("", "/connections", "/requests", "/events", "/providers", "/add-provider", "/add-mcp", "/keys", "/audit", "/settings"):
        visit(path)
    submit(browser, f"{console}/audit", {}, "/audit/verify")
    is_harmless(browser, demo, provider, "the verification of the audit log")

    for number, text in enumerate(MARKUP):
        people_page(demo, provider, browser, text, things[number][1])
    # For each text some thirty pages.
    assert is_harmless.pages > 30 * len(MARKUP), is_harmless.pages


def test_events_that_come_while_their_page_is_open_are_text(demo, provider, browser):
    is_harmless.pages = 0
    sign_in(browser, demo)
    browser.get(f"{demo.base}/console/events")
    live = browser.current_window_handle
    browser.switch_to.new_window("tab")
    for number, text in enumerate(MARKUP):
        attacked(demo, provider, browser, f"live-{number}", text)
    browser.switch_to.window(live)

    def connected(browser):
        rows = browser.find_elements(By.CSS_SELECTOR, "tr.new")
        return len([row for row in rows if row.text.startswith("Connected")]) >= len(MARKUP)

    WebDriverWait(browser, 20).until(connected, "a row for each")
    is_harmless(browser, demo, provider, "events that came while the page was open")


def people_page(demo, provider, browser, user, token):
    """The pages that the person of that name sees."""
    browser.get(demo.call("POST", "/v2/auth/connect-links", {"user_id": user})["url"])
    shows(browser, "Your connections")
    is_harmless(browser, demo, provider, f"a link of {user}")
    button(browser, "Continue").click()
    shows(browser, "Your connections")
    is_harmless(browser, demo, provider, f"the connections of {user}")
    for path in (f"held/{token}", f"held/{token}/revoke", "held/x", quote(user, safe="")):
        browser.get(f"{demo.base}/connections/{path}")
        is_harmless(browser, demo, provider, f"{path} of {user}")


def test_a_page_that_did_not_escape_these_texts_would_be_noticed(browser):
    for text in MARKUP:
        if text.startswith("{{"):
            # Templates are rendered on the server: that they are not is seen by nothing having become of them.
            continue
        places = (f"<p>{text}</p>", f'<input value="{text}">', f"<input value='{text}'>", f'<a href="{text}">x</a>')
        assert any(is_noticed(browser, place) for place in places), text


def is_noticed(browser, markup):
    page = f"<!doctype html><style></style>{markup}"
    try:
        browser.get("data:text/html;charset=utf-8," + quote(page))
        return browser.execute_script(FOREIGN) != [[], 1, False]
    except (UnexpectedAlertPresentException, JavascriptException):
        # It ran; a page that it replaced has none of what is looked at.
        return True
