"""HTML pages that are one file each, with everything they show inside."""

import base64
import dataclasses
import html
from collections.abc import Mapping, Sequence

from etils import epath

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.reporting.tables import Table


@dataclasses.dataclass(frozen=True)
class Illustration:
    """A picture of a page.

    Attributes:
      png: the bytes of a PNG file.
      alt: what it shows, in words.
      caption: the text below it, if any.
      name: the name of its file, without the ending.
    """

    png: bytes
    alt: str
    caption: str = ""
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
      heading: its heading.
      items: what it shows, side by side where there is room.
      folded: whether the reader has to unfold it.
    """

    heading: str
    items: Sequence[Illustration | Table]
    folded: bool = False


def write_html(
    path: epath.PathLike,
    *,
    title: str,
    subtitle: str,
    summary: Mapping[str, str],
    sections: Sequence[Section],
) -> None:
    """Writes a page with everything it shows in one file, for light and dark screens.

    Args:
      path: the file to write.
      title: the heading.
      subtitle: one line below the heading.
      summary: the headline numbers by name.
      sections: the parts of the page, in order.

    Raises:
      OSError: the file cannot be written.
    """
    tiles = "".join(
        f"<div class=tile><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in summary.items()
    )
    body = "\n".join(_section(section) for section in sections)
    files.write(
        path,
        f"<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        f"<meta name=viewport content='width=device-width, initial-scale=1'>\n"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{html.escape(title)}</h1>\n<p class=subtitle>{html.escape(subtitle)}</p>\n"
        f"<dl class=tiles>{tiles}</dl>\n{body}\n</main>\n</body>\n</html>\n",
    )


def load_plots():
    """Imports the plots, late, because Matplotlib is an optional dependency.

    Raises:
      UserError: Matplotlib is not installed.
    """
    try:
        from stvh_jax.reporting import plots
    except ModuleNotFoundError as error:
        raise UserError(
            f"the HTML report needs {error.name}, which is not installed; "
            "pip install 'stvh_jax[report]'"
        ) from error
    return plots


def without_empty(section: Section) -> Section:
    """Leaves out the tables that have no rows."""
    items = [item for item in section.items if isinstance(item, Illustration) or item.rows]
    return dataclasses.replace(section, items=items)


def _section(section: Section) -> str:
    items = "\n".join(
        _illustration(item) if isinstance(item, Illustration) else _table(item)
        for item in section.items
    )
    heading = f"<h2>{html.escape(section.heading)}</h2>"
    if section.folded:
        return f"<section><details><summary>{heading}</summary>\n{items}\n</details></section>"
    return f"<section>{heading}\n<div class=items>\n{items}\n</div></section>"


def _illustration(item: Illustration) -> str:
    data = base64.b64encode(item.png).decode()
    # Bytes 16 to 19 of a PNG are its width; a figure has 3 dots for every 2 pixels of the page.
    width = int.from_bytes(item.png[16:20], "big") * 2 // 3
    caption = f"<figcaption>{html.escape(item.caption)}</figcaption>" if item.caption else ""
    return (
        f'<figure><img width={width} src="data:image/png;base64,{data}" '
        f'alt="{html.escape(item.alt)}">'
        f"{caption}</figure>"
    )


def _table(table: Table) -> str:
    header = "".join(f"<th scope=col>{html.escape(cell)}</th>" for cell in table.header)
    rows = "\n".join(
        f"<tr><th scope=row>{html.escape(row[0])}</th>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    # Columns of numbers have a header and are right-aligned; lists of facts have no header.
    head = f"<thead><tr>{header}</tr></thead>" if table.header else ""
    kind = "numbers" if table.header else "facts"
    return f"<div class=scroll><table class={kind}>{head}<tbody>\n{rows}\n</tbody></table></div>"


_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2128; --soft: #5b6470;
  --line: #dfe3e8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --card: #1d2126; --text: #e8eaed;
  --soft: #a3abb5; --line: #333a42; --accent: #6cb8e6; } }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1600px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { margin: 0; font-size: 2rem; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; }
.subtitle, dt, figcaption { color: var(--soft); }
.subtitle { margin: .25rem 0 1.5rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .75rem;
  margin: 0; }
.tile, figcaption, .scroll { background: var(--card); }
.tile, figure, .scroll { border: 1px solid var(--line); border-radius: 10px; }
.tile { display: flex; flex-direction: column-reverse; justify-content: flex-end;
  padding: .9rem 1rem; }
dd { margin: 0; font-size: 1.6rem; font-weight: 650; color: var(--accent);
  font-variant-numeric: tabular-nums; }
dt { font-size: .85rem; }
.items { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 660px), 1fr));
  gap: 1rem; align-items: start; }
figure { margin: 0; overflow: hidden; background: #fff; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { padding: .6rem 1rem; font-size: .9rem; border-top: 1px solid var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .35rem .9rem; border-bottom: 1px solid var(--line); text-align: left; }
.numbers :is(th, td):not(:first-child) { text-align: right; font-variant-numeric: tabular-nums; }
.facts td { width: 75%; overflow-wrap: anywhere; }
th[scope=row] { font-weight: 500; }
thead th { color: var(--soft); font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
summary { cursor: pointer; } summary h2 { display: inline-block; }
"""
