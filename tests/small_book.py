"""A rendered book of three pages, written by hand in the theme's form: what tests of its formats and checks need."""

from pathlib import Path

from PIL import Image

PAGES = {"index.html": "Start", "notebooks/01_one.html": "One", "notebooks/02_two.html": "Two"}
STYLE = """
.skip-link { position: absolute; left: -999px } .skip-link:focus-within { left: 0 }
a:focus, summary:focus { outline: 2px solid #05c }
.dotted { background: url("dot.png") } body { color: #111; background: #fff } img { max-width: 100% }
@font-face { font-family: Tiny; src: url(tiny.woff2) format("woff2"), url(tiny.ttf) format("truetype") }
"""


def picture(path: Path, size: tuple[int, int] = (64, 48), *, noise: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.effect_noise(size, 60) if noise else Image.new("L", size, 128)
    made.save(path)
    return path


def page(title: str, up: str, body: str, name: str) -> str:
    links = "".join(
        f'<li><a href="{"#" if address == name else up + address}">{words}</a></li>' for address, words in PAGES.items()
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} — A small book (tiny)</title>"
        f'<link rel="stylesheet" href="{up}_static/book.css?v=1">'
        f'<script src="{up}_static/doctools.js"></script><script src="{up}_static/own.js"></script></head><body>'
        '<div class="skip-link"><a href="#main-content">Skip to main content</a></div>'
        f'<nav class="bd-links" aria-label="Main"><ul>{links}</ul></nav>'
        f'<main id="main-content"><article class="bd-article">{body}</article></main></body></html>'
    )


def small_book(html: Path, *, picture_size: tuple[int, int] = (64, 48), noise: bool = False) -> Path:
    """Write the book into the folder `html`: links across pages, a shared anchor, a picture, two downloads, a table."""
    for folder in ("_static", "_images", "_downloads/ab12", "notebooks"):
        (html / folder).mkdir(parents=True, exist_ok=True)
    (html / "_static" / "book.css").write_text(STYLE)
    picture(html / "_static" / "dot.png", (2, 2))
    for font in ("tiny.woff2", "tiny.ttf"):
        (html / "_static" / font).write_bytes(font.encode())
    (html / "_static" / "doctools.js").write_text("document.title += ' (theme)';")
    (html / "_static" / "own.js").write_text("window.ownScript = '</script>'.length;")
    picture(html / "_images" / "bars.png", picture_size, noise=noise)
    (html / "_downloads" / "ab12" / "scores.csv").write_text("arm,score\nscratch,0.5\n")
    (html / "_downloads" / "ab12" / "bars.pdf").write_bytes(b"%PDF-1.4 drawing")
    index = (
        '<section id="start"><h1>Start<a class="headerlink" href="#start">#</a></h1>'
        '<div class="admonition data-banner"><p>Phantoms.</p></div>'
        '<p>See <a href="notebooks/01_one.html#same">the place</a>, '
        '<a href="notebooks/02_two.html#only">the other</a>, '
        '<a href="notebooks/02_two.html">the page</a> and <a href="https://arxiv.org/abs/2105.06986">the paper</a>.</p>'
        '<section id="same"><h2>Shared name</h2><a href="_images/bars.png"><img alt="Bars of two arms" '
        'src="_images/bars.png"></a><p><a href="_downloads/ab12/scores.csv">CSV</a>, '
        '<a href="_downloads/ab12/bars.pdf">PDF</a></p></section></section>'
    )
    one = (
        '<section id="one"><h1>One</h1><section id="same"><h2>Shared name</h2><p><a href="#same">here</a></p>'
        '<svg width="9" height="9" role="img" aria-label="A square"><clipPath id="only-clip"><rect width="5" '
        'height="5"></rect></clipPath><rect clip-path="url(#only-clip)" width="9" height="9"></rect></svg>'
        '<div class="cell"><details class="admonition hide above-input"><summary>Show the code</summary>'
        "<pre>hidden_code()</pre></details></div></section></section>"
    )
    rows = "".join(f'<tr><th scope="row">row {k}</th><td>{k}</td></tr>' for k in range(3))
    two = (
        '<section id="two"><h1>Two</h1><section id="only"><h2>Alone</h2>'
        '<svg width="9" height="9" role="img" aria-label="A square"><clipPath id="clip"></clipPath></svg>'
        f'<details><summary>The rows</summary><div><table><thead><tr><th scope="col">name</th><th scope="col">n</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></details></section></section>"
    )
    (html / "index.html").write_text(page("Start", "", index, "index.html"))
    (html / "notebooks" / "01_one.html").write_text(page("One", "../", one, "notebooks/01_one.html"))
    (html / "notebooks" / "02_two.html").write_text(page("Two", "../", two, "notebooks/02_two.html"))
    return html
