"""Small files in the formats of the official data sets, with made-up content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TRAIN, DEV = "hotpot_train_v1.1.json", "hotpot_dev_distractor_v1.json"


def hotpot_row(split: str, number: int) -> dict[str, Any]:
    """A row of HotpotQA's JSON: even numbers are bridge questions, whose second hop is given first."""
    bridge = number % 2 == 0
    names = [f"{split} person {number} {letter}" for letter in "abcdefghij"]
    context = [[name, [f"{name} is a stranger.", f" {name} likes colour {place}."]] for place, name in enumerate(names)]
    first, second = names[6], names[2]
    if bridge:
        context[6][1] = [f"{first} was born in spring.", f" {first} is married to {second}."]
        context[2][1] = [f"{second} grew up by a lake.", f" {second} was born in {number + 1000}."]
    else:
        context[6][1] = [f"{first} was born in {number + 1900}."]
        context[2][1] = [f"{second} was born in {number + 1950}."]
    return {
        "_id": f"{split}{number:04d}",
        "answer": str(number + 1000) if bridge else first,
        "question": f"When was the wife of {first} born?" if bridge else f"Who is older, {first} or {second}?",
        "supporting_facts": [[second, 1], [first, 1], [first, 99]] if bridge else [[first, 0], [second, 0]],
        "context": context,
        "type": "bridge" if bridge else "comparison",
        "level": "hard",
    }


def as_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as Hugging Face keeps it."""
    context, facts = row["context"], row["supporting_facts"]
    return {
        "id": row["_id"],
        **{name: row[name] for name in ("question", "answer", "type", "level")},
        "supporting_facts": {"title": [title for title, _ in facts], "sent_id": [place for _, place in facts]},
        "context": {"title": [title for title, _ in context], "sentences": [lines for _, lines in context]},
    }


def write_hotpot(folder: Path, train: int = 20, test: int = 16) -> Path:
    """The two JSON files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, split, count in ((TRAIN, "train", train), (DEV, "dev", test)):
        (folder / name).write_text(json.dumps([hotpot_row(split, number) for number in range(count)]))
    return folder


def write_hotpot_shards(folder: Path, train: int = 20, test: int = 16) -> Path:
    """The Parquet files, training in two shards."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [as_columns(hotpot_row("train", number)) for number in range(train)]
    for shard, part in enumerate((rows[: train // 2], rows[train // 2 :])):
        pq.write_table(pa.Table.from_pylist(part), folder / f"train-0000{shard}-of-00002.parquet")
    rows = [as_columns(hotpot_row("dev", number)) for number in range(test)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "validation-00000-of-00001.parquet")
    return folder


def wiki_row(split: str, number: int) -> dict[str, Any]:
    """A row of 2WikiMultihopQA's JSON, of its four types in turn; every fourth needs four paragraphs."""
    row = hotpot_row(split, 2 * (number // 2) + (number % 4 in (0, 3)))
    row |= {
        "_id": f"{split}{number:04d}",
        "type": ("comparison", "inference", "compositional", "bridge_comparison")[number % 4],
    }
    row["question"] += f" {number}"
    if number % 4 == 3:
        row["supporting_facts"] = [[title, 0] for title, _ in row["context"][2:8:2]] + [[row["context"][7][0], 0]]
    return row | {"evidences": [["a", "b", "c"]]}


def musique_row(split: str, number: int, hops: int = 2) -> dict[str, Any]:
    """A row of MuSiQue: a chain of `hops` paragraphs of one title; the last answer has an alias."""
    names = [f"{split} {number} {letter}" for letter in "abcde"][: hops + 1]
    texts = [f"Some words. {first} leads to {second}. More words." for first, second in pairwise(names)]
    paragraphs = [{"idx": place, "title": "Other", "paragraph_text": f"Nothing {place}."} for place in range(20)]
    places = [3 * place + 2 for place in range(hops)][::-1]
    for place, text in zip(places, texts, strict=True):
        paragraphs[place] |= {"title": "Chain", "paragraph_text": text, "is_supporting": True}
    steps = [
        {"id": place, "question": "?", "answer": answer, "paragraph_support_idx": place}
        for place, answer in zip(places, names[1:], strict=True)
    ]
    return {
        "id": f"{hops}hop__{split}_{number}",
        "question": f"Where does {names[0]} lead?",
        "answer": names[-1],
        "answer_aliases": [f"{names[-1]} too"],
        "answerable": True,
        "paragraphs": paragraphs,
        "question_decomposition": steps,
    }


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sums(count: int, sign: str = "+") -> list[dict[str, Any]]:
    """Questions of a math set, with solutions."""
    return [
        {
            "question": f"What is {i} {sign} {2 * i}?",
            "answer": i + 2 * i if sign == "+" else i * 2 * i,
            "solution": "So.",
        }
        for i in range(count)
    ]
