"""General tokenizers and models in small, built in code: a byte-level BPE vocabulary, the chat templates of some model
families, and randomly initialised decoders."""

from __future__ import annotations

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Olmo3Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

QWEN = """\
{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}{%- if message.role != 'system' %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
"""Qwen 2.5: a system message of its own where none is given."""

THINKING = """\
{%- for message in messages %}{%- if message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' + message.content.split('</think>')[-1].lstrip('\\n') + '<|im_end|>\\n' }}{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""
"""Qwen 3: a switch, thoughts taken out of earlier turns."""

LLAMA = """\
{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}
{%- if messages[0].role == 'system' %}{%- set system = messages[0].content | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = '' %}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date_string + '\\n\\n' + system + '<|eot_id|>' }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
"""Llama 3: texts trimmed, today's date, an end of turn that is not the end of text."""

MISTRAL = """\
{{- bos_token }}{%- for message in messages %}{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('roles must alternate user/assistant') }}{%- endif %}
{%- if message.role == 'user' %}{{- '[INST] ' + message.content + ' [/INST]' }}
{%- else %}{{- ' ' + message.content + eos_token }}{%- endif %}{%- endfor %}"""
"""Mistral 7B: no system message, no end of turn but the end of text."""

DROPPING = """\
{%- for message in messages %}{%- if message.role != 'system' %}{{- message.role + ': ' + message.content + '\\n' }}
{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- 'assistant:' }}{%- endif %}"""
"""A system message is passed over in silence, and no special token closes a turn."""

SPECIAL = (
    "<|endoftext|> <|im_start|> <|im_end|> <|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|> "
    "[INST] [/INST]"
).split()
CORPUS = (
    "You are in the kitchen. You see a fridge 1, an apple 1 and a table 2.\nWhat do you do?\n> take apple 1\n\n",
    "def step(action):\n    return 8 * 3 + 1\n\n\tAnswer: 24.\n- 12 / 4 = 3\n",
    "Question: who wrote it? <search>the author</search>\n<answer>Ada</answer>\n",
) * 8
# The pattern of Qwen's and Llama's tokenizers, which keeps line breaks after punctuation and runs of them together.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def general_tokenizer(template: str | None = QWEN, end: str = "<|im_end|>") -> PreTrainedTokenizerFast:
    """About 400 tokens, several with line breaks in them; `end` is the end of text."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>",
        eos_token=end,
        pad_token="<|endoftext|>",
        additional_special_tokens=[token for token in SPECIAL if token != end],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = template
    return wrapped


SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1 << 17,
    "initializer_range": 0.2,
}
ARCHITECTURES: dict[str, tuple[type[PreTrainedConfig], dict[str, object]]] = {
    "qwen2": (Qwen2Config, {}),
    "qwen3": (Qwen3Config, {"head_dim": 16}),
    "llama": (LlamaConfig, {"tie_word_embeddings": True}),
    "olmo3": (Olmo3Config, {"sliding_window": 24}),
    "mistral": (MistralConfig, {"sliding_window": 24}),
}
"""Olmo 3 mixes layers with a window and without, Mistral has one in every layer."""


def general_model(architecture: str, tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> PreTrainedModel:
    """A randomly initialised decoder; its matrix of the vocabulary is wider than the tokenizer, as in many models."""
    kind, special = ARCHITECTURES[architecture]
    config = kind(
        **(SIZES | special),
        vocab_size=len(tokenizer) + 8,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).eval()
