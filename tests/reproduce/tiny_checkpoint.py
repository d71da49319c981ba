"""A tiny random decoder with a byte-pair tokenizer and a chat template, made in code, and a math set for it.

The vocabulary is small and holds whole answers, so that a random policy answers a question now and then.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ANSWERS = ("1", "2")
CORPUS = ["add three and four\n", "so it is\n\n", "\\boxed{1}", "\\boxed{2}", ".\n"] * 40


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level byte pairs in which `\\boxed{1}`, a line break and two of them are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = [chr(place) for place in range(33, 127)] + ["Ġ", "Ċ"]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=170, initial_alphabet=letters, special_tokens=special)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=TEMPLATE,
    )


def save_checkpoint(folder: Path, positions: int = 1024) -> Path:
    """Write model and tokenizer; the folder."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def write_math_set(path: Path, questions: int = 12) -> Path:
    """A set of so many questions, each with a solution; the file."""
    rows = [
        {
            "question": f"Question {place}: add {place} and four, which of one and two is it?",
            "answer": ANSWERS[place % 2],
            "solution": f"so it is\n\\boxed{{{ANSWERS[place % 2]}}}",
        }
        for place in range(questions)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
