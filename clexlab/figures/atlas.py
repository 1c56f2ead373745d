"""The atlas as one picture: the terms of the score side by side, under each the methods that choose it."""

from collections.abc import Sequence

import plotly.graph_objects as go

from clexlab.atlas import Entry
from clexlab.figures import style

# What a method's sign says: has it parameters of its own, and is it there in training alone.
LEARNED, FIXED, TRAINING = "has parameters of its own", "fixed", "fixed, in training only"
LOOKS = {
    LEARNED: dict(symbol="diamond", color=style.COLOURS[1]),
    FIXED: dict(symbol="circle", color=style.COLOURS[0]),
    TRAINING: dict(symbol="circle-open", color=style.COLOURS[2]),
}
ROW_HEIGHT, LONGEST_LABEL = 36, 22


def methods_by_place(lines: Sequence[Entry]) -> go.Figure:
    """One sign per method under the term of the score that it chooses; the pointer shows its formula. ValueError without a line."""
    if not lines:
        raise ValueError("no methods given; pass atlas.entries()")
    places = tuple(dict.fromkeys(line.place for line in lines))
    columns = {place: [line for line in lines if line.place == place] for place in places}
    tallest = max(map(len, columns.values()))
    figure = style.figure("Where position enters the score, and who puts what there", height=170 + ROW_HEIGHT * tallest)
    for sort, look in LOOKS.items():
        found = [(x, -y, line) for x, place in enumerate(places) for y, line in enumerate(columns[place]) if sort_of(line) == sort]
        figure.add_scatter(
            x=[x for x, _, _ in found],
            y=[y for _, y, _ in found],
            text=[label(line.title) for _, _, line in found],
            customdata=[[line.title, line.place.title, line.formula] for _, _, line in found],
            mode="markers+text",
            textposition="middle right",
            textfont=dict(size=12),
            marker=dict(size=10, line=dict(width=2, color=look["color"]), **look),
            name=sort,
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}<extra></extra>",
        )
    for x, place in enumerate(places):
        term, _, what = place.title.partition(": ")
        head = dict(text=f"<b>{what or term}</b><br><i>{term if what else ''}</i>", showarrow=False, align="left", font=dict(size=13))
        figure.add_annotation(x=x - 0.06, y=1.7, xanchor="left", yanchor="middle", **head)
    bare = dict(showgrid=False, showticklabels=False, ticks="", title="", showline=False)
    figure.update_layout(
        xaxis=dict(range=[-0.1, len(places) - 0.1], **bare),
        yaxis=dict(range=[-tallest + 0.3, 2.5], **bare),
        legend=dict(orientation="h", yref="container", y=0, yanchor="bottom", x=0),
        margin=dict(l=10, r=10, t=50, b=40),
    )
    return figure


def label(title: str) -> str:
    """A title as it stands beside its sign: a long one in two lines, broken before its brackets."""
    short = title.replace(" (", "<br>(") if len(title) > LONGEST_LABEL else title
    return "<br>".join(f"  {part}" for part in short.split("<br>"))


def sort_of(line: Entry) -> str:
    """Which sign a method has."""
    return LEARNED if line.learned else TRAINING if line.place.used == "training" else FIXED
