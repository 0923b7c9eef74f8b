"""A report as blocks, written as Markdown or as one self-contained HTML page."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column is aligned left, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A plot that exists as ``<name>.png`` and ``<name>.svg`` beside the report."""

    name: str
    caption: str
    png: bytes = field(repr=False, default=b"")


@dataclass(frozen=True)
class Pictures:
    """Small pictures with captions: data URIs in the page, names alone in Markdown."""

    items: Sequence[tuple[str, str]]


Block = Heading | Paragraph | Table | Figure | Pictures


def to_markdown(blocks: Sequence[Block]) -> str:
    """The blocks as GitHub-flavoured Markdown."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def to_page(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as one HTML page that needs no other file and no network."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return "#" * level + " " + text
        case Paragraph(text):
            return text
        case Table(header, rows):
            rule = ["---", *["---:"] * (len(header) - 1)]
            return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
        case Figure(name, caption):
            return f"![{caption}]({name}.svg)"
        case Pictures(items):
            return "\n".join(f"- {caption}" for caption, _ in items)


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Table(header, rows):
            head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
            lines = [
                "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
            ]
            return f'<div class="wide"><table><tr>{head}</tr>' + "".join(lines) + "</table></div>"
        case Figure(_, caption, png):
            uri = "data:image/png;base64," + base64.b64encode(png).decode()
            text = html.escape(caption)
            return f'<figure><img src="{uri}" alt="{text}"><figcaption>{text}</figcaption></figure>'
        case Pictures(items):
            figures = [
                f'<figure><img src="{uri}" alt=""><figcaption>{html.escape(caption)}</figcaption></figure>'
                for caption, uri in items
                if uri
            ]
            return '<div class="row">' + "".join(figures) + "</div>"


_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1.2rem 4rem; }
h1, h2, h3 { line-height: 1.2; margin: 2.2em 0 .6em; } h1 { margin-top: .6em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; } figcaption { font-size: .85rem; opacity: .75; }
img { max-width: 100%; height: auto; background: #fff; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; } .row figure { margin: 0; }
"""
