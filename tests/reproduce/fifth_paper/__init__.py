"""A paper that another package brings: does it matter how GRPO divides its advantages and its loss?"""
