"""Can everybody read the book: with a screen reader, with a keyboard, with weak eyes?

What enters: a parsed page, or a page open in a browser window. What leaves: what stands in the way, in plain words.
Three looks: at the markup alone (language, names of pictures and links, order of headings, heads of tables); with
axe-core, the checker of WCAG 2.1 that most tools use, run inside the page; and with the Tab key, as a reader who has no
mouse goes through it.
"""

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

    from ssrobust_lib.book.browser import Window

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")
"""Groups of axe's rules that are applied: WCAG 2.0 and 2.1, levels A and AA, and what axe calls good practice."""

LONGEST_TABLE = 25
"""Rows of a table that axe looks at: the rows of one table are written by one function, and time grows with them."""

NO_AXE = "axe-core is not installed: `pip install axe-playwright-python`, which brings it"

_NO_WORDS = re.compile(
    r"(?i)(?:image|img|figure|picture|photo|plot|chart|untitled)?[\s\d._-]*\Z|.*\.(?:png|jpe?g|svg|webp)\Z"
)
_SETTLED = "new Promise(done => setTimeout(() => done(true), 450))"  # the theme waits 300 ms after a change of width
_SHORTEN = """(() => {
  let rows = 0;
  for (const body of document.querySelectorAll('tbody'))
    while (body.rows.length > MOST) { body.deleteRow(-1); rows += 1; }
  return rows;
})()"""
_KEEP_FRAME = """(() => {
  for (const chapter of document.querySelectorAll('main > article')) {
    const first = chapter.querySelector('h1'), link = chapter.querySelector('a[href]');
    chapter.replaceChildren(...[first, link].filter(Boolean));
  }
  return true;
})()"""
_DARK = """(() => {
  Object.assign(document.documentElement.dataset, {theme: 'dark', mode: 'dark'});
  return true;
})()"""
_RUN = """axe.run(document, {runOnly: RULES, resultTypes: ['violations'], preload: false})
  .then(result => JSON.stringify({
    rules: result.violations.length + result.passes.length,
    found: result.violations.map(rule => ({
      id: rule.id, help: rule.help, impact: rule.impact,
      places: rule.nodes.map(node => node.html.replace(/\\s+/g, ' ').slice(0, 120))}))
  }))"""
_WATCH_FOCUS = """(() => {
  const look = element => {
    const style = getComputedStyle(element);
    return ['outlineStyle', 'outlineWidth', 'outlineColor', 'boxShadow', 'borderColor', 'backgroundColor', 'color',
      'textDecorationLine', 'textDecorationThickness', 'stroke', 'strokeWidth', 'fill'
    ].map(name => style[name]).join('|');
  };
  const shown = element => {
    const fold = element.closest('details:not([open])');
    const folded = fold && !(element.tagName === 'SUMMARY' && element.parentElement === fold
      && !fold.parentElement.closest('details:not([open])'));
    return element.tabIndex >= 0 && !element.disabled && !folded && !element.closest('[inert], dialog:not([open])')
      && element.getClientRects().length > 0 && element.checkVisibility({visibilityProperty: true});
  };
  const all = Array.from(document.querySelectorAll('a[href], button, summary, input, select, textarea, [tabindex]'));
  const wanted = all.filter(shown), rest = new Map(wanted.map(element => [element, look(element)]));
  const walk = window.ssrobustWalk = {wanted, reached: new Set(), unseen: new Set(), first: null, shown};
  document.addEventListener('focusin', event => {
    const element = event.target;
    walk.first = walk.first || element;
    walk.reached.add(element);
    if (rest.has(element) && rest.get(element) === look(element)) walk.unseen.add(element);
  });
  if (document.activeElement) document.activeElement.blur();
  return wanted.length;
})()"""
_WALKED = """(() => {
  const walk = window.ssrobustWalk;
  const name = element => element.tagName.toLowerCase() + ' ' + JSON.stringify(
    (element.getAttribute('aria-label') || element.textContent || element.title || '').trim().slice(0, 60));
  return {
    missed: walk.wanted.filter(element => !walk.reached.has(element) && walk.shown(element)).map(name),
    unseen: Array.from(walk.unseen).map(name),
    first: walk.first && walk.first.matches('a[href^="#"]') ? walk.first.getAttribute('href') : null,
  };
})()"""


def markup_problems(soup: "BeautifulSoup") -> Iterator[str]:
    """Yield what a page's markup keeps from readers who do not see it."""
    root = soup.find("html")
    if root is None or not str(root.get("lang") or "").strip():  # type: ignore[union-attr]
        yield "does not say in which language it is written"
    for image in soup.select("img"):
        if image.get("role") in ("presentation", "none") or image.get("aria-hidden") == "true":
            continue
        words = str(image.get("alt") or "").strip()
        if not words or _NO_WORDS.match(words):
            yield f"a picture without words for those who do not see it: {str(image.get('src') or '')[:80]}"
    article = soup.find("article") or soup
    for link in article.select("a[href]"):  # type: ignore[union-attr]
        if not _name_of(link):
            yield f"a link without words: {str(link['href'])[:80]}"
    yield from _heading_problems(soup.select("article h1, article h2, article h3, article h4, article h5, article h6"))
    for table in soup.select("article table"):
        if any(head.get("scope") not in ("col", "row", "colgroup", "rowgroup") for head in table.select("th")):
            words = " ".join(table.get_text(" ").split())[:60]
            yield f"heads of a table that do not say whether of a row or a column: {words}"
    for name, times in Counter(str(tag["id"]) for tag in soup.select("[id]")).items():
        if times > 1 and not soup.select_one(f'svg [id="{name}"]'):
            yield f"{times} elements have the id {name}"


def _heading_problems(headings: Sequence["Tag"]) -> Iterator[str]:
    before = 0
    for heading in headings:
        level = int(heading.name[1])
        if level > before + 1:
            words = " ".join(heading.get_text().split())[:60]
            yield f"the heading '{words}' is of level {level} below one of level {before}"
        before = level


def _name_of(link: "Tag") -> str:
    pictures = " ".join(str(image.get("alt") or "") for image in link.select("img"))
    return (link.get_text() + str(link.get("aria-label") or "") + str(link.get("title") or "") + pictures).strip()


def axe_script() -> Path | None:
    """Where axe-core is installed; None where it is not."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        return None
    script = Path(found.origin).with_name("axe.min.js")
    return script if script.is_file() else None


def axe_problems(window: "Window", script: Path) -> tuple[int, list[str]]:
    """Apply axe's rules to the page that is open, in the width it has; return how many applied, and what they found.

    Tables longer than `LONGEST_TABLE` are shortened in the open page first.
    """
    window.evaluate(_SETTLED)
    window.evaluate(_SHORTEN.replace("MOST", str(LONGEST_TABLE)))
    if not window.evaluate("'axe' in window"):
        window.evaluate(f"{script.read_text(encoding='utf-8')};0")
    return _apply(window, {"type": "tag", "values": list(TAGS)})


def keep_frame(window: "Window") -> None:
    """Take all but a heading and a link out of every chapter of the report in one file that is open."""
    window.evaluate(_KEEP_FRAME)


def dark_problems(window: "Window") -> list[str]:
    """Look at the contrasts of the open page, after `axe_problems`, in the dark colours that a reader may choose."""
    window.evaluate(_DARK)
    return [f"in dark colours: {problem}" for problem in _apply(window, ["color-contrast"])[1]]


def _apply(window: "Window", rules: object) -> tuple[int, list[str]]:
    answer = json.loads(window.evaluate(_RUN.replace("RULES", json.dumps(rules))))
    return answer["rules"], [
        f"accessibility ({rule['id']}, {rule['impact']}): {rule['help']}; {len(rule['places'])} times, "
        f"first {rule['places'][0]}"
        for rule in answer["found"]
    ]


def keyboard_problems(window: "Window") -> tuple[int, list[str]]:
    """Walk through the open page with the Tab key; return how many stops it has, and what is wrong with them.

    Every link, button, folded text and scrolling table has to be reached, and to look different while it has the focus.
    The first stop has to be a link past the navigation, and it has to lead there.
    """
    expected = int(window.evaluate(_WATCH_FOCUS))
    window.press("Tab", times=expected + 2)
    walked = window.evaluate(_WALKED)
    found = [f"the Tab key does not reach {name}" for name in walked["missed"]]
    found += [f"nothing shows that {name} has the focus" for name in walked["unseen"]]
    if walked["first"] is None:
        found.append("the first stop of the Tab key is no link past the navigation")
    else:
        found += _skip_problems(window, walked["first"])
    return expected, found


def _skip_problems(window: "Window", target: str) -> Iterator[str]:
    """Use the link past the navigation and see where the next stop is."""
    inside = f"document.querySelector({json.dumps(target)})"
    link = f"document.querySelector({json.dumps(f'a[href={json.dumps(target)}]')})"
    window.evaluate(f"{link}.focus()")
    window.press("Enter")
    window.press("Tab")
    landed = window.evaluate(f"!!{inside} && {inside}.contains(document.activeElement)")
    stops = window.evaluate(f"!!{inside} && !!{inside}.querySelector('a[href], button, summary, [tabindex=\"0\"]')")
    if stops and not landed:
        yield f"the link past the navigation does not lead to {target}"
