"""What `explain` asks where texts are explained: before the model runs, and when all is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.interpret.engine import Engine
from pellucid.interpret.generation import completed, generated
from pellucid.interpret.inputs import Inputs, read_inputs
from pellucid.interpret.models import Model
from pellucid.interpret.sequences import Asked, TokenScore, asked_of_sequence, token_score
from pellucid.interpret.spelling import Speller, name_tokens
from pellucid.interpret.targets import Scoring, is_function, known_names, neuron_of
from pellucid.interpret.tokens import (
    Vocabulary,
    check_length,
    check_masks,
    check_tokenizer,
    is_tokens,
    read_texts,
    vocabulary_of,
)


class Language:
    """Texts, their tokens, and targets among tokens; nothing at all where there are none.

    Parameters
    ----------
    model
        The model.
    tokenizer
        The tokenizer, or None.
    target
        As `explain` takes it.

    Attributes
    ----------
    asked
        What the target asks of a sequence, or None.
    neuron
        The layer and the index of a target that is a neuron, or None.
    settings
        What was done to the inputs, in words.

    Raises
    ------
    InputError, InputTypeError
        If the tokenizer is none, or the target asks of a sequence what cannot be.
    """

    def __init__(self, model: Model, tokenizer: Any, target: Any) -> None:
        check_tokenizer(tokenizer)
        self._model, self._tokenizer, self._target = model, tokenizer, target
        self._encoding: Any = None
        self.asked = asked_of_sequence(target, model)
        self.neuron = None if self.asked else neuron_of(target)
        if self.neuron is not None:
            model.layer(self.neuron[0])
        self._of_classes = self.neuron is None and not is_function(target)
        self.settings: dict[str, Any] = {}

    def read(self, inputs: Any, attribute: str | Sequence[str] | None) -> Inputs:
        """Return the inputs, texts tokenized, checked and completed."""
        given, self._encoding = read_texts(inputs, self._tokenizer, self._model)
        batch = read_inputs(given, attribute=attribute, dtype=self._model.dtype)
        batch = check_masks(batch, self._model)
        check_length(batch, self._model)
        if self._of_classes:
            batch, said = completed(batch, self._model)
            if said is not None:
                self.settings["added"] = said
        return batch

    def probe(self, engine: Engine, layers: Sequence[str]) -> tuple[Any, int]:
        """Evaluate the first rows, of what the model generates if that is asked for."""
        example, rows = engine.probe(layers)
        if self.asked is None or self.asked.kind != "generated":
            return example, rows
        grown, start = generated(engine, example, self.asked.value, self._tokenizer)
        self.asked = Asked("tokens", start)
        engine.take(grown)
        return engine.probe(layers)

    def vocabularies(self, engine: Engine) -> dict[str, Vocabulary]:
        """Return what is known of the tokens of each attributed input; after `Engine.locate`."""
        attributed = engine.inputs.tensors(attributed=True)
        return {
            path: vocabulary_of(embedding, self._model, self._tokenizer)
            for path, embedding in engine.embeddings.items()
            if path in attributed and not attributed[path].is_floating_point()
        }

    def score(
        self, engine: Engine, example: Any, rows: int, output: str, class_names: Any
    ) -> TokenScore | None:
        """Return the scores of tokens, where that is what is to be explained."""
        if not self._of_classes:
            return None
        if self.asked is not None:
            self.settings["target"] = str(self._target)
        return token_score(
            self.asked,
            target=self._target,
            output=output,
            class_names=known_names(class_names),
            example=example,
            rows=rows,
            inputs=engine.inputs,
            model=self._model,
            sizes={path: one.num_embeddings for path, one in engine.embeddings.items()},
            tokenizer=self._tokenizer,
        )

    def names(
        self, batch: Inputs, score: Scoring, target: np.ndarray | None, done: int
    ) -> dict[str, Any]:
        """Return the fields of an `Explanation` that name tokens.

        Parameters
        ----------
        batch, score
            What was explained.
        target
            The explained classes, or None.
        done
            How many of the rows are finished.
        """
        found: dict[str, Any] = {}
        tokens = {p: leaf for p, leaf in batch.tensors(attributed=True).items() if is_tokens(leaf)}
        if len(tokens) == 1:
            ((path, ids),) = tokens.items()
            found["tokens"], found["words"] = name_tokens(
                ids[:done], batch.mask(path), self._tokenizer, self._encoding
            )
        if isinstance(score, TokenScore) and score.spoken and target is not None:
            speller = Speller(self._tokenizer)
            rows = target.reshape(len(target), -1).tolist()
            texts = [_spelled(speller, row, joined=score.running) for row in rows]
            found["target_names"] = np.array(texts, dtype=str)
        return found


def _spelled(speller: Speller, row: list[int], *, joined: bool) -> list[str]:
    """Return the text of each target, empty for those that are missing."""
    known = [token for token in row if token >= 0]
    texts = speller.texts(known) if joined else [speller.texts([token])[0] for token in known]
    return texts + [""] * (len(row) - len(known))


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """Return values (rows, targets, tokens) without those of padding."""
    kept = (mask[: len(values)] != 0).cpu().flatten(1)[:, None]
    return values.where(kept, 0)
