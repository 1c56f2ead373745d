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

from clexlab import biases, positions, scaling, sparse
from clexlab.positions import maps

# What a table of the atlas has, in this order.
COLUMNS = ("place", "method", "what it puts there", "manifestation", "learned", "integration", "layers", "used in", "paper")
PAPERS, CODE = "https://arxiv.org/abs/", "https://github.com/"


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
        short = self.paper.removeprefix(PAPERS).removeprefix(CODE)
        cite = f"[{short}]({self.paper})" if self.paper.startswith("http") else self.paper or "–"
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
    # P in reading
    "rerope": "min(i−j, near)",
    "leaky_rerope": "near + (i−j−near)/slowing beyond near",
    "self_extend": "⌊i/g⌋ − ⌊j/g⌋ + near − ⌊near/g⌋ beyond near",
    "dual_chunk": "within chunks, to the chunk before, to all others",
    "string": "i − j − shift + local beyond shift",
    "gali": "few in-between places, logits mixed",
    "sinks": "places in a cache of sinks and recent tokens",
    "lm_infinite": "min(i−j, limit) for first and recent tokens",
    # B
    "nope": "0",
    "alibi": "−m_h n, m_h = 2^(−8h/H)",
    "interpolated_alibi": "−m_h n / t",
    "t5": "w_h[bucket(n)]",
    "kerple_log": "−p ln(1 + a n)",
    "kerple_power": "−a n^p",
    "sandwich": "Σ_k cos(n / 10⁴^(2k/D)) / κ_h",
    "fire": "f(ψ(n) / ψ(max(L, i))), ψ(x) = ln(1 + c x)",
    "cope": "q_i · e[Σ gates between j and i]",
    # M
    "local": "⌊i/G⌋ = ⌊j/G⌋",
    "s2": "⌊(i+o)/G⌋ = ⌊(j+o)/G⌋, o = 0 or G/2 by head",
    "scca_fixed": "⌊(j+σ)/G⌋ = ⌊i/G⌋, σ = 0 or G/2 by head",
    "scca_flow": "⌊(j+σ_h)/G⌋ = ⌊i/G⌋, σ_h grows with h",
    "dilated": "every r-th token of a segment, to such tokens",
    "dilated_neighbourhood": "i − j ∈ {0, δ, … (k−1)δ}",
    "sda": "(i + o_h − j) mod δ = 0",
    "selected_sda": "i mod δ = j mod δ = o_h",
    "long_mixed": "SCCA fixed, SDA-2 and SDA-4 on 2 : 1 : 1 heads",
}


PLACES = (
    Place(
        name="angle",
        title="what angle: θ(t), A(t)",
        formula="θ(t), A(t)",
        kinds=scaling.SCALINGS,
        manifestation="embedding",
        integration="multiply",
        layers="every",
        used="both",
    ),
    Place(
        name="drawn",
        title="which index, in training: p",
        formula="p drawn from t windows",
        kinds=(*positions.SAMPLERS, *positions.SEGMENTS),
        manifestation="embedding",
        integration="multiply",
        layers="every",
        used="training",
    ),
    Place(
        name="mapped",
        title="which index, in reading: P(i, j)",
        formula="P(i, j) in the place of i − j",
        kinds=maps.MAPS,
        manifestation="embedding",
        integration="multiply",
        layers="every",
        used="reading",
    ),
    Place(
        name="added",
        title="what is added: B(i, j)",
        formula="B(i, j)",
        kinds=biases.BIASES,
        manifestation="bias",
        integration="add",
        layers="every",
        used="both",
    ),
    Place(
        name="masked",
        title="what is masked: M(i, j)",
        formula="M(i, j)",
        kinds=sparse.PATTERNS,
        manifestation="mask",
        integration="add 0 or −∞",
        layers="every",
        used="both",
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
