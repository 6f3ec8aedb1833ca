"""The parts of a page of a report, as HTML."""

from __future__ import annotations

from html import escape

from nas.report.tables import Table

__all__ = ["document", "figure", "table"]

STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
figure img { width: 100%; max-width: 44rem; border: 1px solid var(--line); border-radius: 6px; }
figcaption { opacity: 0.75; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid var(--line); text-align: left; }
th, td { white-space: nowrap; }
.number { text-align: right; }
td:last-child { white-space: normal; }
"""
NUMBER = ' class="number"'


def figure(file: str, caption: str) -> str:
    """A picture beside the page."""
    text = escape(caption)
    return f'<figure><img src="{file}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def table(cells: Table) -> str:
    """Numbers stand at the right."""
    numeric = cells.numeric or (False,) * len(cells.header)

    def line(row: tuple[str, ...], tag: str) -> str:
        pairs = zip(row, numeric, strict=True)
        return "".join(f"<{tag}{NUMBER if right else ''}>{escape(cell)}</{tag}>" for cell, right in pairs)

    rows = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in cells.rows)
    head = f"<thead><tr>{line(cells.header, 'th')}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>\n{rows}\n</tbody></table></div>'


def document(title: str, parts: list[str]) -> str:
    """The whole page."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
