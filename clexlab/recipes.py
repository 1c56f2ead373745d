"""What a training starts from as a TOML file: text, rows, model, method, positions, plan, measurement.

Everything in the file is checked when it is read: an unknown key is refused with the keys there are. Seed and device are no part of
it, one recipe is run with many. `SHIPPED` names the recipes that come with clexlab; keys.toml is the last of the four stages that made
the shipped base model.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin

from clexlab import frequencies, positions
from clexlab.training import Plan

FOLDER = Path(__file__).parent / "configs"
SHIPPED = tuple(sorted(place.stem for place in FOLDER.glob("*.toml")))
DTYPES = ("float32", "bfloat16")
PARTS = ("text", "passkey", "keys", "copy", "echo", "echo_few", "interleaved", "lookup")
# How a message calls what TOML can hold.
KINDS = {str: "a word in quotes", float: "a number", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}
CUTS = {"anywhere": positions.Anywhere, "first_half": positions.FirstHalf}
FACTORS = {
    "whole": positions.WholeFactors,
    "uniform": positions.UniformFactors,
    "log_uniform": positions.LogUniformFactors,
    "fixed": positions.FixedFactor,
}


@dataclass(frozen=True, kw_only=True)
class Text:
    """A corpus by one word and the options of its kind, as `corpora.load` takes them."""

    source: str
    suffixes: list | None = None
    field: str | None = None
    config: str | None = None
    split: str | None = None
    limit: int | None = None
    shortest: int | None = None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of `length` tokens; `shares` of them are text, pass keys, spans to copy."""

    length: int
    shares: dict = field(default_factory=lambda: {"text": 1.0})

    def __post_init__(self) -> None:
        if self.length < 2:
            raise ValueError(f"rows.length is {self.length!r}; it must be a whole number of tokens, at least 2")
        _known("rows.shares", self.shares, PARTS)
        shares = list(self.shares.values())
        if not all(frequencies.is_finite(share) and share >= 0 for share in shares) or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"rows.shares are {self.shares}; give numbers of 0 or more that add up to 1")


@dataclass(frozen=True, kw_only=True)
class Positions:
    """A sampler and a distribution of t by their names; t reaches `up_to` ("fixed": is `up_to`).

    `chunks` and `cut` (CUTS) are options of skip_wise, `fixed` (the number of tokens that stay) of e2_llm.
    `per_row`: every row has its own; `diluted`: far keys count as often as they would occur.
    """

    name: str
    factors: str
    up_to: float
    chunks: int | None = None
    cut: str | None = None
    fixed: int | None = None
    per_row: bool = False
    diluted: bool = False

    def build(self, window: int) -> positions.Sampler:
        """The sampler; ValueError lists the names there are, and says which sampler has an option that this one has not."""
        kinds = {kind.name: kind for kind in positions.SAMPLERS}
        _known("positions.name", [self.name], kinds)
        _known("positions.factors", [self.factors], FACTORS)
        _known("positions.cut", [] if self.cut is None else [self.cut], CUTS)
        options = {name: [one.name for one in fields(kind)] for name, kind in kinds.items()}
        cut = None if self.cut is None else CUTS[self.cut]()
        given = {"chunks": self.chunks, "cut": cut, "fixed": self.fixed}
        given = {option: value for option, value in given.items() if value is not None}
        for option in given:
            if option not in options[self.name]:
                having = ", ".join(name for name in kinds if option in options[name])
                raise ValueError(f"positions: {self.name} has no {option}; {having} has")
        # Ordinary positions know no window.
        given |= {"window": window} if "window" in options[self.name] else {}
        sampler = kinds[self.name](factors=FACTORS[self.factors](self.up_to), **given)
        sampler = positions.Diluted(sampler) if self.diluted else sampler
        return positions.PerRow(sampler) if self.per_row else sampler


@dataclass(frozen=True, kw_only=True)
class Measure:
    """After training: loss by length at `factors` windows on `texts` texts of the held-out part."""

    texts: int
    factors: list

    def __post_init__(self) -> None:
        if self.texts < 1:
            raise ValueError(f"measure.texts is {self.texts!r}; it must be a whole number of at least 1")
        if not self.factors or not all(frequencies.is_finite(t) and t >= 1 for t in self.factors):
            raise ValueError(f"measure.factors is {self.factors!r}; give a list of lengths in windows, each at least 1")


@dataclass(frozen=True, kw_only=True)
class Training:
    """A model's training. `model` is "fresh" (the base's shape, weights drawn with the seed), "base" (the shipped one) or a place.

    `method` has a name and options; without it the model keeps what it was saved with, or stays plain. `plan` lacks seed and device.
    """

    name: str
    model: str
    text: Text
    rows: Rows
    plan: dict
    dtype: str = "float32"
    method: dict | None = None
    positions: Positions | None = None
    measure: Measure | None = None

    def planned(self, seed: int, device: str) -> Plan:
        """The plan of one run."""
        return Plan(**self.plan, seed=seed, device=device)


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A tokenizer's training: `size` entries."""

    name: str
    text: Text
    size: int = 4096


def read(where: str | Path) -> Training | Tokenizer:
    """The recipe in a TOML file, or a shipped one by its name. ValueError for what is no recipe, and says what would be one."""
    place = FOLDER / f"{where}.toml" if str(where) in SHIPPED else Path(where)
    try:
        tables = tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError:
        raise ValueError(f"{where} is no config that can be read; give a TOML file, or one of {', '.join(SHIPPED)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} is no TOML: {error}") from None
    try:
        return _tokenizer(place.stem, tables) if "tokenizer" in tables else _training(place.stem, tables)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _tokenizer(name: str, tables: dict) -> Tokenizer:
    _known("this config", tables, ("text", "tokenizer"))
    _check("tokenizer", tables["tokenizer"], [one for one in fields(Tokenizer) if one.name == "size"])
    return Tokenizer(name=name, text=_table("text", Text, tables), **tables["tokenizer"])


def _training(name: str, tables: dict) -> Training:
    _known("this config", tables, [one.name for one in fields(Training) if one.name != "name"])
    plan, dtype, method = tables.get("plan", {}), tables.get("dtype", "float32"), tables.get("method")
    _check("plan", plan, [one for one in fields(Plan) if one.name not in ("seed", "device")])
    _known("dtype", [dtype], DTYPES)
    if "steps" not in plan:
        raise ValueError("plan has no steps; say how many")
    if not isinstance(tables.get("model"), str):
        raise ValueError('model is missing; it is "fresh", "base", or the place of a model')
    if method is not None and not (isinstance(method, dict) and isinstance(method.get("name"), str)):
        raise ValueError("method has no name; name a scaling, for example clex")
    found = Training(
        name=name,
        model=tables["model"],
        dtype=dtype,
        text=_table("text", Text, tables),
        rows=_table("rows", Rows, tables),
        plan=plan,
        method=method,
        positions=_table("positions", Positions, tables) if "positions" in tables else None,
        measure=_table("measure", Measure, tables) if "measure" in tables else None,
    )
    found.planned(seed=0, device="cpu")
    return found


def _table(name: str, kind: type, tables: dict):
    """One table of the file as the object it describes; unknown and missing keys are refused."""
    given = tables.get(name, {})
    _check(name, given, fields(kind))
    missing = [one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING and one.name not in given]
    if missing:
        raise ValueError(f"{name} has no {', '.join(missing)}")
    return kind(**given)


def _check(name: str, given: object, options: Sequence[Field]) -> None:
    """Refuse keys that are none of the options, and values of another kind than theirs."""
    _known(name, given, [one.name for one in options])
    for one in options:
        kinds = {get_origin(kind) or kind for kind in (get_args(one.type) if isinstance(one.type, UnionType) else (one.type,))}
        kinds |= {int} if float in kinds else set()
        if one.name in given and type(given[one.name]) not in kinds:
            wanted = ", ".join(KINDS[kind] for kind in (str, float, int, bool, list, dict) if kind in kinds)
            raise ValueError(f"{name}.{one.name} is {given[one.name]!r}; give {wanted}")


def _known(name: str, given: object, allowed: Mapping | list | tuple) -> None:
    if not isinstance(given, (dict, list)):
        raise ValueError(f"{name} is {given!r}; it is a table, [{name}]")
    strange = [str(key) for key in given if key not in allowed]
    if strange:
        raise ValueError(f"{name} has {', '.join(strange)}; there are {', '.join(allowed)}")
