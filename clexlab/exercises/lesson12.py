"""Exercises of lesson 12, sparse attention: a shifted group, reach over layers, the head that sees a chunk, what a head computes.

Expected values are counted by hand on twelve tokens in chunks of four, never taken from the solutions below.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from clexlab.exercises import call, judge, judge_in_turn, unanswered

_LENGTH, _CHUNK = 12, 4


def _keys(answer: object, query: int, shifted: bool) -> object:
    """The keys that the learner's mask shows to this query; what came instead where it gives no yes or no."""
    seen = []
    for key in range(_LENGTH):
        said = call(answer, query, key, _CHUNK, shifted)
        if said is None or said is Ellipsis or isinstance(said, Exception):
            return said
        if bool(said):
            seen.append(key)
    return seen


# --- a shifted group --------------------------------------------------------------------------------------------------


def check_group(answer: object) -> bool:
    """`answer(query, key, chunk, shifted)`: whether the query sees the key under S2, in a head with or without shifted groups."""
    if unanswered(answer):
        return False
    local = [
        ([8, 9, 10, 11], "keys 10 and 11 are the future of query 9: key <= query"),
        ([6, 7, 8, 9], "without the shift groups begin at 0, 4 and 8"),
        ([*range(10)], "only its own group: the same number query // chunk and key // chunk"),
    ]
    moved = [
        ([2, 3, 4, 5], "these are the keys where queries keep their chunks and keys alone are shifted (SCCA); S2 groups both alike"),
        ([4, 5, 6, 7], "the groups of a shifted head begin half a chunk earlier: add chunk // 2 before dividing, to query and key"),
        ([5, 6, 7], "groups begin half a chunk earlier, not one token"),
        ([6, 7, 8, 9], "keys 8 and 9 are the future of query 7: key <= query"),
    ]
    first = [
        ([0, 1, 10, 11], "these are the last tokens of the text, the future of query 1: rolled groups wrap around, S2 here does not"),
        ([0, 1, 2, 3], "keys 2 and 3 are the future of query 1: key <= query"),
    ]
    rule = "one group and key <= query; a shifted head's groups are (place + chunk // 2) // chunk"
    return judge_in_turn(
        ("query 9, chunk 4, no shift: its keys among 0 … 11", [8, 9], _keys(answer, 9, False), local, rule),
        ("query 7, chunk 4, shifted: its keys among 0 … 11", [6, 7], _keys(answer, 7, True), moved, rule),
        ("query 1, chunk 4, shifted: its keys among 0 … 11", [0, 1], _keys(answer, 1, True), first, rule),
        ("query 11, chunk 4, shifted: its keys among 0 … 11", [10, 11], _keys(answer, 11, True), [], rule),
    )


def hint_group() -> None:
    print("Give every token the number of its group: place // chunk. A shifted head's groups begin chunk // 2 earlier, so add that first.")


def solution_group(query: int, key: int, chunk: int, shifted: bool) -> bool:
    move = chunk // 2 if shifted else 0
    return (query + move) // chunk == (key + move) // chunk and key <= query


# --- reach over layers ------------------------------------------------------------------------------------------------


def _two_heads() -> Bool[Tensor, "2 12 12"]:
    """A block-local head and one whose groups are shifted by half a chunk, written out group by group."""
    masks = torch.zeros(2, _LENGTH, _LENGTH, dtype=torch.bool)
    for head, edges in enumerate(((0, 4, 8, 12), (0, 2, 6, 10, 12))):
        for start, stop in zip(edges, edges[1:], strict=False):
            for query in range(start, stop):
                masks[head, query, start : query + 1] = True
    return masks


def check_reach(answer: object) -> bool:
    """`answer(masks, layers)`: pairs for which the query knows of the key after so many layers; masks heads × queries × keys."""
    if unanswered(answer):
        return False
    masks = _two_heads()
    one = [
        (56, "a pair that two heads show counts once: the heads' outputs are added up, so take `any` over heads"),
        (18, "one head is enough for a pair to be seen: `any`, not `all`"),
        (30, "this is the first head alone"),
        (28, "a mean over heads is no mask: take `any`"),
    ]
    two = [
        (38, "the second layer is missing: what the keys know by then comes to the query too"),
        (116, "these are ways from query to key; a pair that has two ways counts once: > 0"),
        (56, "each layer has both heads, and a way may take one head below and another above"),
        (66, "one layer too many: one layer is the mask itself"),
        (46, "each layer has both heads: in this order of heads alone some ways are missing"),
    ]
    four = [(66, "one layer is missing"), (78, "not all 78 pairs: 4 → 3 and 8 → 7 need more layers, if they are ever reached")]
    rule = "take any over heads as U; after n layers U multiplied n times, > 0, counted"
    return judge_in_turn(
        ("local and shifted heads, one layer", 38, call(answer, masks, 1), one, rule),
        ("local and shifted heads, two layers", 54, call(answer, masks, 2), two, rule),
        ("local and shifted heads, four layers", 74, call(answer, masks, 4), four, rule),
        ("the local head alone, four layers", 30, call(answer, masks[:1], 4), [], "no way leads out of a chunk"),
    )


def hint_reach() -> None:
    print("`masks.any(0)` is one layer. `(known.float() @ one.float()) > 0` is what is known with one layer more. Count with `.sum()`.")


def solution_reach(masks: Bool[Tensor, "heads queries keys"], layers: int) -> int:
    one = masks.any(0).float()
    known = one
    for _ in range(layers - 1):
        known = ((known @ one) > 0).float()
    return int(known.sum())


# --- the head that sees a chunk ---------------------------------------------------------------------------------------


def check_head(answer: object) -> bool:
    """`answer(query, key, chunk)`: the head of SCCA flow that shows this key to this query, shifts being chunk · head."""
    if unanswered(answer):
        return False
    near = [
        (0, "head 0 sees the query's own chunk; 7 is two tokens back, but lies in the chunk before"),
        (0.5, "chunks are counted whole: take the number of the chunk of each, then the difference"),
        (-1, "the query's chunk minus the key's, not the other way round"),
        (2, "tokens between them are not asked, chunks are"),
    ]
    far = [(1, "9 is in chunk 2 and 3 in chunk 0: two chunks back, though only six tokens, which are one chunk and a half")]
    rule = "head h shows the chunk h chunks back: query // chunk - key // chunk"
    return judge_in_turn(
        ("query 9, key 7, chunk 4", 1, call(answer, 9, 7, 4), near, rule),
        ("query 9, key 3, chunk 4", 2, call(answer, 9, 3, 4), far, rule),
        ("query 11, key 8, chunk 4", 0, call(answer, 11, 8, 4), [], "both are in chunk 2"),
        ("query 1000, key 10, chunk 256", 3, call(answer, 1000, 10, 256), [], "chunks 3 and 0"),
    )


def hint_head() -> None:
    print("Head h's keys are the chunk that begins h chunks before the query's own. Which chunk is the query in, and which the key?")


def solution_head(query: int, key: int, chunk: int) -> int:
    return query // chunk - key // chunk


# --- what a head computes ---------------------------------------------------------------------------------------------


def check_entries(answer: object) -> bool:
    """`answer(length, chunk)`: True entries of a shifted head of S2, its first and its last group half a chunk."""
    if unanswered(answer):
        return False
    mistakes = [
        (30, "this is the local head; the shifted one has two half groups, at both ends of the text"),
        (48, "blocks are triangles: a query sees itself and what stands before it"),
        (24, "the diagonal is whole: a group of 4 has 4·5/2 entries, not 4·4/2"),
        (20, "the two half groups count too"),
        (36, "the two half groups stand in the place of a whole one: 12 tokens are two whole groups and two halves"),
        (78, "this is full attention"),
        (28, "half groups are triangles too: 2 tokens have 3 entries"),
    ]
    rule = "groups of 2, 4, 4 and 2 tokens: 3 + 10 + 10 + 3"
    return judge_in_turn(
        ("12 tokens, chunk 4", 26, call(answer, 12, 4), mistakes, rule),
        ("8 tokens, chunk 8", 20, call(answer, 8, 8), [], "two groups of 4: 10 + 10"),
        ("1024 tokens, chunk 256", 115_200, call(answer, 1024, 256), [], "2 · 128·129/2 + 3 · 256·257/2"),
    )


def hint_entries() -> None:
    print("A group of g tokens has g (g + 1) / 2 entries. How many whole groups are there, how many of half a chunk?")


def solution_entries(length: int, chunk: int) -> int:
    half = chunk // 2
    return half * (half + 1) + (length // chunk - 1) * chunk * (chunk + 1) // 2


# --- how cost grows ---------------------------------------------------------------------------------------------------


def check_growth(answer: object) -> bool:
    """`answer`: by what an SDA-4 head's entries grow when the text is doubled, in the limit of long texts. A number."""
    if unanswered(answer):
        return False
    mistakes = [
        (2.0, "that is linear cost; every query sees a quarter of *all* keys before it, so twice as many when the text is doubled"),
        (1.0, "twice as many queries, each with twice as many keys"),
        (0.25, "a quarter is what it has of full attention's entries, at every length; how does that number grow?"),
        (8.0, "twice as many queries, each with twice as many keys: no third factor"),
        (16.0, "twice the text, not four times"),
    ]
    return judge(4.0, answer, mistakes, "about N²/(2·4) entries: put 2N in the place of N")


def hint_growth() -> None:
    print("A query at place i sees about i / 4 keys. Add up over all i below N, then over all below 2N.")


def solution_growth() -> float:
    return 4.0
