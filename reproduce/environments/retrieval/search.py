"""The one tool: BM25 over the question's paragraphs, best paragraph only (library `bm25s`)."""

from __future__ import annotations

import logging

import bm25s
import numpy as np

logging.getLogger("bm25s").setLevel(logging.WARNING)


class SearchIndex:
    """A deterministic BM25 retriever over a handful of paragraphs (Lucene's variant, k1 = 1.5, b = 0.75)."""

    def __init__(self, paragraphs: tuple[str, ...]) -> None:
        tokens = [paragraph.lower().split() for paragraph in paragraphs]
        self.vocabulary = {
            word: place for place, word in enumerate(dict.fromkeys(word for line in tokens for word in line))
        }
        retriever = bm25s.BM25()
        numbered = [[self.vocabulary[word] for word in line] for line in tokens]
        retriever.index((numbered, self.vocabulary), show_progress=False, create_empty_token=False)
        # A BM25 score is a sum over query words, so ten paragraphs need no more than this small dense table.
        self.score_of_word = np.stack([retriever.get_scores([place]) for place in range(len(self.vocabulary))])

    def ranked(self, query: str, most: int) -> list[int]:
        """Places of at most `most` paragraphs that hold a word of the query, best first; ties go to the first."""
        places = [self.vocabulary[word] for word in query.lower().split() if word in self.vocabulary]
        scores = self.score_of_word[places].sum(axis=0)
        return [int(place) for place in np.argsort(-scores, kind="stable")[:most] if scores[place] > 0]

    def best(self, query: str) -> int | None:
        """Place of the best paragraph; ties go to the first; None if no paragraph holds a word of the query."""
        places = [self.vocabulary[word] for word in query.lower().split() if word in self.vocabulary]
        return int(np.argmax(self.score_of_word[places].sum(axis=0))) if places else None
