"""What a person's browser does on the way through a consent: redirects, and forms that are sent by a button."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx


def browser():
    """A browser with its own cookies that follows redirects."""
    return httpx.Client(follow_redirects=True, headers={"accept": "text/html,*/*;q=0.8"}, timeout=20)


def browse(url):
    """Opens `url` and returns the page the person ends on."""
    with browser() as tab:
        return tab.get(url)


def press(tab, page, button, **typed):
    """Sends the form of `page` that has this button, with what was typed, and returns the page the person ends on."""
    for form in forms(page.text):
        if button in form["buttons"]:
            sent = form["fields"] | typed | form["buttons"][button]
            action = urljoin(str(page.url), form["action"])
            return tab.post(action, data=sent) if form["method"] == "post" else tab.get(action, params=sent)
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
