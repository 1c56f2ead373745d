"""The lessons as a table: what each asks, how long it takes, what it needs. README, `clexlab doctor` and tests read it."""

from dataclasses import dataclass

SHOW = ("jupyterlab", "ipykernel", "ipywidgets", "plotly", "anywidget")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One lesson. `minutes` is a reader's time, `memory_gb` the free memory it wants, `packages` what it imports."""

    number: int
    title: str
    question: str
    outcome: str
    minutes: int
    hardware: str = "CPU"
    memory_gb: float = 1.0
    packages: tuple[str, ...] = ("torch", "torchdiffeq", "transformers", "numpy", "jaxtyping", *SHOW)


LESSONS = (
    Lesson(
        number=0,
        title="start here",
        question="Is my machine ready, and what is the whole story in five minutes and one slider?",
        outcome="a machine that passes `clexlab doctor`, and the one formula the lab is about",
        minutes=20,
    ),
    Lesson(
        number=1,
        title="RoPE is a rotation",
        question="Why does a dot product of rotated vectors depend only on distance?",
        outcome="you rotate, shift and re-pair vectors and know what stays equal",
        minutes=50,
    ),
    Lesson(
        number=2,
        title="frequency analysis",
        question="Which pairs ever complete a turn in training, and what goes out of range at 2, 4, 8 times the window?",
        outcome="you read a real model's spectrum and find its critical pair",
        minutes=45,
    ),
    Lesson(
        number=3,
        title="interpolation bounds",
        question="How large can a score get between and beyond the trained positions?",
        outcome="you test a printed theorem, find where it fails, and state the bound that holds",
        minutes=50,
    ),
    Lesson(
        number=4,
        title="scaling methods",
        question="What do PI, NTK, YaRN, Llama 3 and LongRoPE do to each frequency?",
        outcome="you draw every method as a curve θ(t) and write the config for a wanted length",
        minutes=45,
    ),
    Lesson(
        number=5,
        title="CLEX dynamics",
        question="What changes when the curve θ(t) becomes a flow that can be learned?",
        outcome="you solve the flow, measure its error, and know what a learned part may do",
        minutes=60,
    ),
    Lesson(
        number=6,
        title="fine-tune and evaluate",
        question="Trained at one window, tested at sixteen: does a learned field help, and how would one know?",
        outcome="you tune three methods under one budget, and read from records, seed by seed, what a learned field is worth",
        minutes=55,
    ),
    Lesson(
        number=7,
        title="cache and generation",
        question="Why does a key cache break when frequencies change, and what repairs it?",
        outcome="you turn cached keys, measure what that leaves, and choose a cache for `generate`",
        minutes=50,
    ),
    Lesson(
        number=8,
        title="train short, test long",
        question="Which distances can a short row show, toward whom, and what does that buy?",
        outcome="you count what a training recipe shows, and set published claims beside records, seed by seed",
        minutes=55,
    ),
    Lesson(
        number=9,
        title="search the factors",
        question="Which divisors does the model itself ask for, and how much of what a search gains is there on other text?",
        outcome="you run LongRoPE's search, and tell what it found from what it fitted",
        minutes=50,
    ),
    Lesson(
        number=10,
        title="without training",
        question="Which distance may a key seem to have, so that a trained model reads further than its window?",
        outcome="you read any training-free method as a matrix of positions, and tell reading far from forgetting quietly",
        minutes=55,
    ),
    Lesson(
        number=11,
        title="biases and the atlas",
        question="What does a model see of the far tokens that its bias, its map or its mask lets through?",
        outcome="you tell a flat loss from a model that reads far, and place every method in one formula",
        minutes=55,
    ),
    Lesson(
        number=12,
        title="sparse attention",
        question="Which tokens does a sparse pattern let a model reach, find again, and at what cost?",
        outcome="you read a pattern as masks, catch a leak, and put counted entries beside measured time and claims beside records",
        minutes=55,
    ),
    Lesson(
        number=17,
        title="your own model",
        question="How do I extend, measure, save and export a model of mine?",
        outcome="any RoPE model of transformers, extended, measured beside its untouched self, and handed on as a stock checkpoint",
        minutes=45,
    ),
)

PLANNED = (
    (13, "effective context"),
    (14, "retrieve or extend"),
    (15, "positions in images"),
    (16, "positions in space"),
    (18, "write your own method"),
)
