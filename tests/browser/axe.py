"""The rules of accessibility (WCAG 2.2 and good practice) that a page is held against, by axe-core."""

from pathlib import Path

AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"

RUN = """
const done = arguments[arguments.length - 1];
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
axe.run({ runOnly: rules, resultTypes: ['violations', 'incomplete'] }).then(({ violations, incomplete }) => {
    const said = found => found.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.html} ${node.failureSummary}`));
    done([said(violations), said(incomplete)]);
});
"""


def has_no_barrier(browser, page):
    """axe finds nothing wrong, and nothing that it could not decide."""
    assert AXE.exists(), f"{AXE} is not there: (cd tests/browser && npm ci)"
    browser.execute_script(AXE.read_text())
    wrong, undecided = browser.execute_async_script(RUN)
    assert (wrong, undecided) == ([], []), page
