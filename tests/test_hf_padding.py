import itertools

import pytest
import torch

from clexlab.hf.padding import texts


def test_every_row_without_holes_begins_and_ends_where_its_tokens_do_and_every_other_is_refused():
    for row in itertools.product((False, True), repeat=6):
        places = [place for place, real in enumerate(row) if real]
        given = torch.tensor([row, [True] * 6])
        if places == list(range(min(places, default=0), max(places, default=-1) + 1)):
            starts, ends = texts(given)
            assert starts.tolist() == [places[0] if places else 0, 0]
            assert ends.tolist() == [places[-1] + 1 if places else 0, 6]
        else:
            with pytest.raises(ValueError, match="holes"):
                texts(given)
