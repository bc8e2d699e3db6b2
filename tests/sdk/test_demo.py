"""The demo at addresses that are not its own: behind a proxy with TLS, in a container, for a phone."""

import re
import signal
import subprocess
from contextlib import contextmanager

import httpx
import pytest

from broker import BINARY, environment, free_port, wait_until_ready
from browser import press, walk


@contextmanager
def demo(output, *arguments):
    """What `agent-auth demo` printed, by name, while it runs; and its address on this machine."""
    port = free_port()
    arguments = [argument.replace("PORT", str(port)) for argument in arguments]
    with output.open("wb") as sink:
        process = subprocess.Popen([BINARY, "demo", *arguments], env=environment(), stdout=sink, stderr=subprocess.STDOUT)
    own = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(own, process)
        for _ in range(400):
            if "Ctrl-C" in output.read_text():
                break
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        printed = dict(re.findall(r"^([A-Z][\w ]+):\s+(.*)$", output.read_text(), re.MULTILINE))
        yield printed, own
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()


class Proxy(httpx.BaseTransport):
    """A proxy that has put a server at another address."""

    def __init__(self, public, own):
        self._public, self._own, self._out = public, own, httpx.HTTPTransport()

    def handle_request(self, request):
        public = str(request.url)
        assert public.startswith(f"{self._public}/"), f"{public} is not at the one address that is forwarded"
        url = self._own + public.removeprefix(self._public)
        return self._out.handle_request(httpx.Request(request.method, url, headers=request.headers, stream=request.stream))


@pytest.mark.parametrize(
    ("listen", "public", "prefix"),
    [
        ("127.0.0.1:PORT", "https://demo.example.com", "__Host-"),
        ("0.0.0.0:PORT", "https://demo.example.com/below/a/path", "__Host-"),
        ("0.0.0.0:PORT", "http://192.168.1.20:8080", ""),
        ("0.0.0.0:PORT", "http://localhost:9", ""),
    ],
)
def test_one_address_is_enough(tmp_path, listen, public, prefix):
    with demo(tmp_path / "output", "--listen", listen, "--public-url", public) as (printed, own):
        body = {"provider": "sample", "scopes": ["documents.read"], "user_id": "you"}
        agent = httpx.Client(headers={"x-api-key": printed["API key"]}, transport=Proxy(public, own))
        pending = agent.post(f"{public}/v2/auth/authenticate", json=body).json()
        assert pending["url"].startswith(f"{public}/connect/")
        with httpx.Client(follow_redirects=True, transport=Proxy(public, own)) as tab:
            at_provider = walk(tab, pending["url"])
            assert str(at_provider.url).startswith(f"{public}/sample-provider/authorize?")
            done = press(tab, at_provider, "Approve")
            assert done.status_code == 200 and "Connected to Sample provider" in done.text
            assert {cookie.name for cookie in tab.cookies.jar} == {f"{prefix}agent-auth"}
            person = press(tab, tab.get(printed["Connections"]), "Continue")
            assert "Sample calendar" in person.text and "sam@work.example.com" in person.text
        token = agent.post(f"{public}/v2/auth/authenticate", json=body).json()["token"]
        api = httpx.Client(headers={"authorization": f"Bearer {token}"}, transport=Proxy(public, own))
        assert len(api.get(f"{public}/sample-provider/documents").json()["documents"]) == 3
        # A link that signs in is for the machine on which it was printed.
        link = re.fullmatch(rf"({public}/demo/console/\S+)", printed["Console"])
        assert bool(link) == public.startswith("http://localhost:")
        if link is None:
            assert printed["Console"] == f"{public}/console (sign in with this key)"


def test_the_link_to_the_console_is_for_its_own_page_only(tmp_path):
    with demo(tmp_path / "output", "--listen", "127.0.0.1:PORT") as (printed, own):
        link = printed["Console"]
        for headers in ({}, {"origin": "https://evil.example"}, {"origin": own, "sec-fetch-site": "cross-site"}):
            refused = httpx.post(link, data={"page": "x"}, headers=headers)
            assert refused.status_code == 404 and not refused.cookies, headers
        assert httpx.get(f"{link}x").status_code == 404
        assert httpx.post(f"{link}x", data={"page": "x"}, headers={"origin": own}).status_code == 404
        with httpx.Client(follow_redirects=True) as tab:
            console = press(tab, tab.get(link), "Open the console")
            assert console.status_code == 200 and str(console.url) == f"{own}/console"
        assert httpx.get(link).status_code == 404


def test_a_folder_that_is_kept_can_be_used_again(tmp_path):
    folder = str(tmp_path / "data")
    for run in range(2):
        with demo(tmp_path / f"output{run}", "--listen", "127.0.0.1:PORT", "--data-dir", folder) as (printed, own):
            headers = {"x-api-key": printed["API key"]}
            tokens = httpx.get(f"{own}/v2/admin/tokens", headers=headers).json()["data"]
            assert len(tokens) == 6, tokens


def test_a_server_that_is_no_demo_has_nothing_of_it(broker):
    for path in ("/demo/console/x", "/sample-provider/authorize", "/sample-provider/apps"):
        assert httpx.get(f"{broker.url}{path}").status_code == 404, path
