"""The reference's worked matrices, P by query and key, and its golden numbers, which every map must agree with.

map_matrices.PRINTED              a map, a length, and the matrix as printed there, rounded to two places
map_matrices.GOLDEN               a map, a length, and what comes out of it with queries and keys (1, 0), one frequency 1 and values j
"""

import math

from clexlab.positions.maps import GALI, STRING, DualChunk, LeakyReRoPE, LMInfinite, Map, ReRoPE, SelfExtend, Sinks

T = 6


def matrix(text: str) -> list[list[float]]:
    """Rows of the printed form `row | P P P`, a point for a key that is not seen."""
    rows = [line.partition("|")[2].split() for line in text.strip().splitlines()]
    return [[math.nan if entry == "." else float(entry) for entry in row] for row in rows]


PRINTED: tuple[tuple[Map, str], ...] = (
    (
        STRING(window=9, shift=3, local=1),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    1    2    1    0
 4 |    2    1    2    1    0
 5 |    3    2    1    2    1    0
 6 |    4    3    2    1    2    1    0
 7 |    5    4    3    2    1    2    1    0
 8 |    6    5    4    3    2    1    2    1    0
        """,
    ),
    (
        STRING(window=T, shift=6, local=1),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    2    1    0
 4 |    4    3    2    1    0
 5 |    5    4    3    2    1    0
 6 |    1    5    4    3    2    1    0
 7 |    2    1    5    4    3    2    1    0
 8 |    3    2    1    5    4    3    2    1    0
 9 |    4    3    2    1    5    4    3    2    1    0
10 |    5    4    3    2    1    5    4    3    2    1    0
11 |    6    5    4    3    2    1    5    4    3    2    1    0
        """,
    ),
    (
        GALI(window=T, tail=2, chunk=2, noise=None),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    2    1    0
 4 |    4    3    2    1    0
 5 |    5    4    3    2    1    0
 6 |    4  3.5    3  2.5    2    1    0
 7 |    5  4.5    4  3.5    3    2    1    0
 8 |    4  3.5    3  2.5    2  1.5    1  0.5    0
 9 |    5  4.5    4  3.5    3  2.5    2  1.5    1    0
10 |    4 3.67 3.33    3 2.67 2.33    2 1.67 1.33    1    0
11 |    5 4.67 4.33    4 3.67 3.33    3 2.67 2.33    2    1    0
        """,
    ),
    (
        ReRoPE(window=T, near=5),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    2    1    0
 4 |    4    3    2    1    0
 5 |    5    4    3    2    1    0
 6 |    5    5    4    3    2    1    0
 7 |    5    5    5    4    3    2    1    0
 8 |    5    5    5    5    4    3    2    1    0
 9 |    5    5    5    5    5    4    3    2    1    0
10 |    5    5    5    5    5    5    4    3    2    1    0
11 |    5    5    5    5    5    5    5    4    3    2    1    0
        """,
    ),
    (
        LeakyReRoPE(window=T, near=3, slowing=4.0),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    2    1    0
 4 | 3.25    3    2    1    0
 5 |  3.5 3.25    3    2    1    0
 6 | 3.75  3.5 3.25    3    2    1    0
 7 |    4 3.75  3.5 3.25    3    2    1    0
 8 | 4.25    4 3.75  3.5 3.25    3    2    1    0
 9 |  4.5 4.25    4 3.75  3.5 3.25    3    2    1    0
10 | 4.75  4.5 4.25    4 3.75  3.5 3.25    3    2    1    0
11 |    5 4.75  4.5 4.25    4 3.75  3.5 3.25    3    2    1    0
        """,
    ),
    (
        SelfExtend(window=T, near=3, group=3),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    2    1    0
 4 |    3    3    2    1    0
 5 |    3    3    3    2    1    0
 6 |    4    4    4    3    2    1    0
 7 |    4    4    4    3    3    2    1    0
 8 |    4    4    4    3    3    3    2    1    0
 9 |    5    5    5    4    4    4    3    2    1    0
10 |    5    5    5    4    4    4    3    3    2    1    0
11 |    5    5    5    4    4    4    3    3    3    2    1    0
        """,
    ),
    (
        SelfExtend(window=T, near=2, group=3),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    3    1    0
 4 |    3    3    3    1    0
 5 |    3    3    3    2    1    0
 6 |    4    4    4    3    3    1    0
 7 |    4    4    4    3    3    3    1    0
 8 |    4    4    4    3    3    3    2    1    0
 9 |    5    5    5    4    4    4    3    3    1    0
10 |    5    5    5    4    4    4    3    3    3    1    0
11 |    5    5    5    4    4    4    3    3    3    2    1    0
        """,
    ),
    (
        DualChunk(window=10, chunk=6),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    2    1    0
 4 |    4    3    2    1    0
 5 |    5    4    3    2    1    0
 6 |    6    5    4    3    2    1    0
 7 |    7    6    5    4    3    2    1    0
 8 |    8    7    6    5    4    3    2    1    0
 9 |    9    8    7    6    5    4    3    2    1    0
10 |    9    8    7    6    5    4    4    3    2    1    0
11 |    9    8    7    6    5    4    5    4    3    2    1    0
        """,
    ),
    (
        DualChunk(window=T, chunk=4),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    2    1    0
 4 |    4    3    2    1    0
 5 |    5    4    3    2    1    0
 6 |    5    4    3    2    2    1    0
 7 |    5    4    3    2    3    2    1    0
 8 |    5    4    3    2    4    3    2    1    0
 9 |    5    4    3    2    5    4    3    2    1    0
10 |    5    4    3    2    5    4    3    2    2    1    0
11 |    5    4    3    2    5    4    3    2    3    2    1    0
        """,
    ),
    (
        Sinks(window=T, sinks=2, recent=4),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    2    1    0
 4 |    4    3    2    1    0
 5 |    5    4    3    2    1    0
 6 |    5    4    .    3    2    1    0
 7 |    5    4    .    .    3    2    1    0
 8 |    5    4    .    .    .    3    2    1    0
 9 |    5    4    .    .    .    .    3    2    1    0
10 |    5    4    .    .    .    .    .    3    2    1    0
11 |    5    4    .    .    .    .    .    .    3    2    1    0
        """,
    ),
    (
        LMInfinite(window=T, starts=2, local=4, limit=4),
        """
 0 |    0
 1 |    1    0
 2 |    2    1    0
 3 |    3    2    1    0
 4 |    4    3    2    1    0
 5 |    4    4    3    2    1    0
 6 |    4    4    .    3    2    1    0
 7 |    4    4    .    .    3    2    1    0
 8 |    4    4    .    .    .    3    2    1    0
 9 |    4    4    .    .    .    .    3    2    1    0
10 |    4    4    .    .    .    .    .    3    2    1    0
11 |    4    4    .    .    .    .    .    .    3    2    1    0
        """,
    ),
)

# What the last query and all queries together give: sum_j j softmax_j(cos(P_ij)/√2), by hand in the reference.
GOLDEN: tuple[tuple[Map, int, float, float, float], ...] = (
    (STRING(window=T, shift=6, local=1), 12, 6, 5.615328, 38.049251),
    (STRING(window=T, shift=4, local=1), 12, 8, 5.527919, 37.061684),
    (STRING(window=9, shift=3, local=1), 9, 6, 4.200006, 21.298149),
    (ReRoPE(window=T, near=5), 12, 5, 5.583015, 36.431852),
    (LeakyReRoPE(window=T, near=3, slowing=4.0), 12, 5, 5.981789, 40.988405),
    (SelfExtend(window=T, near=3, group=3), 12, 5, 5.788699, 39.542368),
    (SelfExtend(window=T, near=2, group=3), 12, 5, 5.788699, 39.499633),
    (DualChunk(window=T, chunk=4), 12, 5, 6.201182, 39.200441),
    (DualChunk(window=10, chunk=6), 12, 9, 5.733599, 36.049380),
    (Sinks(window=T, sinks=2, recent=4), 12, 5, 7.328050, 42.846975),
    (LMInfinite(window=T, starts=2, local=4, limit=4), 12, 4, 8.051964, 46.423121),
    (GALI(window=T, tail=2, chunk=2, noise=None), 12, 5, 6.106780, 40.613071),
)
