"""Plots as inline SVG: their colours are the page's own, so they follow it from light to dark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

WIDTH, HEIGHT = 360, 290
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 44
STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0)
MOST_TICKS = 6


@dataclass(frozen=True)
class Series:
    """One line of a plot.

    Args:
        kind: `main` for what the plot is about, `guide` for what it is held against, `dots` for main with its
            points marked.
        points: [P] pairs of x and y.
        text: Says what it is, where it is pointed at.
    """

    kind: Literal["main", "guide", "dots"]
    points: tuple[tuple[float, float], ...]
    text: str = ""


def line_plot(
    title: str, axes: tuple[str, str], series: Sequence[Series], *, top: float = 1.0, right: float = 1.0
) -> Markup:
    """Lines over numbers from 0 to `right` and 0 to `top`.

    Args:
        title: For who cannot see it.
        axes: Names of x and y.
        series: What is drawn, the first at the bottom.
        top: End of the y axis.
        right: End of the x axis.
    """
    parts = [*_grid(axes, right, top)]
    for one in series:
        at = [(_x(x / right), _y(y / top)) for x, y in one.points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        parts.append(
            Markup('<path class="{}" d="{}"><title>{}</title></path>').format(one.kind, path, one.text)
        )
        if one.kind == "dots":
            told = [f"{axes[0]} {x:.3f}, {axes[1]} {y:.3f}" for x, y in one.points]
            parts.extend(_dot(x, y, text) for (x, y), text in zip(at, told, strict=True))
    return _svg(title, parts)


def share_plot(
    title: str, axes: tuple[str, str], then: Sequence[float], now: Sequence[float], names: Sequence[str]
) -> Markup:
    """Two shares side by side in each of K bins."""
    top = nice(max([*then, *now, 0.01]))
    parts = [*_grid(axes, 0.0, top, percent=True)]
    wide = (WIDTH - LEFT - RIGHT) / max(len(names), 1)
    for place, name in enumerate(names):
        left = LEFT + place * wide
        for offset, kind, share in ((0.12, "then", then[place]), (0.5, "now", now[place])):
            high = (HEIGHT - TOP - BOTTOM) * share / top
            parts.append(
                Markup(
                    '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5">'
                    "<title>{}</title></rect>"
                ).format(
                    kind,
                    left + offset * wide,
                    HEIGHT - BOTTOM - high,
                    wide * 0.36,
                    high,
                    f"{name}: {share:.1%} {'when the model was made' if kind == 'then' else 'now'}",
                )
            )
        parts.append(_text(left + wide / 2, HEIGHT - BOTTOM + 15, name))
    return _svg(title, parts)


def nice(value: float) -> float:
    """The end of an axis that holds the value: a round number, a little above."""
    scale = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * scale for step in STEPS if step * scale >= value * (1 - 1e-9))


def ticks(end: float) -> list[float]:
    """Round numbers from 0 to the end of an axis, no more than can be read."""
    scale = 10.0 ** math.floor(math.log10(end)) if end > 0 else 1.0
    for step in (0.1, 0.2, 0.25, 0.5, 1.0):
        count = round(end / (step * scale))
        if count < MOST_TICKS and math.isclose(count * step * scale, end):
            return [place * step * scale for place in range(count + 1)]
    return [0.0, end]


def _grid(axes: tuple[str, str], right: float, top: float, *, percent: bool = False) -> Iterable[Markup]:
    for value in ticks(top):
        y = _y(value / top)
        yield Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            LEFT, WIDTH - RIGHT, y, y
        )
        yield _text(LEFT - 7, y + 4, f"{value:.0%}" if percent else f"{value:g}", anchor="end")
    for value in ticks(right) if right else ():
        yield _text(_x(value / right), HEIGHT - BOTTOM + 15, f"{value:g}")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, axes[0], kind="axis")
    yield Markup(
        '<text class="axis" text-anchor="middle" transform="translate(11 {:.1f}) rotate(-90)">{}</text>'
    ).format((TOP + HEIGHT - BOTTOM) / 2, axes[1])


def _dot(x: float, y: float, text: str) -> Markup:
    return Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}</title></circle>').format(
        x, y, text
    )


def _text(x: float, y: float, text: str, *, anchor: str = "middle", kind: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, text
    )


def _svg(title: str, parts: Iterable[Markup]) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">{}</svg>'
    ).format(WIDTH, HEIGHT, title, Markup("").join(parts))


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
