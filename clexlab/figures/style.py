"""One look for every figure: colours that hold on both themes, dash as a second channel, no background of its own."""

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F")
# One for each method of `scaling.SCALINGS` after the first, at least 3:1 on white and on #111; never COLOURS[0].
METHOD_COLOURS = ("#D55E00", "#009E73", "#5F8A1E", "#8C6BD0", "#CC79A7", "#D6336C", "#A07800", "#7F7F7F", "#A65628")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
# Readable on white (4.0:1) and on Lab's dark #111 (4.7:1), so a figure needs no knowledge of the theme.
NEUTRAL = "#7F7F7F"
GRID = "rgba(127,127,127,0.25)"

_AXIS = dict(
    gridcolor=GRID,
    zeroline=False,
    linecolor=NEUTRAL,
    ticks="outside",
    tickcolor=NEUTRAL,
    automargin=True,
    title=dict(standoff=8),
)


TEMPLATE = go.layout.Template(
    layout=dict(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font=dict(color=NEUTRAL, size=13, family="system-ui, sans-serif"),
        colorway=list(COLOURS),
        xaxis=_AXIS,
        yaxis=_AXIS,
        margin=dict(l=60, r=20, t=48, b=50),
        legend=dict(orientation="h", yanchor="top", y=-0.2, x=0),
        hovermode="closest",
    )
)


def line(index: int, width: float = 2) -> dict:
    """Colour and dash of the index-th line; both change, so that no reader depends on colour."""
    return dict(color=COLOURS[index % len(COLOURS)], dash=DASHES[(index + index // len(COLOURS)) % len(DASHES)], width=width)


def method_line(index: int, width: float = 2) -> dict:
    """Colour and dash of the index-th method; line(0) is left to the untouched model alone."""
    turn, colour = divmod(index, len(METHOD_COLOURS))
    return dict(color=METHOD_COLOURS[colour], dash=DASHES[(1 + colour + turn) % len(DASHES)], width=width)


def figure(title: str = "", height: int = 380) -> go.Figure:
    """An empty figure in the house style."""
    return go.Figure(layout=dict(template=TEMPLATE, title=dict(text=title, font=dict(size=15)), height=height))


def log2_axis(title: str) -> dict:
    """A length or factor axis: powers of two, thousands separated, title with its unit."""
    return dict(title=title, type="log", dtick=0.30102999566, tickformat=",.6~r")
