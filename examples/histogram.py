"""A histogram as an SVG picture, with nothing but the standard library."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 580, 60, 300


def draw_histogram(values: Sequence[float], *, title: str, axis: str, bins: int = 12) -> str:
    """Draw the distribution of ``values``: bars, the mean, and the value that 95 % of them do not exceed."""
    low, high = min(values), max(values)
    step = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / step))] += 1

    def place(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * (value - low) / (step * bins)

    ordered = sorted(values)
    marks = {"mean": statistics.fmean(values), "95 %": ordered[math.ceil(0.95 * len(ordered)) - 1]}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 30, title, "start"),
        *(
            _bar(place(low + index * step), (RIGHT - LEFT) / bins, count / max(counts))
            for index, count in enumerate(counts)
        ),
        *(_mark(place(value), f"{name} {value:.2f}", row) for row, (name, value) in enumerate(marks.items())),
        *(
            _text(place(low + index * step), BOTTOM + 18, f"{low + index * step:.2f}", "middle")
            for index in range(0, bins + 1, 3)
        ),
        f'<line x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{BOTTOM}" stroke="black"/>',
        _text(LEFT - 8, TOP + 6, str(max(counts)), "end"),
        _text((LEFT + RIGHT) / 2, HEIGHT - 15, axis, "middle"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _bar(x: float, width: float, share: float) -> str:
    height = (BOTTOM - TOP) * share
    return f'<rect x="{x + 1:.1f}" y="{BOTTOM - height:.1f}" width="{width - 2:.1f}" height="{height:.1f}" fill="#4477aa"/>'


def _mark(x: float, text: str, row: int) -> str:
    line = f'<line x1="{x:.1f}" y1="{TOP - 10}" x2="{x:.1f}" y2="{BOTTOM}" stroke="#bb5566" stroke-width="2"/>'
    return line + _text(x + 4, TOP + 16 * row, text, "start")
