"""What a person's browser does on the way through a consent: redirects, and forms that are sent by a button."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx


def browser():
    """A browser with its own cookies that follows redirects."""
    return httpx.Client(follow_redirects=True, headers={"accept": "text/html,*/*;q=0.8"}, timeout=20)


def browse(url):
    """Opens `url`, goes on from the broker's page, and returns the page the person ends on."""
    with browser() as tab:
        return walk(tab, url)


def walk(tab, url):
    """The same in a tab that is there already: it has the cookie afterwards."""
    page = tab.get(url)
    if any("Continue" in form["buttons"] for form in forms(page.text)):
        page = press(tab, page, "Continue")
    return page


def authorization_url(url):
    """Where the broker's page leads to: the address at the provider, with everything that it is asked."""
    with httpx.Client(headers={"accept": "text/html"}, timeout=20) as tab:
        return press(tab, tab.get(url), "Continue").headers["location"]


def press(tab, page, button, **typed):
    """Sends the form of `page` that has this button, with what was typed, and returns the page the person ends on."""
    for form in forms(page.text):
        if button in form["buttons"]:
            sent = form["fields"] | typed | form["buttons"][button]
            action = urljoin(str(page.url), form["action"])
            if form["method"] != "post":
                return tab.get(action, params=sent)
            # Browsers say where a form comes from.
            return tab.post(action, data=sent, headers={"origin": str(page.url.join("/")).rstrip("/")})
    raise AssertionError(f"no button {button!r} on {page.url}: {words(page.text)}")


def words(html):
    """What a page says, without its tags and styles."""
    return " ".join(re.sub(r"(?s)<style.*?</style>|<[^>]*>", " ", html).split())


def forms(html):
    """Each form with its hidden fields and its buttons by what is written on them."""
    parser = _Forms()
    parser.feed(html)
    return parser.forms


class _Forms(HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms, self._inside, self._button = [], False, None

    def handle_starttag(self, tag, attrs):
        attrs = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = True
            method = attrs.get("method", "get").lower()
            self.forms.append({"action": attrs.get("action", ""), "method": method, "fields": {}, "buttons": {}})
        elif self._inside and tag == "input" and "name" in attrs:
            self.forms[-1]["fields"][attrs["name"]] = attrs.get("value", "")
        elif self._inside and tag == "button":
            self._button = ({attrs["name"]: attrs.get("value", "")} if "name" in attrs else {}, [])

    def handle_data(self, data):
        if self._button:
            self._button[1].append(data)

    def handle_endtag(self, tag):
        if tag == "form":
            self._inside = False
        elif tag == "button" and self._button:
            sent, words = self._button
            self.forms[-1]["buttons"]["".join(words).strip()] = sent
            self._button = None
