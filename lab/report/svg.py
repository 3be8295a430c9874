"""Elements of HTML and SVG as text, escaped where they hold data, and the width of words. No I/O."""

from html import escape

_WIDE = "mwMW@%—"
_NARROW = "iljtfrI.,:;'|!()[] -/"


class Markup(str):
    """Text that is markup already; any other string is data and is escaped."""

    __slots__ = ()


Content = str | None
Attribute = str | float | int | bool | None


def el(tag: str, *children: Content, **attributes: Attribute) -> Markup:
    """One element. Attribute names: `class_` is class, `stroke_width` is stroke-width; None and False are left out."""
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name if name == "viewBox" else name.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(_plain(value), quote=True)}"')
    inner = join(*children)
    if not inner and tag in _VOID:
        return Markup(f"<{' '.join(words)}/>")
    return Markup(f"<{' '.join(words)}>{inner}</{tag}>")


_VOID = frozenset(["path", "rect", "line", "circle", "polyline", "use", "meta", "br"])


def join(*children: Content) -> Markup:
    """Markup as it is, data escaped, None left out."""
    parts = [child if isinstance(child, Markup) else escape(child, quote=False) for child in children if child]
    return Markup("".join(parts))


def picture(
    width: float, height: float, label: str, *children: Content, class_: str = "", at_most: float = 0.0
) -> Markup:
    """An SVG drawing that keeps its proportions in the width it is given; `at_most` so many pixels wide (0: any)."""
    return el(
        "svg", *children, viewBox=f"0 0 {num(width)} {num(height)}", role="group", aria_label=label,
        class_=f"chart {class_}".strip(), style=f"max-width:{num(at_most)}px" if at_most else None,
    )  # fmt: skip


def text(x: float, y: float, words: str, class_: str = "", anchor: str = "start") -> Markup:
    """Words at a place; `anchor` start, middle or end."""
    return el("text", words, x=x, y=y, class_=class_ or None, text_anchor=None if anchor == "start" else anchor)


def num(value: float) -> str:
    """A coordinate: at most one decimal, which is finer than a screen."""
    words = f"{value:.1f}"
    return words.removesuffix(".0") if words != "-0.0" else "0"


def width_of(words: str, size: float = 11.0) -> float:
    """About how wide `words` are in the report's type at `size` pixels; rather too much than too little."""
    units = sum(0.92 if c in _WIDE else 0.38 if c in _NARROW else 0.7 if c.isupper() else 0.59 for c in words)
    return units * size


def fit(words: str, width: float, size: float = 11.0) -> str:
    """`words`, cut with an ellipsis where they are wider than `width`; empty when not even two letters fit."""
    if width_of(words, size) <= width:
        return words
    while len(words) > 2 and width_of(words + "…", size) > width:
        words = words[:-1]
    return words.rstrip() + "…" if len(words) > 2 else ""


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else num(value)
