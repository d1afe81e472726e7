"""What a language model needs before it can be asked: positions, a first token, its own text."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from pellucid.errors import InputError, ModelError, PellucidError
from pellucid.interpret.engine import Engine
from pellucid.interpret.inputs import Inputs, label
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.models import Model
from pellucid.interpret.outputs import scored_part
from pellucid.interpret.results.trees import rebuild
from pellucid.interpret.sequences import check_sequence, sequence_path
from pellucid.interpret.tokens import ending_ids, padding_id


def completed(inputs: Inputs, model: Model) -> tuple[Inputs, str | None]:
    """Return the inputs with what a language model of Hugging Face gets from its `generate`.

    A decoder without tokens is given the one that it starts with; texts that are padded on the left
    are given their positions, counted from each text's first token.

    Parameters
    ----------
    inputs, model
        What is to be explained.

    Returns
    -------
    inputs
        As they are, or completed.
    said
        What was added, in words; None where nothing was.
    """
    able = getattr(model.module, "can_generate", None)
    if not isinstance(inputs.tree, dict) or not callable(able) or not able():
        return inputs, None
    assert model.module is not None
    ids, mask = inputs.tree.get("input_ids"), inputs.mask("input_ids")
    takes = inspect.signature(model.module.forward).parameters
    if ids is None:
        return inputs, None
    if _encodes(model):
        if any(name in inputs.tree for name in ("decoder_input_ids", "decoder_inputs_embeds")):
            return inputs, None
        started = torch.full((inputs.samples, 1), _start_of(model), dtype=ids.dtype)
        return _with(inputs, decoder_input_ids=started), "decoder_input_ids: the starting token"
    if mask is None or not bool((mask[:, 0] == 0).any()):
        return inputs, None
    if "position_ids" not in takes or "position_ids" in inputs.tree:
        return inputs, None
    counted = (mask.ne(0).long().cumsum(1) - 1).clamp_min(0)
    return _with(inputs, position_ids=counted), "position_ids: counted from each first token"


def _with(inputs: Inputs, **more: Tensor) -> Inputs:
    return replace(inputs, tree={**inputs.tree, **more})


def _encodes(model: Model) -> bool:
    config = getattr(model.module, "config", None)
    return bool(getattr(config, "is_encoder_decoder", False))


def _start_of(model: Model) -> int:
    """Return the token that a decoder starts with."""
    for holder in ("generation_config", "config"):
        for name in ("decoder_start_token_id", "bos_token_id"):
            found = getattr(getattr(model.module, holder, None), name, None)
            if isinstance(found, int):
                return found
    raise InputError(
        f"{model.name} has a decoder, and nobody says which token it starts with: give "
        "decoder_input_ids, or set model.config.decoder_start_token_id"
    )


def generated(engine: Engine, example: Any, count: int, tokenizer: Any) -> tuple[Inputs, Tensor]:
    """Let the model write on, greedily, and return the inputs with what it wrote.

    By the model's own `generate` where it has one. Rows that end early have fewer tokens.

    Parameters
    ----------
    engine, example
        The model and its inputs, probed; and what it put out then.
    count
        How many tokens at most.
    tokenizer
        The tokenizer, which knows what ends a text; or None.

    Returns
    -------
    inputs
        Prompts and what was generated, padding on the right; or with a decoder's own input.
    start
        The first generated token of each row, counted without padding.

    Raises
    ------
    InputError
        If an input beside the tokens would have to grow with them.
    ModelError
        If the model cannot go on.
    """
    writer = _Writer(engine, example, count, tokenizer)
    new = writer.write()
    return writer.behind_start(new) if writer.encodes else writer.behind_prompts(new)


class _Writer:
    """Prompts, padded on the right, and the model that goes on."""

    def __init__(self, engine: Engine, example: Any, count: int, tokenizer: Any) -> None:
        self._engine, self._count, self._inputs = engine, count, engine.inputs
        model = engine.model
        self._generate = getattr(model.module, "generate", None)
        self.encodes = _encodes(model)
        self._ends = ending_ids(model, tokenizer)
        sizes = [embedding.num_embeddings for embedding in engine.embeddings.values()]
        self._blank = padding_id(model, tokenizer, min(sizes, default=1))
        if self.encodes:
            self._start = _start_of(model)
        length = check_sequence(example, "generated").shape[1]
        path = "input_ids" if self.encodes else sequence_path(self._inputs, length)
        if path is None:
            raise ModelError(
                "target=('generated', ...) needs inputs of token ids, (samples, tokens), for the "
                f"{length} positions of the output"
            )
        self._path, self._mask = path, self._inputs.mask(path)
        ids = self._inputs.tensors()[path].cpu()
        kept = torch.ones_like(ids, dtype=torch.bool)
        if self._mask is not None:
            kept = self._mask.cpu() != 0
        if not self.encodes:
            self._check_beside(ids)
            order = (~kept).to(torch.uint8).sort(dim=1, stable=True).indices
            ids, kept = ids.gather(1, order), kept.gather(1, order)
        self._ids, self._kept, self._length = ids, kept, kept.sum(1)

    def _check_beside(self, ids: Tensor) -> None:
        """Raise an `InputError` for what would have to grow with the tokens, and cannot."""
        for path, leaf in self._inputs.tensors().items():
            alone = path == self._path or leaf is self._mask
            if alone or (path == "position_ids" and callable(self._generate)):
                continue
            if leaf.shape[:2] == ids.shape:
                raise InputError(
                    f"target=('generated', {self._count}) lets the tokens grow, and {label(path)} "
                    "would have to grow with them; leave it out, or explain a text that is "
                    "complete: target=('tokens', start)"
                )

    def write(self) -> Tensor:
        """Return the new tokens (samples, count), -1 behind the end of a text."""
        engine, model = self._engine, self._engine.model
        parts: list[Tensor] = []

        def compute(rows: Tensor) -> Tensor:
            write = self._by_generate if callable(self._generate) else self._greedily
            try:
                return write(rows.cpu())
            except Exception as error:
                if isinstance(error, PellucidError) or is_out_of_memory(error):
                    raise
                raise ModelError(
                    f"{model.name} cannot generate behind these inputs: "
                    f"{type(error).__name__}: {error}"
                ) from error

        def deliver(found: Tensor) -> None:
            parts.append(pad(found.cpu(), (0, self._count - found.shape[1]), value=-1))

        with torch.no_grad():
            engine.each_chunk(len(self._ids), compute, deliver)
        new = torch.cat(parts)
        ended = torch.isin(new, torch.tensor(self._ends, dtype=new.dtype)).long()
        return new.masked_fill(ended.cumsum(1) - ended > 0, -1)

    def _by_generate(self, rows: Tensor) -> Tensor:
        """Return what the model's own method generates, without a choice by chance."""
        ids, kept = self._ids[rows], self._kept[rows]
        if not self.encodes:
            # That one wants the padding on the left.
            order = kept.to(torch.uint8).sort(dim=1, stable=True).indices
            ids, kept = ids.gather(1, order), kept.gather(1, order)
        device = self._engine.device
        self._engine.count.forward += len(rows) * self._count
        assert callable(self._generate)
        found = self._generate(
            input_ids=ids.to(device),
            attention_mask=kept.long().to(device),
            max_new_tokens=self._count,
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=False,
            pad_token_id=self._blank,
        )
        new: Tensor = found[:, 1 if self.encodes else ids.shape[1] :]
        return new

    def _greedily(self, rows: Tensor) -> Tensor:
        """Return the tokens that the model finds most likely, one after another."""
        engine, inputs = self._engine, self._inputs
        leaves = {path: leaf[rows] for path, leaf in inputs.tensors().items()}
        text = pad(self._ids[rows], (0, self._count))
        length, here = self._length[rows], torch.arange(len(rows))
        for _ in range(self._count):
            width = int(length.max())
            leaves[self._path] = text[:, :width]
            if self._mask is not None and self._beside is not None:
                real = torch.arange(width) < length[:, None]
                leaves[self._beside] = real.to(self._mask.dtype)
            given = {path: leaf.to(engine.device) for path, leaf in leaves.items()}
            positional, named = inputs.arguments(given)
            engine.count.forward += len(rows)
            logits = scored_part(engine.call(*positional, **named))[0].cpu()
            text[here, length] = logits[here, length - 1].argmax(-1).to(text.dtype)
            length = length + 1
        new: Tensor = text.gather(1, self._length[rows, None] + torch.arange(self._count))
        return new

    @property
    def _beside(self) -> str | None:
        """Where the attention mask is; None where there is none."""
        return next((p for p, leaf in self._inputs.tensors().items() if leaf is self._mask), None)

    def behind_start(self, new: Tensor) -> tuple[Inputs, Tensor]:
        """Return the inputs with the new tokens as what the decoder is given."""
        wrote = (new >= 0).sum(1)
        first = torch.full((len(new), 1), self._start, dtype=new.dtype)
        text = torch.cat([first, new.where(new >= 0, self._blank)], 1)[:, : 1 + int(wrote.max())]
        real = torch.arange(text.shape[1]) <= wrote[:, None]
        grown = _with(self._inputs, decoder_input_ids=text)
        return replace(grown, masks={**grown.masks, "decoder_input_ids": real}), torch.tensor(1)

    def behind_prompts(self, new: Tensor) -> tuple[Inputs, Tensor]:
        """Return the inputs with the new tokens behind each prompt, and where they begin."""
        end = self._length + (new >= 0).sum(1)
        text = pad(self._ids, (0, self._count))
        text.scatter_(1, self._length[:, None] + torch.arange(self._count), new.to(text.dtype))
        text = text[:, : int(end.max())]
        real = torch.arange(text.shape[1]) < end[:, None]
        text = text.where(real, self._blank)
        beside = self._beside

        def grow(path: str, leaf: Any) -> Any:
            if path == self._path:
                return text
            return real.to(leaf.dtype) if path == beside else leaf

        tree = rebuild(self._inputs.tree, grow)
        if isinstance(tree, dict) and callable(self._generate):
            tree.pop("position_ids", None)  # the texts begin at 0 again
        masks = {**self._inputs.masks, self._path: real}
        return replace(self._inputs, tree=tree, masks=masks), self._length
