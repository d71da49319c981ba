"""A tiny vision language model and its processor, built in code."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor, Qwen2VLProcessor

from tests.reproduce.general_models import general_tokenizer

TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}{%- if message.content is string %}"
    "{{- message.content }}{%- else %}{%- for part in message.content %}{%- if part.type == 'image' %}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' }}{%- else %}{{- part.text }}{%- endif %}{%- endfor %}"
    "{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
MARKS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


class PicturesOnly(Qwen2VLProcessor):
    """Videos would need torchvision."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name != "video_processor":
            return super().check_argument_for_proper_class(argument_name, argument)
        return None


def vision_processor() -> PicturesOnly:
    tokenizer = general_tokenizer(TEMPLATE)
    tokenizer.add_tokens(MARKS, special_tokens=True)
    pictures = Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56)
    return PicturesOnly(image_processor=pictures, tokenizer=tokenizer, video_processor=None, chat_template=TEMPLATE)


def vision_model(tokenizer: Any) -> Qwen2VLForConditionalGeneration:
    start, end, image, video = tokenizer.convert_tokens_to_ids(MARKS)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"num_key_value_heads": 1, "vocab_size": len(tokenizer), "max_position_embeddings": 512}
    text["rope_parameters"] = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 2}
    config = Qwen2VLConfig(
        text_config=text | special,
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    torch.manual_seed(0)
    return Qwen2VLForConditionalGeneration(config)


def questions(count: int) -> list[dict[str, Any]]:
    """Questions of unequal length with pictures of two sizes."""
    rows = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (56, 28 * (1 + number % 2), 3), dtype=np.uint8)
        text = "what" + " now" * number
        rows.append({"prompt": [{"role": "user", "content": text}], "image": Image.fromarray(pixels)})
    return rows
