"""The documentation agrees with the program and with itself: settings, commands, links."""

import re
import shlex
import tomllib
from functools import cache
from urllib.parse import unquote

import pytest

from broker import ROOT, run

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("clients/*/README.md")),
    ROOT / "examples/README.md",
]


def prose(page):
    """The page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page):
    """The anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / unquote(path)).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs"], ids=lambda page: page.name)
def test_every_section_is_in_the_table_of_contents(page):
    text = prose(page)
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    contents = re.findall(r"^- \[(.*?)\]\(#", text.partition("\n## ")[0], re.MULTILINE)
    assert contents == sections


def test_the_readme_lists_every_document_once():
    listed = re.findall(r"^- \[[^\]]*\]\((docs/\w+\.md)\)", prose(ROOT / "README.md"), re.MULTILINE)
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    # The catalogue is named beside the providers.
    assert len(listed) == len(set(listed))
    assert pages - set(listed) == {"docs/catalogue.md"}


def test_the_settings_are_those_of_the_program():
    defaults = tomllib.loads((ROOT / "config/default.toml").read_text())
    secrets = set(re.findall(r"\[secret\]\n(\w+) =", (ROOT / "config/default.toml").read_text()))
    documented = {}
    for line in (ROOT / "docs/configuration.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if re.fullmatch(r"`[a-z_]+`", cells[0]):
            name, variable, default, secret, _ = cells
            name = name.strip("`")
            assert variable == f"`AGENT_AUTH_{name.upper()}`"
            assert secret == ("yes" if name in secrets else "no"), name
            documented[name] = "" if default == "none" else default.strip("`")
    assert documented == {name: str(value) for name, value in defaults.items()}


def commands(page):
    """The lines of the page's shell blocks that run agent-auth, joined where they go on."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"\s*agent-auth ", line):
                yield line.strip()


@cache
def help_of(*command):
    return run(*command, "--help")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_flag_exists(page):
    for line in commands(page):
        words = shlex.split(line, comments=True)[1:]
        has_subcommands = "\nCommands:\n" in help_of(words[0])
        command = words[: 2 if has_subcommands else 1]
        for flag in [word.partition("=")[0] for word in words if word.startswith("--")]:
            assert re.search(rf"{flag}\b", help_of(*command)), line
        assert "Usage:" in help_of(*command)
