"""ReachExplorer: what a token can know of after so many layers of a sparse pattern, and what a head of it computes."""

from dataclasses import fields

import numpy as np

from clexlab import sparse
from clexlab.figures import style
from clexlab.figures.sparse import DEPTHS, LEAK, SEEN, tiles
from clexlab.widgets.explorer import Explorer, choices, control, steps_slider, whole_slider
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel

KINDS = (*sparse.PATTERNS, *sparse.LEAKING)
LENGTHS, MOST_LAYERS, MOST_HEADS = (16, 32, 64), 8, 8
MASKS = (
    ("true positions (A)", sparse.TruePosition),
    ("slot triangle (B)", sparse.SlotTriangle),
    ("rolled as it is (C, leaks)", sparse.WrappedTriangle),
)
SHIFTS = (("half a chunk", 0.5), ("a quarter", 0.25), ("a whole chunk", 1.0))
EMPTY = (("output zero", "zero"), ("sees itself", "itself"), ("sees its chunk", "own"), ("sees the first chunk", "first"))
# What a pattern may have, by the name of the control that sets it.
OPTIONS = ("chunk", "chunks", "shift_by", "mask", "segment", "ratio", "neighbours", "dilation", "interval", "empty")
HEAD, REACH, COVERED = range(3)
KEYS, HEAD_LEAKS, HEAD_DIAGONAL, HEAD_TOKEN = range(4)
DEPTH = range(4, 4 + len(DEPTHS))
LEAKS, DIAGONAL, TOKEN, ALL_TOKENS, ONE_TOKEN, NOW = range(8, 14)


class ReachExplorer(Explorer):
    """Any sparse pattern: one head's mask, what all heads reach after n layers, and how much of the past that covers.

    Left: the keys every query of one head sees in one layer. Middle: the keys whose content can have arrived, shaded by the layers that
    takes. Both have a frame around the row of one token. Right: the share of earlier tokens that are reached, by layer, for all
    tokens and for that one. Orange is a leak: a key of the future. What can arrive need not be found there.

    Attributes, readable and settable: `pattern` (a name of PATTERNS or LEAKING), `length` (tokens), `heads`, `layers`, `token`,
    `head`, and the patterns' options: `chunk`, `chunks`, `shift_by` (a share of the chunk), `mask` (a class), `segment`, `ratio`,
    `neighbours`, `dilation`, `interval`, `empty` (a word). `shown` is the pattern drawn.
    """

    pattern, length, heads = control("pattern"), control("length"), control("heads")
    layers, token, head = control("layers"), control("token"), control("head")
    chunk, chunks, shift_by, mask = control("chunk"), control("chunks"), control("shift_by"), control("mask")
    segment, ratio, neighbours = control("segment"), control("ratio"), control("neighbours")
    dilation, interval, empty = control("dilation"), control("interval"), control("empty")

    def __init__(self, pattern: str = "s2", length: int = 32, heads: int = 4) -> None:
        controls = {
            "pattern": choices("pattern", [(kind.title, kind.name) for kind in KINDS], pattern),
            "length": steps_slider("length N", list(LENGTHS), length),
            "heads": whole_slider("heads", 1, MOST_HEADS, heads),
            "chunk": steps_slider("chunk G", [2, 4, 8, 16, 32], 8),
            "chunks": whole_slider("chunks in turn", 1, 8, 4),
            "shift_by": choices("keys moved by", list(SHIFTS), 0.5),
            "mask": choices("mask", list(MASKS), sparse.TruePosition),
            "segment": steps_slider("segment w", [4, 8, 16, 32, 64], 16),
            "ratio": steps_slider("ratio r", [1, 2, 4], 2),
            "neighbours": steps_slider("neighbours k", [1, 2, 3, 4, 6, 8, 16], 4),
            "dilation": steps_slider("dilation δ", [1, 2, 3, 4, 8], 4),
            "interval": steps_slider("interval δ", [1, 2, 3, 4, 8], 4),
            "empty": choices("an empty row", list(EMPTY), "zero"),
            "layers": whole_slider("layers n", 1, MOST_LAYERS, 2),
            "token": whole_slider("token i", 0, length - 1, length - 1),
            "head": whole_slider("head shown", 0, heads - 1, heads - 1),
        }
        super().__init__("What reaches what", controls, _chart(length))
        self.listen(self._new_options, "pattern", "empty")
        self.listen(self._new_size, "length", "heads")
        self.listen(self._draw, *(name for name in controls if name not in ("pattern", "empty", "length", "heads")))
        self._new_options()

    @property
    def shown(self) -> sparse.Pattern:
        """The pattern with everything its controls say; ValueError where its options do not fit each other."""
        given = {name: getattr(self, name) for name in OPTIONS if name in self._options}
        if "shift_by" in given:
            given["shift_by"] = int(given["shift_by"] * self.chunk)
        if "mask" in given:
            given["mask"] = given["mask"]()
        if "empty" in given:
            given["empty"] = self._rule(given["empty"])
        return self._kind(**given)

    @property
    def _kind(self) -> type[sparse.Pattern]:
        return sparse.by_name(self.pattern)

    @property
    def _options(self) -> set[str]:
        return {field.name for field in fields(self._kind)}

    def _rule(self, word: str) -> sparse.EmptyRows:
        made = {
            "zero": sparse.ZeroOutput,
            "itself": sparse.Itself,
            "own": lambda: sparse.OwnChunk(chunk=self.chunk),
            "first": lambda: sparse.FirstChunk(chunk=self.chunk),
        }
        return made[word]()

    def _new_options(self) -> None:
        # Two of the rules for empty rows know chunks.
        wanted = self._options | ({"chunk"} if "empty" in self._options and self.empty in ("own", "first") else set())
        for name in OPTIONS:
            self.controls[name].layout.display = None if name in wanted else "none"
        self._draw()

    def _new_size(self) -> None:
        """Another matrix: a token and a head that are not in it any more give way to the last ones."""
        for name, size in (("token", self.length), ("head", self.heads)):
            self.controls[name].max = size - 1
        self._draw()

    def _draw(self) -> None:
        shown, heads, length, layers, token = self.shown, self.heads, self.length, self.layers, self.token
        mask = shown.visible(heads, length).numpy()[self.head]
        reached = sparse.reach(shown, heads, length, MOST_LAYERS).numpy()
        needed = np.where(reached[layers - 1], 1 + (~reached[:layers]).sum(0), 0)
        causal = np.tril(np.ones((length, length), dtype=bool))
        depths = [(needed == depth) & causal for depth in range(1, len(DEPTHS))] + [(needed >= len(DEPTHS)) & causal]
        count = np.arange(1, MOST_LAYERS + 1)
        # Everybody knows itself: what counts is the past.
        mine = reached[:, token, :token].mean(1) if token else np.ones(MOST_LAYERS)
        self._covered = sparse.coverage(shown, heads, length, MOST_LAYERS).numpy()
        line, frame = (np.array([-0.5, length - 0.5]),) * 2, _frame(token, length)
        self.chart.draw(
            {
                KEYS: tiles(mask & causal),
                HEAD_LEAKS: tiles(mask & ~causal),
                HEAD_DIAGONAL: line,
                HEAD_TOKEN: frame,
                **{index: tiles(depth) for index, depth in zip(DEPTH, depths, strict=True)},
                LEAKS: tiles((needed > 0) & ~causal),
                DIAGONAL: line,
                TOKEN: frame,
                ALL_TOKENS: (count, self._covered),
                ONE_TOKEN: (count, mine),
                NOW: (np.full(2, float(layers)), np.array([0.0, 1.0])),
            }
        )
        self.chart.relabel(HEAD, _square(f"Head {self.head}, one layer", length))
        self.chart.relabel(REACH, _square(f"All heads, {layers} layer{'s' if layers > 1 else ''}", length))
        self.say(self._describe(shown, reached))

    def _describe(self, shown: sparse.Pattern, reached: np.ndarray) -> str:
        heads, length, layers, token = self.heads, self.length, self.layers, self.token
        full = length * (length + 1) // 2
        entries = sparse.entries(shown, heads, length).double().mean().item()
        words = f"<b>{shown.title}</b>: a head computes {entries:,.0f} of {full:,} pairs on average (<b>{entries / full:.0%}</b>)."
        one, after = (int(reached[depth - 1, token, :token].sum()) for depth in (1, layers))
        words += f" Of the {token} tokens before it token {token} sees {one} in one layer, and can know of <b>{after}</b> after {layers};"
        words += f" all tokens together of <b>{self._covered[layers - 1]:.1%}</b> of the causal triangle."
        leaks, later = (int(np.triu(reached[depth - 1], 1).sum()) for depth in (1, layers))
        if leaks:
            words += f" It <b>leaks</b>: {leaks} pairs see the future in one layer, {later} know of it after {layers}."
        missing = shown.empty_rows(heads, length).sum(1).tolist()
        if any(missing):
            words += f" Rows without a key of their own, head by head: {', '.join(map(str, missing))} of {length}."
        return words


def _frame(token: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """A rectangle around the row of a token."""
    left, right, top, bottom = -0.5, length - 0.5, token - 0.5, token + 0.5
    return np.array([left, right, right, left, left]), np.array([top, top, bottom, bottom, top])


def _square(title: str, length: int) -> Panel:
    low, high = -0.5, length - 0.5
    return Panel(title, Axis("key j", "tokens", low=low, high=high), Axis("query i", "tokens", low=high, high=low))


def _chart(length: int) -> LiveChart:
    panels = (
        _square("Head", length),
        _square("All heads", length),
        Panel("Share of the past reached", Axis("layers"), Axis("share of earlier tokens", low=0.0, high=1.02)),
    )
    area = dict(width=0, fill=True, told=False, passing=True)
    thin = dict(width=1, told=False)
    depth = ("in one layer", "in two", "in three", "in four or more")
    curves = (
        Curve(HEAD, "seen by the head", colour=SEEN, legend=False, **area),
        Curve(HEAD, "leak: the future", colour=LEAK, legend=False, **area),
        Curve(HEAD, "diagonal", dash="dash", legend=False, **thin),
        Curve(HEAD, "token i", width=1.5, told=False, legend=False),
        *(Curve(REACH, name, colour=colour, **area) for name, colour in zip(depth, DEPTHS, strict=True)),
        Curve(REACH, "leak: the future", colour=LEAK, **area),
        Curve(REACH, "diagonal", dash="dash", **thin),
        Curve(REACH, "token i", width=1.5, told=False),
        Curve(COVERED, "all tokens", colour=style.COLOURS[0], marker=6),
        Curve(COVERED, "token i alone", colour=style.COLOURS[1], dash="dash", marker=6),
        Curve(COVERED, "layers n", dash="dot", **thin),
    )
    return LiveChart(panels, curves, height=320)
