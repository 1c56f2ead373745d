"""A tokenizer with a token a byte, built in memory: what tests of text need, without a file."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast


def build(specials: Sequence[str] = (), start: str | None = None) -> PreTrainedTokenizerFast:
    """256 tokens and then `specials`; `start`, one of them, goes before every text."""
    vocabulary = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.add_special_tokens(list(specials))
    if start is not None:
        core.post_processor = processors.TemplateProcessing(single=f"{start} $A", special_tokens=[(start, core.token_to_id(start))])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=start)
