"""BiasExplorer: what a bias adds by distance, where that leaves attention when content says nothing, and how far each head looks."""

import inspect

import numpy as np
import torch

from clexlab import biases, receptive
from clexlab.biases.kerple import KERPLE
from clexlab.figures import style
from clexlab.figures.biases import thinned
from clexlab.figures.panels import joined
from clexlab.widgets.explorer import Explorer, choices, control, log_slider, steps_slider
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel

HEADS, WINDOWS, FACTORS = (1, 2, 4, 8, 12, 16, 32), (64, 128, 256, 512, 1024, 2048), (1, 2, 4, 8, 16)
SHARES = (("half", 0.5), ("90 %", 0.9), ("99 %", receptive.SHARE))
# What a bias may have beside its heads and window, by the name of the control that sets it.
OPTIONS = ("buckets", "furthest", "width", "rate")
# What is learned has no value before training: the explorer makes one up, of this size.
MADE_UP = {
    biases.T5: "the table is made up: it falls evenly over the buckets, by the fall in the first head and less in each next",
    biases.KERPLELog: "p and a are set, not learned: p is the fall in the first head and less in each next",
    biases.KERPLEPower: "p and a are set, not learned: a falls to a smaller share in each next head",
    biases.FIRE: "f is made up: a straight line, down by the fall in the first head and by less in each next",
}
LOWEST = -40.0
HEADS_B, FLATTEST_B, WINDOW_B, END_B, WITHIN, FLATTEST_WITHIN, SHARE_LINE, WINDOW_W, FIELDS, WINDOW_F, END_F = range(11)


class BiasExplorer(Explorer):
    """The last of t windows of tokens looks back: B(n) - B(0), the share of attention within n, the distance that holds the chosen share.

    Content logits are zero: all that attention sees is the bias. What a bias learns is set by hand, and the sentence says how.

    Attributes, readable and settable: `method` (a name of `biases.BIASES`), `heads`, `window` (tokens), `factor` (t), `share`, `fall`
    and `rate` (of what is learned), and the options `buckets`, `furthest`, `width`. `bias` is the one drawn now, `curve`
    its B by head and distance, `fields` how far each head looks.
    """

    method, heads, window, factor = control("method"), control("heads"), control("window"), control("factor")
    share, fall, rate = control("share"), control("fall"), control("rate")
    buckets, furthest, width = control("buckets"), control("furthest"), control("width")

    def __init__(self, method: str = "alibi", heads: int = 8, window: int = 512, factor: int = 4) -> None:
        controls = {
            "method": choices("method", [(kind.title, kind.name) for kind in biases.BIASES], method),
            "heads": steps_slider("heads", list(HEADS), heads),
            "window": steps_slider("window", list(WINDOWS), window),
            "factor": steps_slider("factor t", list(FACTORS), factor),
            "share": choices("share", list(SHARES), receptive.SHARE),
            "fall": log_slider("fall", -3, 5, 0.25, 4.0),
            "rate": log_slider("rate a, c", -7, 1, 0.25, 0.125),
            "buckets": steps_slider("buckets", [8, 16, 32, 64], 32),
            "furthest": steps_slider("furthest", [64, 128, 256, 512, 1024], 128),
            "width": steps_slider("width", [16, 32, 64, 128, 256], 128),
        }
        super().__init__("How far a bias lets a head look", controls, _chart())
        self.listen(self._new_method, "method")
        self.listen(self._draw, *(name for name in controls if name != "method"))
        self._new_method()

    @property
    def length(self) -> int:
        """Keys that the last token sees, itself among them."""
        return self.window * self.factor

    @property
    def _kind(self) -> type[biases.Bias]:
        return biases.by_name(self.method)

    @property
    def bias(self) -> biases.Bias:
        """The bias with everything its controls say."""
        kind = self._kind
        known = {"heads": self.heads, "window": self.window, "head_dim": 1, **{name: getattr(self, name) for name in OPTIONS}}
        wanted = inspect.signature(kind.__init__).parameters
        made = kind(**{name: value for name, value in known.items() if name in wanted})
        with torch.no_grad():
            _fill(made, self.fall, self.rate)
        return made

    def _new_method(self) -> None:
        wanted = set(inspect.signature(self._kind.__init__).parameters)
        shown = {name for name in OPTIONS if name in wanted}
        shown |= ({"fall"} if self._kind in MADE_UP else set()) | ({"rate"} if issubclass(self._kind, KERPLE) else set())
        for name in (*OPTIONS, "fall"):
            self.controls[name].layout.display = None if name in shown else "none"
        self._draw()

    def _draw(self) -> None:
        self.curve = receptive.curve(self.bias, self.length)
        self.fields = receptive.field(self.curve, self.share)
        # A constant is nothing to a softmax: all curves begin at 0.
        values, within = (self.curve - self.curve[:, :1]).numpy(), receptive.weights(self.curve).cumsum(-1).numpy()
        flattest, heads = int(self.fields.argmax()), np.arange(1, self.heads + 1)
        at, some = thinned(values)
        some = np.where(some < LOWEST, np.nan, some)
        shares = thinned(within)[1]
        ends = [np.array([low, high]) for low, high in ((LOWEST, max(1.0, float(np.nanmax(some)))), (0.0, 1.0), (0.5, self.heads + 0.5))]
        self.chart.draw(
            {
                HEADS_B: joined(at, some),
                FLATTEST_B: (at, some[flattest]),
                WINDOW_B: (np.full(2, float(self.window)), ends[0]),
                END_B: (np.full(2, float(self.length)), ends[0]),
                WITHIN: joined(at, shares),
                FLATTEST_WITHIN: (at, shares[flattest]),
                SHARE_LINE: (np.array([1.0, float(self.length)]), np.full(2, self.share)),
                WINDOW_W: (np.full(2, float(self.window)), ends[1]),
                # A head that looks at itself alone has no place on a logarithmic axis but its end.
                FIELDS: (heads.astype(float), np.maximum(self.fields.numpy().astype(float), 0.5)),
                WINDOW_F: (ends[2], np.full(2, float(self.window))),
                END_F: (ends[2], np.full(2, float(self.length))),
            }
        )
        self.say(self._describe(flattest))

    def _describe(self, flattest: int) -> str:
        kind, beyond = self._kind, int((self.fields >= self.window).sum())
        low, high = int(self.fields.min()), int(self.fields.max())
        words = f"<b>{kind.title}</b>, {self.length:,} keys of equal content: {self.share:.0%} of a head's attention lies within"
        words += f" <b>{low:,}</b> to <b>{high:,}</b> tokens; <b>{beyond} of {self.heads}</b> heads look beyond the window"
        words += f" of {self.window:,}."
        fallen = float(self.curve[flattest, 1] - self.curve[flattest, min(self.window, self.length - 1)])
        words += f" To be seen like the neighbour, a key one window back needs {fallen:.2f} more logit in the head that looks furthest."
        if kind.contextual:
            words += " Its bias is a matter of content: here queries are zero, all gates are half open, and nothing is added."
        return words + (f" Here {MADE_UP[kind]}." if kind in MADE_UP else "")


def _fill(bias: biases.Bias, fall: float, rate: float) -> None:
    """Put values of a chosen size into what would be learned: the first head falls most, the h-th by 1/h of it."""
    sizes = fall / torch.arange(1, bias.heads + 1)
    if isinstance(bias, biases.T5):
        bias.table.copy_(-sizes[:, None] * torch.linspace(0, 1, bias.buckets))
    elif isinstance(bias, biases.KERPLELog):
        bias.p.copy_(sizes)
        bias.a.fill_(rate)
    elif isinstance(bias, biases.KERPLEPower):
        bias.p.fill_(min(2.0, fall / 4))
        bias.a.copy_(rate / torch.arange(1, bias.heads + 1))
    elif isinstance(bias, biases.FIRE):
        for part in (*bias.first.parameters(), *bias.second.parameters()):
            part.zero_()
        bias.first.weight[0] = 1.0
        bias.second.weight[:, 0] = -sizes


def _chart() -> LiveChart:
    distance = Axis("distance n", "tokens", scale="log2")
    panels = (
        Panel("What is added", distance, Axis("B(n) − B(0)")),
        Panel("Attention at equal content", distance, Axis("share within n", low=0.0, high=1.02)),
        Panel("How far each head looks", Axis("head"), Axis("distance n", "tokens", scale="log2")),
    )
    blue, mark = style.COLOURS[0], style.COLOURS[1]
    window, end = dict(dash="dash", width=1, told=False), dict(dash="dot", width=1, told=False)
    curves = (
        Curve(0, "heads", colour=blue, width=1.5, told=False),
        Curve(0, "furthest-looking head", colour=mark, width=3),
        Curve(0, "window", **window),
        Curve(0, "t · window", **end),
        Curve(1, "heads", colour=blue, width=1.5, told=False, legend=False),
        Curve(1, "furthest-looking head", colour=mark, width=3, legend=False),
        Curve(1, "chosen share", dash="longdash", width=1, told=False),
        Curve(1, "window", **window, legend=False),
        Curve(2, "field of a head", colour=blue, width=0, marker=8),
        Curve(2, "window", **window, legend=False),
        Curve(2, "t · window", **end, legend=False),
    )
    return LiveChart(panels, curves)
