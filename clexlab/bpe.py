"""The shipped tokenizer: byte-level BPE with 4096 entries, trained on the standard library's source.

    clexlab train tokenizer --out FOLDER

Every byte has an entry, so every text can be encoded and comes back as it was. Digits stand alone: a number is as many tokens as
it has digits, which keeps pass keys equally hard wherever they stand. One separator begins and ends every document.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from clexlab import frequencies, results

FOLDER = results.ROOT / "data" / "tokenizer"
SIZE = 4096
SEPARATOR = "<|document|>"


def train(documents: Iterable[str], size: int = SIZE) -> PreTrainedTokenizerFast:
    """Learn `size` entries from `documents`: the separator (id 0), 256 bytes, then the most frequent merges.

    The same documents in the same order give the same tokenizer. Raises ValueError for a size without room for the bytes, and for
    documents too short to fill it.
    """
    if not frequencies.is_whole(size) or size < 257:
        raise ValueError(f"size is {size!r}; it must be a whole number of at least 257: the separator and 256 bytes")
    rules = Tokenizer(models.BPE())
    rules.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    rules.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[SEPARATOR],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    rules.train_from_iterator(documents, trainer)
    if rules.get_vocab_size() < size:
        raise ValueError(f"the documents give {rules.get_vocab_size()} entries, {size} were asked for; give more text or a smaller size")
    return PreTrainedTokenizerFast(
        tokenizer_object=rules, clean_up_tokenization_spaces=False, bos_token=SEPARATOR, eos_token=SEPARATOR
    )


def load(folder: Path = FOLDER) -> PreTrainedTokenizerFast:
    """The shipped tokenizer, or another folder's."""
    if not (folder / "tokenizer.json").is_file():
        raise ValueError(f"{folder} holds no tokenizer; make one with clexlab train tokenizer --out {folder}")
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
