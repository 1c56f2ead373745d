"""CacheExplorer: one text read with and without a key cache: where they part, and what each would say next."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clexlab.figures import style
from clexlab.widgets.explorer import Explorer, choices, control, whole_slider
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel, look

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from clexlab.decoding import Case, Disagreement

# A logarithmic axis has no zero: what is equal but for rounding lies on its lower edge.
FLOOR, TOP = 1e-10, 20.0
SEMANTICS = (("re-rotated", "rerotate"), ("frozen", "frozen"), ("refilled", "refill"), ("stale keys (the bug)", "stale"))
SCHEDULES = (("whole: 1, 2, 3, 4 …", "whole"), ("doubling: 1, 2, 4 …", "doubling"))
MEAN_OF = 32  # tokens
CONTEXT = 48  # characters of the text before the place
EDGES, KL, DIFFER, NOW, LOSS_EDGES, UNCACHED, CACHED, LOSS_NOW = range(8)


class CacheExplorer(Explorer):
    """What a key cache does to a text longer than the window, read token by token, on a small trained model.

    Left: KL(uncached ‖ cached) after every token, crosses where the two would choose another next token, dashed lines where a
    window ends. Right: the loss of both runs, mean of the last 32 tokens. Below: the five likeliest next tokens of both runs
    after `position` tokens.

    Attributes, readable and settable: `method` (a title), `semantics` and `schedule` (names), `text` (a number), `position`;
    `run` is the `decoding.Disagreement` drawn now. `cases`, `texts` (tokens) and `tokenizer` replace the pocket model's; the
    texts have one length. A choice is read once, in about a second, and kept.
    """

    method, semantics, schedule = control("method"), control("semantics"), control("schedule")
    text, position = control("text"), control("position")

    def __init__(
        self,
        semantics: str = "rerotate",
        schedule: str = "whole",
        position: int | None = None,
        cases: "Sequence[Case] | None" = None,
        texts: "Sequence[Tensor] | None" = None,
        tokenizer: "PreTrainedTokenizerBase | None" = None,
    ) -> None:
        from clexlab import decoding, pocket
        from clexlab.widgets.measuring import quiet

        with quiet():
            self.cases = {case.title: case for case in cases or decoding.pocket_cases()}
        self.texts = texts or pocket.held_out(6, 4 * pocket.WINDOW)
        self.tokenizer = tokenizer or pocket.tokenizer()
        self._runs: dict[tuple, Disagreement] = {}
        last = len(self.texts[0]) - 1
        first = next(iter(self.cases.values()))
        numbered = [(f"held-out text {number + 1}", number) for number in range(len(self.texts))]
        controls = {
            "method": choices("method", list(self.cases), first.title),
            "semantics": choices("cached keys", list(SEMANTICS), semantics),
            "schedule": choices("factor t", list(SCHEDULES), schedule),
            "text": choices("text", numbered, 0),
            "position": whole_slider("tokens read", 1, last, min(last, first.path.window + 5) if position is None else position),
        }
        super().__init__("Cached against uncached", controls, _chart())
        self.listen(self._read, "method", "semantics", "schedule", "text")
        self.listen(self._move, "position")
        self._read()

    @property
    def run(self) -> "Disagreement":
        """The comparison of the chosen method, semantics, schedule and text; computed at its first use."""
        from clexlab import decoding, hf

        chosen = (self.method, self.semantics, self.schedule, self.text)
        if chosen not in self._runs:
            case = self.cases[self.method]
            semantics = next(kind for kind in decoding.SEMANTICS if kind.name == self.semantics)
            schedule = hf.schedules.by_name(self.schedule)
            tokens = self.texts[self.text].to(case.model.device)
            self._runs[chosen] = decoding.compare(case.model, case.path, tokens, semantics, schedule)
        return self._runs[chosen]

    def _read(self) -> None:
        run = self.run
        lengths, kl = run.lengths.numpy(), np.maximum(run.divergence.numpy(), FLOOR)
        differ = ~run.same.numpy()
        cached, uncached = (_running_mean(losses.numpy()) for losses in (run.loss_cached, run.loss_uncached))
        window = self.cases[self.method].path.window
        self._lowest, self._highest = min(cached.min(), uncached.min()), max(cached.max(), uncached.max())
        edges = np.arange(window, lengths[-1], window) + 0.5
        self._at_place = {
            EDGES: _posts(edges, FLOOR, TOP),
            KL: (lengths, kl),
            DIFFER: (lengths[differ], kl[differ]),
            LOSS_EDGES: _posts(edges, self._lowest, self._highest),
            UNCACHED: (lengths, uncached),
            CACHED: (lengths, cached),
        }
        self.chart.draw(self._at_place)
        name = dict((value, title) for title, value in SEMANTICS)[self.semantics]
        self.chart.rename({KL: f"KL, {name}", CACHED: name})
        self._finding = self._describe(run, window)
        self._move()

    def _move(self) -> None:
        place = self.position
        posts = {NOW: _posts([place], FLOOR, TOP), LOSS_NOW: _posts([place], self._lowest, self._highest)}
        self.chart.draw(posts)
        self.say(f"{self._finding}{self._next_tokens(self.run, place - 1)}")

    def _describe(self, run: "Disagreement", window: int) -> str:
        """One sentence on all of the text beyond the window."""
        beyond = run.among(run.lengths > window)
        kl, same = float(beyond.divergence.mean()), float(beyond.same.double().mean())
        dearer = float((beyond.loss_cached - beyond.loss_uncached).mean())
        return (
            f"Beyond the window the mean KL is <b>{kl:.1e}</b> nats{' (rounding)' if kl < 1e-9 else ''}; both choose the same next"
            f" token after <b>{same:.1%}</b> of the lengths; the cache changes the loss by {dearer:+.4f} nats per token."
        )

    def _next_tokens(self, run: "Disagreement", index: int) -> str:
        """The five likeliest next tokens of both runs after this many tokens, as a table below the text's last characters."""
        before = self.tokenizer.decode(self.texts[self.text][: index + 1])[-CONTEXT:]
        verdict = "same first choice" if bool(run.same[index]) else "<b>another first choice</b>"
        rows = [
            ("uncached", run.top_uncached[index], run.weight_uncached[index]),
            ("cached", run.top_cached[index], run.weight_cached[index]),
        ]
        body = "".join(f"<tr><th>{name}</th>{self._cells(tokens, weights)}</tr>" for name, tokens, weights in rows)
        return (
            f"<br>After {index + 1} tokens, t = {float(run.factors[index]):g}, KL = {float(run.divergence[index]):.1e}: {verdict}."
            f" What comes after <code>… {_shown(before)}</code>"
            f'<table class="clexlab-next">{body}</table>'
        )

    def _cells(self, tokens: "Tensor", weights: "Tensor") -> str:
        shown = (_shown(self.tokenizer.decode([token])) for token in tokens.tolist())
        return "".join(f"<td><code>{text}</code> {weight:.1%}</td>" for text, weight in zip(shown, weights.tolist(), strict=True))


def _shown(text: str) -> str:
    """Text with its white space visible, safe in HTML."""
    for character, sign in ((" ", "␣"), ("\n", "⏎"), ("\t", "⇥")):
        text = text.replace(character, sign)
    return html.escape(text)


def _posts(places: Sequence[float] | np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertical lines as one curve: two points a line, then a gap."""
    x = np.repeat(np.asarray(places, dtype=float), 3)
    return x, np.tile([low, high, np.nan], len(places))


def _running_mean(values: np.ndarray) -> np.ndarray:
    """The mean of the last MEAN_OF values, of all there are at the beginning."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - MEAN_OF)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _chart() -> LiveChart:
    kl = Axis("KL(uncached ‖ cached)", "nats", scale="log10", low=FLOOR, high=TOP)
    panels = (
        Panel("Disagreement", Axis("tokens read"), kl),
        Panel(f"Loss, mean of {MEAN_OF} tokens", Axis("tokens read"), Axis("loss", "nats per token")),
    )
    edge = dict(dash="dash", width=1, told=False)
    place = dict(colour=style.COLOURS[3], width=2, told=False)
    curves = (
        Curve(0, "end of a window", **edge),
        Curve(0, "KL", **look(0, 1.5), legend=False),
        Curve(0, "another first choice", colour=style.COLOURS[1], width=0, marker=7, sign="cross", told=False),
        Curve(0, "tokens read", **place),
        Curve(1, "end of a window", **edge, legend=False),
        Curve(1, "uncached", colour=style.COLOURS[2], width=5, opacity=0.5),
        Curve(1, "cached", **look(0, 1.5)),
        Curve(1, "tokens read", **place, legend=False),
    )
    return LiveChart(panels, curves, height=320)
