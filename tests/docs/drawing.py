"""How the pictures of the pages are drawn."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT, LEFT, TOP, GAP = 720, 260, 60, 30, 40
COLORS = ("#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd")


def svg(height: int, parts: Sequence[str]) -> str:
    """A whole picture."""
    style = "font-family='sans-serif' font-size='12' fill='#444'"
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' {style}>\n"
        f"<rect width='{WIDTH}' height='{height}' fill='#fff'/>\n{body}\n</svg>\n"
    )


def text(x: float, y: float, words: str, color: str = "#444", anchor: str = "start") -> str:
    """Words at a place."""
    return f"<text x='{x:.1f}' y='{y:.1f}' fill='{color}' text-anchor='{anchor}'>{words}</text>"
