# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of passerelle-bench report as their readers see them."""
import html.parser
import os
import pathlib
import re
import subprocess

BUILD = (pathlib.Path(__file__).resolve().parents[2]
         / os.environ.get("PASSERELLE_BUILD", "build"))


class Page(html.parser.HTMLParser):
    """Checks that each element is closed in its turn; collects what a reader sees."""

    VOID = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.titles, self.figures, self.text, self.foreign = [], [], [], "", []
        self.curves, self.rows = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.foreign += [tag] * (tag in ("script", "link", "img", "iframe", "object"))
        self.foreign += [key for key in attributes if key in ("src", "href", "xlink:href")]
        if tag == "figure":
            self.figures.append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag == "path" and "curve" in attributes.get("class", "") and "span" not in self.open:
            self.curves.append(attributes["d"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "figcaption" in self.open and "small" not in self.open:
            self.figures[-1] += data.strip()
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def page_of(*files):
    done = subprocess.run([BUILD / "passerelle-bench", "report", *files], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    page = Page(done.stdout)
    assert page.foreign == [] and "@import" not in done.stdout and "url(" not in done.stdout
    assert "nan" not in re.findall(r'[a-z]+="[^"]*"', done.stdout.lower())
    for curve in page.curves:
        for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", curve):
            assert 0 <= float(x) <= 560 and 0 <= float(y) <= 290, curve
    return page
