"""Texts: values of tokens, held against Captum, against torch by hand and against single rows."""

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from captum.attr import LayerIntegratedGradients
from language import (
    BOTH,
    DECODERS,
    ENCODERS,
    MODELS,
    VOCABULARY,
    Bare,
    Recurrent,
    TwoTables,
    batch,
    bert,
    gpt2,
    made,
    of_bytes,
    of_pieces,
    of_sentences,
    of_words,
    prompts,
    trained,
)
from small_models import make_case, mlp
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, InputTypeError, ModelError

every_model = pytest.mark.parametrize("name", sorted(MODELS))
# Signed slopes add up to nothing where a LayerNorm comes behind the embedding: it takes the mean off.
METHODS = {
    "saliency": {},
    "input_x_gradient": {},
    "integrated_gradients": {"steps": 12},
    "conductance": {"steps": 12},
}
every_method = pytest.mark.parametrize("method", METHODS)

# The table that looks the tokens up, and a layer that everything passes through.
TABLES = {
    "bert": ("bert.embeddings.word_embeddings", "bert.encoder.layer.0"),
    "distilbert": ("distilbert.embeddings.word_embeddings", "distilbert.transformer.layer.0"),
    "roberta": ("roberta.embeddings.word_embeddings", "roberta.encoder.layer.0"),
    "gpt2": ("transformer.wte", "transformer.h.0"),
    "llama": ("model.embed_tokens", "model.layers.0"),
    "t5": ("encoder.embed_tokens", "encoder.block.0"),
    "bart": ("model.encoder.embed_tokens", "model.encoder.layers.0"),
}


def score_of(name, inputs):
    """The score that is explained, as a function of the model's output."""
    if name in ENCODERS:
        return lambda output: output.logits[:, 1]
    if name in BOTH:
        return lambda output: output.logits[:, -1, 9]
    last = inputs["attention_mask"].sum(1) - 1
    return lambda output: output.logits[torch.arange(len(output.logits)), last, 9]


def target_of(name):
    return 1 if name in ENCODERS else 9


def values_of(explanation):
    return explanation.values["input_ids"]


def close(found, expected, tolerance=1e-4):
    """Whether every row agrees, relative to its norm."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape
    apart = np.linalg.norm((found - expected).reshape(len(found), -1), axis=1)
    assert (apart <= tolerance * np.linalg.norm(expected.reshape(len(found), -1), axis=1)).all()


# -- the values of tokens ------------------------------------------------------------------------


@every_model
def test_gradients_are_those_of_the_embedded_vectors(name, device):
    """By hand: the model is given the vectors, where it takes them, and torch differentiates."""
    model, inputs = made(MODELS[name], device), prompts(name, device)
    given = dict(inputs)
    vectors = model.get_submodule(TABLES[name][0])(given.pop("input_ids")).detach()
    vectors.requires_grad_()
    score = score_of(name, inputs)(model(inputs_embeds=vectors, **given))
    (gradient,) = torch.autograd.grad(score.sum(), vectors)
    mask = inputs["attention_mask"].cpu().numpy()
    expected = {
        "saliency": gradient.norm(dim=-1).cpu().numpy() * mask,
        "input_x_gradient": (gradient * vectors).sum(-1).detach().cpu().numpy() * mask,
    }
    for method, values in expected.items():
        found = pl.explain(model, inputs, method=method, target=target_of(name), **METHODS[method])
        close(values_of(found), values)
        np.testing.assert_allclose(found.prediction, score.detach().cpu().numpy(), rtol=1e-4)
        assert found.axes["input_ids"] == ("sample", "token")
        assert all(found.values[key] is None for key in inputs if key != "input_ids")


@every_model
def test_integrated_gradients_agree_with_captum(name, device):
    model, inputs = made(MODELS[name], device), prompts(name, device)
    ids = inputs["input_ids"]
    special = torch.tensor([0, 1, 2], device=device)
    padding = torch.where(torch.isin(ids, special), ids, 0)

    def forward(ids):
        # Captum multiplies the rows by the steps.
        times = len(ids) // len(inputs["input_ids"])
        rest = {k: v.repeat(times, 1) for k, v in inputs.items() if k != "input_ids"}
        return score_of(name, {**rest, "input_ids": ids})(model(input_ids=ids, **rest))

    captum = LayerIntegratedGradients(forward, model.get_submodule(TABLES[name][0]))
    expected = captum.attribute(ids, padding, n_steps=20, method="gausslegendre").sum(-1)
    found = pl.explain(
        model, inputs, target=target_of(name), steps=20, rule="gauss_legendre", baseline="auto"
    )
    close(values_of(found), expected.detach().cpu().numpy())
    np.testing.assert_array_equal(found.baseline["input_ids"], padding.cpu().numpy())


@every_model
def test_values_add_up_and_padding_has_none(name, device):
    model, inputs = made(MODELS[name], device), prompts(name, device)
    found = pl.explain(model, inputs, target=target_of(name), tolerance=0.001, budget=4000)
    change = found.prediction.astype(float) - found.baseline_prediction
    scale = np.abs(change) + np.abs(values_of(found)).sum(1)
    assert (scale > 1e-3).all()
    assert (np.abs(change - values_of(found).sum(1)) <= 0.002 * scale).all()
    padding = inputs["attention_mask"].cpu().numpy() == 0
    assert (values_of(found)[padding] == 0).all()
    assert (values_of(found)[~padding] != 0).all()


@every_model
@every_method
@pytest.mark.parametrize("left", [False, True])
def test_rows_of_a_padded_batch_are_as_by_themselves(name, method, left, device):
    if left and name in {*ENCODERS, "bart"}:
        pytest.skip("encoders count positions from the first column, padding or not")
    model, inputs = made(MODELS[name], device), prompts(name, device, left=left)
    options = METHODS[method]
    whole = pl.explain(model, inputs, method=method, **options)
    for i in range(4):
        kept = inputs["attention_mask"][i].bool()
        row = {
            key: leaf[i : i + 1] if key.startswith("decoder") else leaf[i : i + 1, kept]
            for key, leaf in inputs.items()
        }
        alone = pl.explain(model, row, method=method, **options)
        assert alone.target[0] == whole.target[i]
        close(values_of(whole)[i : i + 1, kept.cpu().numpy()], values_of(alone))
        assert not values_of(whole)[i, ~kept.cpu().numpy()].any()


@every_model
def test_conductance_of_a_layer_that_everything_passes_adds_up(name, device):
    model, inputs = made(MODELS[name], device), prompts(name, device)
    place = TABLES[name][1]
    found = pl.explain(
        model, inputs, method="conductance", at=[place, "input"], target=target_of(name),
        tolerance=0.001, budget=4000,
    )  # fmt: skip
    layer = found.select(place)
    assert layer.axes == ("sample", "token", "feature")
    change = found.prediction.astype(float) - layer.baseline_prediction
    scale = np.abs(change) + np.abs(layer.values).sum((1, 2))
    assert (np.abs(change - layer.values.sum((1, 2))) <= 0.005 * scale).all()
    at_input = pl.explain(model, inputs, target=target_of(name), tolerance=0.001, budget=4000)
    close(found.select("input").values["input_ids"], values_of(at_input), 0.01)


@every_model
@every_method
def test_models_are_left_as_they_were(name, method, device):
    model, inputs = made(MODELS[name], device), prompts(name, device)
    held = [model.config, getattr(model, "generation_config", model.config)]
    settings = [one.to_dict() for one in held]
    before = state_of(model.train(), inputs)
    target = ("generated", 2) if name not in ENCODERS else "predicted"
    if name in BOTH:
        inputs.pop("decoder_input_ids")
    pl.explain(model, inputs, method=method, target=target, **METHODS[method])
    after = state_of(model, inputs)
    assert [c for c in changes(before, after) if "decoder_input_ids" not in c] == []
    assert settings == [one.to_dict() for one in held]


def test_inputs_by_position_have_their_mask_too(device):
    model, inputs = made(bert, device), batch(device)
    by_name = pl.explain(model, inputs, steps=8)
    by_position = pl.explain(model, (inputs["input_ids"], inputs["attention_mask"]), steps=8)
    np.testing.assert_array_equal(by_position.values[0], values_of(by_name))
    assert by_position.tokens.tolist() == by_name.tokens.tolist()
    alone = pl.explain(model, inputs["input_ids"][:1], steps=8)  # without padding it needs no mask
    close(alone.values, values_of(by_name)[:1], 1e-5)


def test_ids_alone_are_named_by_their_numbers(device):
    found = pl.explain(made(bert, device), batch(device), method="saliency")
    assert found.tokens[0].tolist() == [str(i) for i in batch()["input_ids"][0].tolist()]
    assert found.tokens[3].tolist()[4:] == ["", "", ""]
    assert found.words is None
    assert list(found.to_frame().columns) == ["sample_id", "input", "token", "value", "text", "input_value"]  # fmt: skip
    assert "token 4 ''" not in found.summary()
    with pytest.raises(InputError, match="tokenizer"):
        found.by_word()


# -- models of one's own -----------------------------------------------------------------------


def test_recurrent_models_work_with_plain_ids(device):
    model = made(Recurrent, device)
    ids = torch.randint(1, VOCABULARY, (4, 6), device=device)
    found = pl.explain(model, ids, target=2, tolerance=0.001, budget=4000)
    assert found.axes == ("sample", "token")
    assert found.settings["baseline"].startswith("the embedding's padding index (id 0)")
    captum = LayerIntegratedGradients(lambda i: model(i)[:, 2], model.table)
    with torch.backends.cudnn.flags(enabled=False):  # which differentiates in training mode only
        expected = captum.attribute(ids, torch.zeros_like(ids), n_steps=200).sum(-1)
    close(found.values, expected.detach().cpu().numpy(), 0.005)


def test_two_indices_have_the_values_of_their_own_tables(device):
    """The first rows of both are alike, so that ids alone do not tell which table is whose."""
    model = made(TwoTables, device)
    user = torch.tensor([3, 4, 5, 6], device=device)
    inputs = {"user": user, "item": torch.tensor([3, 4, 1, 8], device=device)}
    found = pl.explain(model, inputs, baseline="zero", tolerance=0.001, budget=4000)
    captum = LayerIntegratedGradients(lambda u, i: model(u, i)[:, 0], [model.users, model.items])
    tables = [model.users.weight, model.items.weight]
    with torch.no_grad():
        kept = [table.clone() for table in tables]
    # Captum has no vector of zero: an index that no row has is made one.
    for table in tables:
        table.data[0] = 0
    zero = torch.zeros_like(user)
    expected = captum.attribute((user, inputs["item"]), (zero, zero), n_steps=200)
    for key, values in zip(("user", "item"), expected, strict=True):
        assert found.axes[key] == ("sample",)
        np.testing.assert_allclose(
            found.values[key], values.sum(-1).detach().cpu().numpy(), atol=2e-3
        )
    assert len(kept) == 2
    assert found.tokens is None


def test_an_index_beside_numbers_is_attributed_where_it_is_named(device):
    case = make_case("index and floats", device)
    index, x = torch.tensor([1, 2, 3, 4], device=device), torch.randn(4, 4, device=device)
    named = pl.explain(
        case.model, (index, x), target=0, attribute=["0"], tolerance=0.001, budget=4000
    )
    both = pl.explain(
        case.model, (index, x), target=0, attribute=["0", "1"], tolerance=0.001, budget=4000
    )
    assert named.values[1] is None
    assert named.values[0].shape == (4,)
    assert both.values[1].shape == (4, 4)
    for found in (named, both):
        total = sum(a.reshape(4, -1).sum(1) for a in found.values if a is not None)
        np.testing.assert_allclose(total, found.prediction - found.baseline_prediction, atol=5e-3)
    assert "zero (no background was given)" in both.settings["baseline"]
    assert "no padding token is known" in both.settings["baseline"]


def test_embedding_bags_are_refused_with_what_to_do():
    model = nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 2))
    with pytest.raises(InputTypeError, match=r"nn\.EmbeddingBag.*nn\.Embedding and a sum"):
        pl.explain(model, torch.ones(3, 5).long())


# -- baselines -----------------------------------------------------------------------------------


def test_special_tokens_and_padding_stay_at_the_baseline(device):
    tokenizer = of_words(["good", "film"])
    model = made(lambda: bert(vocab_size=6), device)
    found = pl.explain(model, ["good film odd", "film"], tokenizer=tokenizer, steps=4)
    # [CLS] good film [UNK] [SEP]; an unknown word is a word.
    assert found.inputs["input_ids"].tolist() == [[2, 4, 5, 1, 3], [2, 5, 3, 0, 0]]
    assert found.baseline["input_ids"].tolist() == [[2, 0, 0, 0, 3], [2, 0, 3, 0, 0]]
    assert found.settings["baseline"] == (
        "the model's padding token (id 0) in place of the text, special tokens as they are"
    )
    assert (values_of(found)[:, 0] == 0).all()  # nothing changes there


def test_every_form_of_a_baseline_means_what_it_says(device):
    model, inputs = made(bert, device), batch(device)
    ids, table = inputs["input_ids"], model.bert.embeddings.word_embeddings
    one = {"target": 1, "steps": 8}

    def values(baseline):
        return values_of(pl.explain(model, inputs, baseline=baseline, **one))

    seven = torch.full_like(ids, 7)
    close(values(7), values(seven.cpu().numpy()))
    close(values(seven[:1]), values(seven))
    close(values(seven[0]), values(seven))
    close(values({"input_ids": 7}), values(seven))
    close(
        values(lambda given: {"input_ids": torch.full_like(given["input_ids"], 7)}), values(seven)
    )
    vectors = table(seven).detach()
    close(values(vectors.cpu().numpy().astype(float)), values(seven))
    close(values(vectors[0]), values(seven))
    zero = values("zero")
    close(values(torch.zeros_like(vectors)), zero)
    assert np.abs(zero - values(7)).max() > 1e-3
    said = pl.explain(model, inputs, baseline="zero", **one)
    assert said.settings["baseline"] == "zero in place of every token's vector"
    assert said.baseline is None


# -- targets of language models ------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DECODERS))
@pytest.mark.parametrize("left", [False, True])
def test_predicted_is_the_token_behind_the_last(name, left, device):
    model, inputs = made(DECODERS[name], device), batch(device, left=left)
    found = pl.explain(model, inputs, method="saliency")
    for i in range(4):
        row = inputs["input_ids"][i][inputs["attention_mask"][i].bool()][None]
        logits = model(row).logits[0, -1].detach()
        assert found.target[i] == int(logits.argmax())
        np.testing.assert_allclose(found.prediction[i], float(logits.max()), rtol=1e-4)
        assert found.target_name(i) == str(int(logits.argmax()))
    assert found.units == "logit"
    chance = pl.explain(model, inputs, method="saliency", output="probability", target=4)
    for i in range(4):
        row = inputs["input_ids"][i][inputs["attention_mask"][i].bool()][None]
        expected = float(model(row).logits[0, -1].detach().softmax(-1)[4])
        np.testing.assert_allclose(chance.prediction[i], expected, rtol=1e-4)
    assert chance.units == "probability"
    if left and name == "gpt2":
        assert found.settings["added"] == "position_ids: counted from each first token"


def test_tokens_to_explain_may_be_given_in_any_way(device):
    model, inputs = made(gpt2, device), batch(device)
    each = pl.explain(model, inputs, method="saliency", target=[3, 4, 5, 6])
    assert each.target.tolist() == [3, 4, 5, 6]
    several = pl.explain(model, inputs, method="saliency", target=[[4, 9]])
    assert several.target.tolist() == [[4, 9]] * 4
    assert several.axes["input_ids"] == ("sample", "target", "token")
    for k, target in enumerate((4, 9)):
        one = pl.explain(model, inputs, method="saliency", target=target)
        close(values_of(several)[:, k], values_of(one), 1e-5)
    close(values_of(each)[1:2], values_of(several)[1:2, 0], 1e-5)


@pytest.mark.parametrize("name", sorted(DECODERS))
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients"])
def test_each_token_is_explained_by_what_precedes_it(name, left, method, device):
    model, inputs = made(DECODERS[name], device), batch(device, left=left)
    options = {"steps": 8} if method == "integrated_gradients" else {}
    found = pl.explain(model, inputs, method=method, target=("tokens", 2), **options)
    values = values_of(found)
    assert values.shape == (4, 5, 7)
    assert found.axes["input_ids"] == ("sample", "target", "token")
    for i in range(4):
        kept = inputs["attention_mask"][i].bool().cpu().numpy()
        row = inputs["input_ids"][i : i + 1, kept]
        count = row.shape[1] - 2
        assert found.target[i].tolist() == row[0, 2:].tolist() + [-1] * (5 - count)
        assert found.target_names[i].tolist() == [*map(str, row[0, 2:].tolist())] + [""] * (5 - count)  # fmt: skip
        assert np.isnan(values[i, count:]).all()
        assert np.isnan(found.prediction[i, count:]).all()
        for k in range(count):
            token = int(row[0, k + 2])
            alone = pl.explain(
                model,
                row,
                method=method,
                target=lambda o, k=k, t=token: o.logits[:, k + 1, t],
                **options,
            )
            close(values[i, k][kept][None], alone.values)
            assert not values[i, k][kept][k + 2 :].any()  # to the bit: they are not seen
            assert not values[i, k][~kept].any()
            np.testing.assert_allclose(found.prediction[i, k], alone.prediction[0], rtol=1e-4)
    assert found.cost.backward == (8 if options else 1) * 20


def test_missing_targets_are_no_reason_for_a_warning(device, recwarn, tmp_path):
    found = pl.explain(made(gpt2, device), batch(device), target=("tokens", -3), tolerance=0.05)
    assert found.target.shape == (4, 3)
    found = pl.explain(made(gpt2, device), batch(device), target=("tokens", [6, 2, 3, 3]))
    assert found.target.tolist()[0][1:] == [-1, -1, -1]
    assert found.missing.tolist()[3] == [False, True, True, True]
    assert "nan" not in found.summary()
    assert not [w for w in recwarn if "NaN" in str(w.message)]
    again = pl.load(found.save(tmp_path / "matrix.safetensors"))
    np.testing.assert_array_equal(again.target_names, found.target_names)
    np.testing.assert_array_equal(values_of(again), values_of(found))
    frame = found[1].to_frame()
    assert set(frame["target_text"]) == set(found.target_names[1])


@pytest.mark.parametrize("name", sorted(DECODERS))
@pytest.mark.parametrize("left", [False, True])
def test_generated_tokens_are_those_of_generate(name, left, device):
    model, inputs = made(DECODERS[name], device), batch(device, left=left)
    found = pl.explain(model, inputs, target=("generated", 3), steps=8)
    for i in range(4):
        row = inputs["input_ids"][i][inputs["attention_mask"][i].bool()][None]
        written = model.generate(row, max_new_tokens=3, do_sample=False)
        new = written[0, row.shape[1] :]
        here = found.target[i] >= 0
        assert found.target[i][here].tolist() == new.tolist()
        alone = pl.explain(model, written, target=("tokens", row.shape[1]), steps=8)
        size = written.shape[1]
        close(values_of(found)[i, here][:, :size], alone.values[0])
        assert not values_of(found)[i, here][:, size:].any()
        assert found.inputs["input_ids"][i, :size].tolist() == written[0].tolist()
        assert found.inputs["attention_mask"][i].sum() == size


def test_a_text_ends_where_the_model_ends_it(device):
    """The token that is generated second becomes the one that ends a text."""
    model, inputs = made(gpt2, device), batch(device)
    free = pl.explain(model, inputs, method="saliency", target=("generated", 4))
    end = int(free.target[0, 1])
    model.generation_config.eos_token_id = end
    found = pl.explain(model, inputs, method="saliency", target=("generated", 4))
    for i in range(4):
        expected = free.target[i].tolist()
        if end in expected:
            cut = expected.index(end) + 1
            expected = expected[:cut] + [-1] * (4 - cut)
        assert found.target[i].tolist() == expected[: found.target.shape[1]]
    assert (found.tokens[0] != "").sum() == 7 + int((found.target[0] >= 0).sum())


@pytest.mark.parametrize("name", sorted(BOTH))
def test_decoders_are_explained_by_what_the_encoder_reads(name, device):
    model, inputs = made(BOTH[name], device), batch(device)
    found = pl.explain(model, inputs, target=("generated", 3), steps=8)
    written = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    new = written[:, 1:].cpu().numpy()
    there = found.target >= 0
    assert (found.target[there] == new[:, : found.target.shape[1]][there]).all()
    assert found.values["decoder_input_ids"] is None
    for k in range(found.target.shape[1]):
        rows = np.flatnonzero(there[:, k])
        given = {key: leaf[rows] for key, leaf in inputs.items()}
        given["decoder_input_ids"] = written[rows, : k + 1]
        tokens = torch.as_tensor(new[rows, k], device=device)
        alone = pl.explain(model, given, steps=8, target=tokens)
        close(values_of(found)[rows, k], values_of(alone))
    # What the decoder was given is attributed to where that is asked for.
    both = pl.explain(
        model, given, attribute=["input_ids", "decoder_input_ids"], tolerance=0.001, budget=4000
    )
    total = sum(both.values[key].sum(1) for key in ("input_ids", "decoder_input_ids"))
    np.testing.assert_allclose(total, both.prediction - both.baseline_prediction, atol=5e-3)


def test_models_that_cannot_generate_are_made_to(device):
    """Our own loop writes what `generate` does."""
    model = made(gpt2, device)
    ids = batch(device, rows=1)["input_ids"].expand(2, -1)
    bare = Bare(model)
    options = {"target": ("generated", 3), "steps": 6, "baseline": "zero"}
    found = pl.explain(bare, ids, **options)
    expected = pl.explain(model, {"input_ids": ids}, **options)
    assert found.target.tolist() == expected.target.tolist()
    close(found.values, values_of(expected), 1e-5)
    next_token = pl.explain(bare, ids, method="saliency")
    assert next_token.target.tolist() == expected.target[:, 0].tolist()


def test_labels_of_single_tokens(device):
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, num_labels=4,
    )  # fmt: skip
    model = made(lambda: transformers.BertForTokenClassification(config), device)
    inputs = batch(device, left=False)
    logits = model(**inputs).logits.detach().cpu().numpy()
    found = pl.explain(model, inputs, target=("position", 2), steps=8)
    assert found.target.tolist() == logits[:, 2].argmax(1).tolist()
    np.testing.assert_allclose(found.prediction, logits[:, 2].max(1), rtol=1e-4)
    names = ("none", "person", "place", "thing")
    last = pl.explain(
        model, inputs, method="saliency", target=("position", -1, "place"), class_names=names
    )
    expected = pl.explain(
        model, inputs, method="saliency",
        target=lambda o: o.logits[torch.arange(len(o.logits)), 6 - torch.arange(len(o.logits)), 2]
        if len(o.logits) == 4 else o.logits[torch.arange(2), 6 - torch.arange(2), 2],
    )  # fmt: skip
    close(values_of(last), values_of(expected), 1e-5)
    assert last.target_name(0) == "place"
    masked = made(lambda: transformers.BertForMaskedLM(config), device)
    word = pl.explain(masked, inputs, method="saliency", target=("position", 1))
    best = masked(**inputs).logits[:, 1].argmax(1)
    assert word.target_names[:, 0].tolist() == [str(i) for i in best.tolist()]
    with pytest.raises(ModelError, match=r"target=\('position', 3\)"):
        pl.explain(masked, inputs)


# -- what was learned is found ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def reviews():
    """A model that has learned which of eight words make a text good or bad, and its tokenizer."""
    words = {"bad": ["bad", "awful", "poor", "dull"], "good": ["good", "great", "fine", "lovely"]}
    rest = [f"word{i}" for i in range(40)]
    tokenizer = of_words([*words["bad"], *words["good"], *rest])
    chance = np.random.default_rng(0)

    def text(label):
        """Return a text, and the word that decides; none does in those that are neither."""
        found = chance.choice(rest, int(chance.integers(4, 9))).tolist()
        place = int(chance.integers(len(found)))
        if label in words:
            found[place] = str(chance.choice(words[label]))
        return " ".join(found), found[place]

    def loss(model):
        labels = chance.integers(3, size=32)
        texts = [text(("bad", "good", "neither")[label])[0] for label in labels]
        given = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
        return nn.functional.cross_entropy(model(**given).logits, torch.from_numpy(labels))

    size = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 1}
    model = trained(made(lambda: bert(**size), scaled=False), loss, 150)
    return (
        model,
        tokenizer,
        [("bad", *text("bad")) for _ in range(30)] + [("good", *text("good")) for _ in range(30)],
    )


def test_the_word_that_decides_has_the_largest_value(reviews, device):
    model, tokenizer, samples = reviews
    labels, texts, deciding = map(list, zip(*samples, strict=True))
    options = {"tokenizer": tokenizer, "class_names": ("bad", "good", "neither")}
    found = pl.explain(model.to(device), texts, **options)
    assert [found.target_name(i) for i in range(60)] == labels
    values = values_of(found)
    top = [found.tokens[i, values[i].argmax()] == word for i, word in enumerate(deciding)]
    assert np.mean(top) >= 0.9
    words = found.by_word(3)
    assert words.loc[words["value"].idxmax(), "word"] == deciding[3]
    assert words["word"].tolist() == ["[CLS]", *texts[3].split(), "[SEP]"]
    np.testing.assert_allclose(words["value"].sum(), values[3].sum(), rtol=1e-4)
    # Where the model is certain the slope may be downwards, but it is steepest there.
    slopes = values_of(pl.explain(model, texts, method="input_x_gradient", **options))
    top = [found.tokens[i, abs(slopes[i]).argmax()] == word for i, word in enumerate(deciding)]
    assert np.mean(top) >= 0.9


@pytest.fixture(scope="module")
def copies():
    """A model that has learned to write a text of four tokens once more."""

    def texts(count):
        text = torch.randint(5, 15, (count, 4))
        return torch.cat([text, torch.full((count, 1), 3), text], 1)

    def loss(model):
        given = texts(64)
        logits = model(given[:, :-1]).logits[:, 4:]
        return nn.functional.cross_entropy(logits.flatten(0, 1), given[:, 5:].flatten())

    quiet = {"attn_pdrop": 0, "resid_pdrop": 0, "embd_pdrop": 0}
    model = made(lambda: gpt2(vocab_size=15, n_embd=32, **quiet), scaled=False)
    model = trained(model, loss, 150, 5e-3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        return model, texts(20)


def test_what_is_copied_is_the_source_of_the_copy(copies, device):
    model, texts = copies
    prompt = texts[:, :5].to(device)
    found = pl.explain(
        model.to(device), {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)},
        target=("generated", 4), output="probability",
    )  # fmt: skip
    assert (found.target == texts[:, 5:].numpy()).mean() > 0.95
    values = values_of(found)
    assert values.shape == (20, 4, 9)
    assert (values.argmax(2) == np.arange(4)).mean() >= 0.9
    for k in range(4):
        assert not values[:, k, 5 + k :].any()


# -- tokenizers ------------------------------------------------------------------------------------


def test_texts_are_what_their_ids_are(device):
    tokenizer = of_words(["good", "film", "a"])
    model = made(lambda: bert(vocab_size=7), device)
    texts = ["a good film", "film", "good film a film"]
    given = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    expected = pl.explain(model, given.to(device), tokenizer=tokenizer, steps=6)
    assert expected.tokens[0].tolist() == ["[CLS]", "a", "good", "film", "[SEP]", ""]
    assert expected.words.tolist() == [
        [-1, 0, 1, 2, -1, -1], [-1, 0, -1, -1, -1, -1], [-1, 0, 1, 2, 3, -1],
    ]  # fmt: skip
    for same in (texts, tuple(texts), np.array(texts), pd.Series(texts)):
        found = pl.explain(model, same, tokenizer=tokenizer, steps=6)
        np.testing.assert_array_equal(values_of(found), values_of(expected))
        np.testing.assert_array_equal(found.words, expected.words)
    ids = {key: given[key].tolist() for key in given}  # which says nothing of words
    found = pl.explain(model, ids, tokenizer=tokenizer, steps=6)
    np.testing.assert_array_equal(found.words, expected.words)


def test_pairs_of_texts_are_told_apart(device):
    tokenizer = of_words(["good", "film"])
    model = made(lambda: bert(vocab_size=6), device)
    found = pl.explain(
        model, [("film", "good film"), ("film", "film")], tokenizer=tokenizer, steps=4
    )
    assert found.tokens[0].tolist() == ["[CLS]", "film", "[SEP]", "good", "film", "[SEP]"]
    assert found.words[0].tolist() == [-1, 0, -1, 1, 2, -1]
    assert found.inputs["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0]]


def test_models_of_ones_own_take_texts(device):
    tokenizer = of_words([f"word{i}" for i in range(VOCABULARY - 4)])
    model = made(Recurrent, device)
    found = pl.explain(model, ["word1 word2"], tokenizer=tokenizer, target=1, steps=4)
    assert found.inputs.tolist() == [[2, 5, 6, 3]]
    assert found.tokens.tolist() == [["[CLS]", "word1", "word2", "[SEP]"]]


SPELLED = {
    # the tokenizer, a text, what is shown of its tokens, the words they make up
    "pieces": (of_pieces, "playing the film!", ["[CLS]", "play", "ing", "the", "film", "!", "[SEP]"],
               [-1, 0, 0, 1, 2, 3, -1]),
    "bytes": (of_bytes, "the good \U0001f600 film", None, None),
    "sentences": (of_sentences, "the good film", None, None),
    "sentences that are not split": (lambda: of_sentences(split=False), "the good film", None, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPELLED)
@pytest.mark.parametrize("split", [True, False])
def test_tokens_read_as_their_text(kind, split, device):
    """With what a fast tokenizer says of words, and by the marks of the tokens alone."""
    make, text, tokens, words = SPELLED[kind]
    tokenizer = make()
    model = made(lambda: gpt2(vocab_size=len(tokenizer)), device)
    ids = tokenizer(text)["input_ids"]
    given = [text] if split else torch.tensor([ids], device=device)
    found = pl.explain(model, given, tokenizer=tokenizer, method="input_x_gradient")
    if tokens is not None:
        assert found.tokens[0].tolist() == tokens
        assert found.words[0].tolist() == words
    frame = found.by_word()
    expected = (
        text.split() if kind != "pieces" else ["[CLS]", "playing", "the", "film", "!", "[SEP]"]
    )
    assert frame["word"].tolist() == expected
    values = values_of(found)[0] if split else found.values[0]
    np.testing.assert_allclose(frame["value"].sum(), values.sum(), rtol=1e-4)
    if kind != "pieces":
        joined = "".join(found.tokens[0]).replace("\N{REPLACEMENT CHARACTER}", "").strip()
        assert " ".join(joined.split()) == text
    if kind == "bytes":
        assert "\U0001f600" in "".join(found.tokens[0])
        assert (found.tokens[0] == "\N{REPLACEMENT CHARACTER}").sum() >= 1
    # The word's value is that of its tokens.
    first = found.words[0] == 0
    np.testing.assert_allclose(
        frame["value"][frame["word"] == expected[kind == "pieces"]].iloc[0],
        values[first].sum(),
        rtol=1e-4,
    )


@pytest.mark.parametrize("make", [of_bytes, of_sentences])
def test_generated_tokens_are_named(make, device):
    tokenizer = make()
    size = len(tokenizer)
    model = made(lambda: gpt2(vocab_size=size, eos_token_id=None, bos_token_id=None), device)
    texts = ["the film was good", "a good film"]
    found = pl.explain(model, texts, tokenizer=tokenizer, target=("generated", 4), steps=4)
    assert found.target_names.shape == (2, 4)
    names = tokenizer.convert_ids_to_tokens(found.target[0].tolist())
    for name, text in zip(names, found.target_names[0], strict=True):
        clean = name.replace("\u0120", " ").replace("\u2581", " ")
        assert text in (clean, "\N{REPLACEMENT CHARACTER}", name)
    frame = found.by_word(1)
    assert list(frame.columns) == ["target", "word", "value"]
    assert frame["word"].tolist()[:2] == ["a", "good"]
    assert frame["word"][2].startswith("film")  # what is generated may go on with the word
    per_target = frame["value"].to_numpy().reshape(4, -1).sum(1)
    np.testing.assert_allclose(
        per_target, np.nansum(values_of(found)[1], axis=1), rtol=1e-3, atol=1e-5
    )
    word = tokenizer.encode(" good")  # one token of either tokenizer
    one = pl.explain(model, texts, tokenizer=tokenizer, target=" good", steps=4)
    assert one.target.tolist() == word * 2
    assert one.target_name(1) == " good"


def test_tokenizers_that_only_name_ids_are_enough(device):
    class Plain:
        all_special_ids = (0,)

        def convert_ids_to_tokens(self, ids):
            return [f"t{i}" for i in ids]

    found = pl.explain(
        made(bert, device), batch(device), tokenizer=Plain(), method="input_x_gradient"
    )
    assert found.tokens[0, 0] == f"t{int(batch()['input_ids'][0, 0])}"
    assert found.words[0].tolist() == list(range(7))


# -- what cannot be ----------------------------------------------------------------------------------

WORDS = of_words(["good", "film"])
IDS = batch()
BAD = {
    "ids out of the vocabulary": (bert, {"input_ids": torch.full((3, 4), 61)}, {},
                                  InputError, ["61", "60 rows, 0 to 59"]),
    "ids out of the vocabulary in a later row": (
        bert, {"input_ids": torch.tensor([[3], [3], [3], [77]])}, {},
        InputError, ["input 'input_ids' has the id 77 at sample 3, token 0", "tokenizer that of the model"]),
    "negative ids": (bert, {"input_ids": torch.full((3, 4), -100)}, {}, InputError, ["-100"]),
    "a mask of another shape": (
        bert, {"input_ids": IDS["input_ids"], "attention_mask": IDS["attention_mask"][:, :5]}, {},
        InputError, ["'attention_mask' has shape (4, 5)", "(4, 7)"]),
    "a mask of another shape by position": (
        bert, (IDS["input_ids"], IDS["attention_mask"][:, :5]), {}, InputError, ["(4, 5)", "(4, 7)"]),
    "a row without tokens": (
        bert, {"input_ids": IDS["input_ids"], "attention_mask": IDS["attention_mask"] * torch.tensor([[1], [1], [0], [1]])},
        {}, InputError, ["zero everywhere in sample 2"]),
    "texts without a tokenizer": (bert, ["good film"], {}, InputTypeError, ["give tokenizer="]),
    "one text": (bert, "good film", {"tokenizer": WORDS}, InputError, ["[text]"]),
    "a tokenizer that is none": (bert, IDS, {"tokenizer": "bert-base"}, InputTypeError,
                                 ["tokenizer is a str", "AutoTokenizer"]),
    "no padding token": (lambda: gpt2(vocab_size=300), ["good film", "film"], {"tokenizer": of_bytes(padding=False)},
                         InputError, ["no padding token", "tokenizer.pad_token = tokenizer.eos_token"]),
    "an empty text": (lambda: gpt2(vocab_size=300), ["good film", ""], {"tokenizer": of_bytes()},
                      InputError, ["text 1 has no tokens"]),
    "a text that is too long": (bert, {"input_ids": torch.ones(2, 41).long()}, {},
                                InputError, ["41 tokens", "40 positions", "truncation=True"]),
    "no token before the first": (gpt2, IDS, {"target": ("tokens", 0)}, InputError,
                                  ["('tokens', 0)", "sample 0 has 7 tokens", "from 1 to 6"]),
    "a start behind the end": (gpt2, IDS, {"target": ("tokens", 6)}, InputError, ["sample 1 has 6 tokens"]),
    "a start for each of other rows": (gpt2, IDS, {"target": ("tokens", [1, 2])}, InputError, ["2 positions", "4"]),
    "half a start": (gpt2, IDS, {"target": ("tokens", 1.5)}, InputTypeError, ["1.5", "whole number"]),
    "no start": (gpt2, IDS, {"target": ("tokens",)}, InputError, ["('tokens', start)"]),
    "nothing generated": (gpt2, IDS, {"target": ("generated", 0)}, InputError, ["from 1"]),
    "generated by a classifier": (bert, IDS, {"target": ("generated", 3)}, ModelError, ["shape (2, 3)"]),
    "a position out of range": (gpt2, IDS, {"target": ("position", 5)}, InputError, ["sample 2 has 5 tokens"]),
    "all tokens": (gpt2, IDS, {"target": "all"}, InputError, ["60 classes", "[[17, 4]]"]),
    "a token out of range": (gpt2, IDS, {"target": 60}, InputError, ["target 60", "0 to 59"]),
    "a token's text without a tokenizer": (gpt2, IDS, {"target": "good"}, InputError, ["give tokenizer="]),
    "a text of several tokens": (lambda: gpt2(vocab_size=300), ["a film"], {"target": "good good", "tokenizer": of_bytes()},
                                 InputError, ["not one token"]),
    "too few targets": (gpt2, IDS, {"target": [1, 2]}, InputError, ["(2,)", "4 samples"]),
    "something that would have to grow": (
        gpt2, {**IDS, "token_type_ids": torch.ones_like(IDS["input_ids"])}, {"target": ("generated", 2)},
        InputError, ["'token_type_ids' would have to grow", "target=('tokens', start)"]),
    "an embedding that looks up two inputs": (
        gpt2, {**IDS, "token_type_ids": torch.ones_like(IDS["input_ids"])}, {}, InputTypeError, ["once"]),
    "a baseline of another shape": (bert, IDS, {"baseline": torch.ones(4, 3).long()}, InputError,
                                    ["(4, 3)", "(4, 7)", "last axis of 16"]),
    "a baseline out of the vocabulary": (bert, IDS, {"baseline": 60}, InputError, ["60", "0 to 59"]),
    "half a token as the baseline": (bert, IDS, {"baseline": 0.5}, InputTypeError, ["0.5", "token's id"]),
    "a background of tokens": (bert, IDS, {"background": IDS}, InputError, ["tokens", "no mean"]),
    "a probability of probabilities": (
        lambda: nn.Sequential(nn.Embedding(60, 60), nn.Softmax(-1)), IDS["input_ids"], {"output": "probability"},
        InputError, ["probabilities already"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_said_before_the_work_starts(case, device):
    make, inputs, options, kind, words = BAD[case]
    model = made(make, device)
    with pytest.raises(kind) as caught:
        pl.explain(model, inputs, **options)
    for word in words:
        assert word in str(caught.value)


def test_layers_may_have_the_names_of_targets(device):
    model = nn.Sequential()
    model.add_module("tokens", mlp())
    x = torch.randn(3, 6)
    found = pl.explain(model, x, target=("tokens", 1), method="saliency")
    np.testing.assert_array_equal(
        found.values, pl.explain(model, x, target=1, method="saliency").values
    )
