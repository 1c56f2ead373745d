"""Lesson 12: for each check its solution and planted mistakes with the words the printed verdict must hold."""

from clexlab.exercises import lesson12 as lesson


def group(place, causal=True):
    """Query and key in one group, each numbered by `place`."""
    return lambda query, key, chunk, shifted: place(query, chunk, shifted) == place(key, chunk, shifted) and (key <= query or not causal)


def s2(place, chunk, shifted):
    return (place + (chunk // 2 if shifted else 0)) // chunk


def keys_alone(query, key, chunk, shifted):
    first = query // chunk * chunk - (chunk // 2 if shifted else 0)
    return first <= key < first + chunk and key <= query


def wrapped(query, key, chunk, shifted):
    if not shifted:
        return lesson.solution_group(query, key, chunk, shifted)
    query, key = ((place - chunk // 2) % 12 for place in (query, key))
    return query // chunk == key // chunk and key <= query


def ways(masks, layers):
    one = masks.any(0).float()
    return int(one.matrix_power(layers).sum())


def in_turn(masks, layers):
    """Head 0 in the first layer, head 1 in the second, and so on; all heads where there is one layer."""
    known = masks.any(0).float() if layers == 1 else masks[0].float()
    for layer in range(1, layers):
        known = ((known @ masks[layer % len(masks)].float()) > 0).float()
    return int(known.sum())


CASES = [
    (
        lesson.check_group,
        lesson.solution_group,
        [
            (group(s2, causal=False), "future of query 9"),
            (group(lambda place, chunk, shifted: s2(place, chunk, True)), "groups begin at 0, 4 and 8"),
            (lambda query, key, chunk, shifted: key <= query, "only its own group"),
            (keys_alone, "keys alone are shifted"),
            (group(lambda place, chunk, shifted: s2(place, chunk, False)), "add chunk // 2"),
            (group(lambda place, chunk, shifted: (place + shifted) // chunk), "key <= query; a shifted head"),
            (group(lambda place, chunk, shifted: (place + 3 * shifted) // chunk), "not one token"),
            (group(lambda place, chunk, shifted: s2(place, chunk, shifted), causal=False), "future of query 9"),
            (lambda *given: lesson.solution_group(*given) or (given[3] and given[0] == 7 and given[1] in (8, 9)), "future of query 7"),
            (wrapped, "the last tokens of the text"),
            (lambda *given: lesson.solution_group(*given) or (given[3] and given[0] == 1 and given[1] in (2, 3)), "future of query 1"),
            (lambda *given: lesson.solution_group(*given) and given[0] < 11, "one group and key <= query"),
        ],
    ),
    (
        lesson.check_reach,
        lesson.solution_reach,
        [
            (lambda masks, layers: int(masks.sum()), "counts once"),
            (lambda masks, layers: int(masks.all(0).sum()), "`any`, not `all`"),
            (lambda masks, layers: int(masks[0].sum()), "the first head alone"),
            (lambda masks, layers: float(masks.float().mean(0).sum()), "no mask"),
            (lambda masks, layers: int(masks.any(0).sum()), "the second layer is missing"),
            (ways, "ways from query to key"),
            (lambda masks, layers: 56 if layers == 2 else lesson.solution_reach(masks, layers), "each layer has both heads"),
            (in_turn, "in this order of heads"),
            (lambda masks, layers: lesson.solution_reach(masks, layers + (layers > 1)), "one layer too many"),
            (lambda masks, layers: lesson.solution_reach(masks, min(layers, 3)), "one layer is missing"),
            (lambda masks, layers: 78 if layers == 4 else lesson.solution_reach(masks, layers), "not all 78 pairs"),
            (lambda masks, layers: {1: 38, 2: 54, 4: 74}[layers], "no way leads out"),
            (lambda masks, layers: 50, "take any over heads"),
        ],
    ),
    (
        lesson.check_head,
        lesson.solution_head,
        [
            (lambda query, key, chunk: (query - key) // chunk, "lies in the chunk before"),
            (lambda query, key, chunk: (query - key) / chunk, "counted whole"),
            (lambda query, key, chunk: key // chunk - query // chunk, "not the other way round"),
            (lambda query, key, chunk: query - key, "tokens between them"),
            (lambda query, key, chunk: 1 if key == 7 else (query - key) // chunk, "two chunks back"),
            (lambda query, key, chunk: 3, "h chunks back"),
            (lambda query, key, chunk: max(1, query // chunk - key // chunk), "both are in chunk 2"),
        ],
    ),
    (
        lesson.check_entries,
        lesson.solution_entries,
        [
            (lambda length, chunk: length * (chunk + 1) // 2, "the local head"),
            (lambda length, chunk: length * chunk, "triangles"),
            (lambda length, chunk: length * chunk // 2, "the diagonal is whole"),
            (lambda length, chunk: (length // chunk - 1) * chunk * (chunk + 1) // 2, "half groups count too"),
            (lambda length, chunk: lesson.solution_entries(length + chunk, chunk), "in the place of"),
            (lambda length, chunk: length * (length + 1) // 2, "full attention"),
            (lambda length, chunk: 2 * (chunk // 2) ** 2 + (length // chunk - 1) * chunk * (chunk + 1) // 2, "triangles too"),
            (lambda length, chunk: 25, "3 + 10 + 10 + 3"),
            (lambda length, chunk: 26, "two groups of 4"),
        ],
    ),
    (
        lesson.check_growth,
        lesson.solution_growth(),
        [
            (2, "linear cost"),
            (1, "twice as many queries"),
            (0.25, "at every length"),
            (8, "no third factor"),
            (16, "not four times"),
            (3, "N²"),
        ],
    ),
]
