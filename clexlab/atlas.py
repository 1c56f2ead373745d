"""The atlas: every method of the package in one table, in the notation of the survey of length extrapolation (arXiv 2312.17044).

    score(i, j) = A(t)² ⟨R(p_i θ(t)) q_i, R(p_j θ(t)) k_j⟩ / √d  +  B(i, j)      masked by M(i, j)

The survey asks four things of a way to tell positions: is it an embedding or a bias, is it learned, is it added or multiplied, and
does it enter in the first layer or in every one. `PLACES` answers for each term of the score, and holds the package's tuples of
methods: who adds a method to its tuple finds it here, in tables and in the figure, without a line of this file. `FORMULAS` says in
symbols what a method puts into the term; a method that is not in it shows its place's own formula.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from clexlab import positions, scaling

# What a table of the atlas has, in this order.
COLUMNS = ("place", "method", "what it puts there", "manifestation", "learned", "integration", "layers", "used in", "paper")
PAPERS = "https://arxiv.org/abs/"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A term of the score, and the methods that choose it. `formula` is the term in the survey's notation.

    `manifestation`, `integration` and `layers` are the survey's words for all methods of the place; `used` is "training", "reading" or
    "both": when a model has to compute it.
    """

    name: str
    title: str
    formula: str
    kinds: tuple[type, ...]
    manifestation: str
    integration: str
    layers: str
    used: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the atlas: one method in its place."""

    place: Place
    kind: type

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def title(self) -> str:
        return self.kind.title

    @property
    def paper(self) -> str:
        """The address of the paper; empty for what nobody had to invent."""
        return self.kind.paper

    @property
    def learned(self) -> bool:
        """Whether it has parameters of its own: a class says so, and a module without a word about it has."""
        return bool(getattr(self.kind, "learned", issubclass(self.kind, nn.Module)))

    @property
    def formula(self) -> str:
        """What the method puts into the term."""
        return FORMULAS.get(self.name, self.place.formula)

    @property
    def manifestation(self) -> str:
        return MANIFESTATIONS.get(self.name, self.place.manifestation)

    def cells(self) -> tuple[str, ...]:
        """One text for each of `COLUMNS`, without the bars that end a cell of a Markdown table."""
        cite = f"[{self.paper.removeprefix(PAPERS)}]({self.paper})" if self.paper.startswith("http") else self.paper or "–"
        facts = (self.manifestation, "yes" if self.learned else "no", self.place.integration, self.place.layers, self.place.used)
        return tuple(cell.replace("|", "∣") for cell in (self.place.title, self.title, self.formula, *facts, cite))


# Where a method is not what its place usually is.
MANIFESTATIONS = {
    "nope": "none",
    "sandwich": "embedding, its product as bias",
    "cope": "embedding, its product as bias",
}

FORMULAS = {
    # θ(t), A(t)
    "identity": "θ_j = base^(−2j/d)",
    "linear": "θ_j / t",
    "ntk": "θ_j · t^(−2j/(d−2))",
    "dynamic_ntk": "θ_j · a^(−2j/(d−2)), a = 1 + rate·(t−1)",
    "by_parts": "θ_j · (γ_j + (1−γ_j)/t)",
    "yarn": "as by parts, A(t) = 1 + 0.1 ln t",
    "llama3": "as by parts, γ from 1 to 4 turns",
    "abf": "base(t)^(−2j/d), base(t) = base · t^κ",
    "longrope": "θ_j / λ_j(t), λ searched",
    "clex": "d ln θ/dt = prior's + field(ln θ, t)",
    # p in training
    "contiguous": "p_k = k",
    "scattered": "sorted draw from t windows, both ends fixed",
    "skip_wise": "p_k = k + u in each run",
    "random_pos": "sorted draw from t windows",
    "e2_llm": "p_k = k + τ but for the first tokens, θ/g",
    "chunk_segments": "pieces of a long text at their own p",
    "prefix_segments": "a run behind scattered tokens, at their own p",
}


def _place(name: str, title: str, formula: str, kinds: Sequence[type], *facts: str) -> Place:
    manifestation, integration, layers, used = facts
    return Place(
        name=name,
        title=title,
        formula=formula,
        kinds=tuple(kinds),
        manifestation=manifestation,
        integration=integration,
        layers=layers,
        used=used,
    )


PLACES = (
    _place("angle", "what angle: θ(t), A(t)", "θ(t), A(t)", scaling.SCALINGS, "embedding", "multiply", "every", "both"),
    _place(
        "drawn",
        "which index: p in training",
        "p drawn from t windows",
        (*positions.SAMPLERS, *positions.SEGMENTS),
        "embedding",
        "multiply",
        "every",
        "training",
    ),
)


def place_named(name: str) -> Place:
    """A place by its name; ValueError lists the names."""
    for place in PLACES:
        if place.name == name:
            return place
    raise ValueError(f"no place is named {name!r}; there are {', '.join(place.name for place in PLACES)}")


def entries(places: Sequence[Place] = PLACES) -> tuple[Entry, ...]:
    """Every method of these places, in the order of their tuples."""
    return tuple(Entry(place=place, kind=kind) for place in places for kind in place.kinds)


def table(lines: Sequence[Entry], columns: Sequence[str] = COLUMNS) -> str:
    """A Markdown table with one row per method. ValueError for a column that the atlas has not."""
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or not columns:
        raise ValueError(f"columns are {list(columns)}; choose from {', '.join(COLUMNS)}")
    chosen = [COLUMNS.index(column) for column in columns]
    rows = [list(columns), ["---"] * len(columns), *([line.cells()[index] for index in chosen] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
