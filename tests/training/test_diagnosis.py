"""What is found in real trainings that are ill, and not found in healthy ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ill_runs import trained

from pellucid.errors import InputTypeError
from pellucid.interpret.results import Event, Run, Watched
from pellucid.interpret.results.diagnosis import SEVERITIES
from pellucid.interpret.training import metric_names
from pellucid.interpret.training.checks import case as preparing
from pellucid.interpret.training.diagnosis import CHECKS, diagnose

HEALTHY = ["healthy_mlp", "healthy_cnn", "healthy_norm", "healthy_transformer"]
# What each training was made to have, how bad that is at least, and in which layer.
ILL = {
    "vanishing": ("vanishing gradients", "problem", "0"),
    "exploding_depth": ("exploding gradients", "problem", None),
    "exploding_recurrent": ("exploding gradients", "problem", "rnn"),
    "rate_too_high": ("update ratio too high", "warning", None),
    "rate_too_low": ("update ratio too low", "warning", None),
    "rate_zero": ("learning rate zero", "problem", None),
    "frozen": ("layers that do not learn", "note", "2"),
    "detached": ("layers that do not learn", "warning", "body"),
    "dead_biases": ("dead units", "problem", "3"),
    "dead_by_rate": ("dead units", "problem", None),
    "saturated": ("saturated units", "warning", None),
    "diverging": ("divergence", "problem", None),
    "not_finite": ("not finite", "problem", None),
    "spiking": ("loss spikes", "warning", None),
    "over_fitting": ("over-fitting", "warning", None),
    "plateau": ("plateau", "warning", None),
    "shuffled_labels": ("label trouble", "problem", None),
    "nothing_to_learn": ("label trouble", "problem", None),
    "contained": ("data leak", "warning", None),
    "target_as_feature": ("data leak", "warning", None),
    "sorted_batches": ("data order", "warning", None),
}


def kinds(diagnosis, *severities):
    return {f.kind for f in diagnosis.findings if f.severity in (severities or SEVERITIES)}


def finding(diagnosis, kind):
    return next(f for f in diagnosis.findings if f.kind == kind)


def run_of(loss, **metrics):
    tracks = {"loss": loss, **metrics}
    return Run(
        metrics={n: (np.arange(len(v)), np.asarray(v, dtype=float)) for n, v in tracks.items()}
    )


# -- trainings -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_is_silent(name):
    diagnosis = diagnose(trained(name))
    assert kinds(diagnosis, "problem", "warning") == set(), diagnosis
    assert {"vanishing gradients", "plateau", "over-fitting"} <= set(diagnosis.healthy)


@pytest.mark.parametrize("name", ILL)
def test_an_illness_is_found_where_it_is(name):
    kind, severity, layer = ILL[name]
    diagnosis = diagnose(trained(name))
    found = finding(diagnosis, kind)
    assert SEVERITIES.index(found.severity) <= SEVERITIES.index(severity)
    assert layer is None or found.layer == layer
    assert kind not in diagnosis.healthy
    assert any(character.isdigit() for character in found.sentence)
    assert all(len(steps) for steps, _ in found.evidence.values())
    assert found.evidence


def test_every_illness_has_a_training():
    assert {kind for kind, _, _ in ILL.values()} | {"constant metric"} == set(CHECKS)


def test_steps_are_those_at_which_it_was_done():
    # The learning rate rose at step 65, the weights at step 50; batch 39, 79, ... was broken.
    assert 55 <= finding(diagnose(trained("diverging")), "divergence").step <= 70
    assert 50 <= finding(diagnose(trained("not_finite")), "not finite").step <= 53
    assert finding(diagnose(trained("spiking")), "loss spikes").step % 40 == 38
    assert 15 <= finding(diagnose(trained("plateau")), "plateau").step <= 60


def test_the_lost_gradient_is_that_of_the_records():
    run = trained("vanishing")
    norms = [np.median(run.layers[str(k)]["weight.gradient.norm"][1]) for k in range(0, 16, 2)]
    assert norms[0] < 1e-3 * max(norms[1:])
    sentence = finding(diagnose(run), "vanishing gradients").sentence
    said = float(sentence.split("is ")[1].split(" times")[0].replace(",", ""))
    assert said == pytest.approx(max(norms[1:]) / norms[0], rel=0.5)


def test_causes_explain_the_level_of_guessing():
    # The loss stays at log 10 for a reason that is found, so the labels are not blamed.
    for name in ("rate_zero", "vanishing", "dead_biases", "rate_too_low"):
        assert "label trouble" not in kinds(diagnose(trained(name)))


def test_scalars_alone_are_enough_for_the_losses():
    run = trained("over_fitting")
    alone = Run(metrics={"train/loss": run.metrics["loss"], "eval_loss": run.metrics["val_loss"]})
    diagnosis = diagnose(alone)
    found = finding(diagnosis, "over-fitting")
    assert found.step == finding(diagnose(run), "over-fitting").step
    assert set(found.evidence) == {"train/loss", "eval_loss"}
    assert "no gradients" in diagnosis.unknown["vanishing gradients"]
    assert "dead units" in diagnosis.unknown


def test_the_worst_comes_first():
    diagnosis = diagnose(trained("diverging"))
    order = [(SEVERITIES.index(f.severity), f.step) for f in diagnosis.findings]
    assert order == sorted(order)
    assert len(order) > 2


# -- closed forms ----------------------------------------------------------------------------


def test_guessing_costs_log_k():
    noise = 1e-3 * np.random.default_rng(0).normal(size=60)
    for count in (2, 3, 7, 10):
        found = finding(diagnose(run_of(np.log(count) + noise)), "label trouble")
        assert f"among {count} classes" in found.sentence
    watched = {"prediction": Watched(np.arange(2), np.zeros((2, 4, 37)))}
    loss = run_of(np.log(37) + noise).metrics
    found = finding(diagnose(Run(metrics=loss, watched=watched)), "label trouble")
    assert "among 37 classes" in found.sentence
    # A loss below that level has learnt something.
    below = run_of(0.9 * np.log(37) + noise).metrics
    assert "label trouble" not in kinds(diagnose(Run(metrics=below, watched=watched)))


def test_over_fitting_begins_at_the_minimum():
    steps = np.arange(60)
    held = 0.5 + ((steps - 20) / 40) ** 2
    diagnosis = diagnose(run_of(2 * np.exp(-steps / 15), val_loss=held))
    assert abs(finding(diagnosis, "over-fitting").step - 20) <= 2
    # While the training loss rises as well, it is no over-fitting.
    assert "over-fitting" not in kinds(diagnose(run_of(held, val_loss=held)))


def test_one_high_value_is_a_spike_and_a_step_is_none():
    noise = 0.01 * np.random.default_rng(0).normal(size=200)
    fall = 2 - np.linspace(0, 1, 200) + noise
    high = fall.copy()
    high[120] += 5
    found = finding(diagnose(run_of(high)), "loss spikes")
    assert found.step == 120
    assert found.severity == "warning"
    assert kinds(diagnose(run_of(fall))) == set()
    lower = fall.copy()
    lower[:50] += 1
    assert "loss spikes" not in kinds(diagnose(run_of(lower)))


def test_a_dead_output_layer_of_a_classifier_may_be_sure():
    steps = np.arange(40)
    saturated = {"output.saturated": (steps, np.full(40, 0.95))}
    weight = {"weight.norm": (steps, np.ones(40))}
    layers = {"fc": weight, "sigmoid": saturated}
    sure = diagnose(Run(metrics=run_of(np.exp(-steps / 9)).metrics, layers=layers))
    assert "saturated units" in sure.healthy
    hidden = {"fc": weight, "sigmoid": saturated, "last": weight}
    found = diagnose(Run(metrics=run_of(np.exp(-steps / 9)).metrics, layers=hidden))
    assert finding(found, "saturated units").layer == "sigmoid"


def test_several_layers_are_one_finding_that_names_the_worst():
    steps = np.arange(30)
    dead = {f"relu{k}": {"output.dead": (steps, np.full(30, 0.4 + 0.1 * k))} for k in range(5)}
    diagnosis = diagnose(Run(metrics=run_of(np.exp(-steps / 9)).metrics, layers=dead))
    found = finding(diagnosis, "dead units")
    assert len([f for f in diagnosis.findings if f.kind == "dead units"]) == 1
    assert found.layer == "relu4"
    assert found.severity == "warning"
    assert "80 %" in found.sentence
    assert "4 more layers" in found.sentence


def test_weights_that_begin_at_zero_may_change_much_at_first():
    steps = np.arange(40)
    ratio = 1 / np.maximum(steps, 0.1)
    for first in (np.inf, np.nan):
        ratio[0] = first
        layers = {"head": {"weight.update_ratio": (steps, ratio)}}
        run = Run(metrics=run_of(np.exp(-steps / 9)).metrics, layers=layers)
        assert "update ratio too high" in diagnose(run).healthy
    ratio[0] = 2.0
    assert "update ratio too high" in kinds(diagnose(run))


def test_what_is_not_finite_is_told_with_its_layer():
    loss = np.exp(-np.arange(40) / 9)
    loss[30:] = np.nan
    events = (Event(31.0, "not finite", "conv<1>", "3 of 9 values are NaN."),)
    found = diagnose(Run(metrics=run_of(loss).metrics, events=events)).findings[0]
    assert (found.kind, found.severity, found.step, found.layer) == (
        "not finite", "problem", 30.0, "conv<1>",
    )  # fmt: skip
    assert found.sentence.startswith("At step 31: 3 of 9 values are NaN; loss is not finite from")
    loss[31:] = 0.1
    assert diagnose(run_of(loss)).findings[0].severity == "warning"
    assert "recovers" in diagnose(run_of(loss)).findings[0].sentence


def test_a_perfect_held_out_accuracy_is_a_note():
    steps = np.arange(100)
    loss, held = np.exp(-steps / 15), 0.1 + np.exp(-steps / 15)
    diagnosis = diagnose(run_of(loss, val_loss=held, val_accuracy=np.ones(100)))
    assert finding(diagnosis, "data leak").severity == "note"
    assert kinds(diagnosis, "problem", "warning") == set()


def test_a_metric_that_never_changes_is_named():
    steps = np.arange(100)
    diagnosis = diagnose(run_of(np.exp(-steps / 15), val_accuracy=np.full(100, 0.1)))
    assert "val_accuracy" in finding(diagnosis, "constant metric").sentence
    rate = diagnose(run_of(np.exp(-steps / 15), learning_rate=np.full(100, 0.1)))
    assert "constant metric" not in kinds(rate)


def test_agreement_of_epochs_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    from pellucid.interpret.training.checks.data import _agreement

    ranks = np.array([np.random.default_rng(k).permutation(12) for k in range(6)])
    w, _ = _agreement(ranks)
    statistic = stats.friedmanchisquare(*ranks.T).statistic
    assert w == pytest.approx(statistic / (6 * 11))


# -- anything --------------------------------------------------------------------------------

NAMES = ["loss", "val_loss", "train/acc", "eval_accuracy", "lr", "epoch", "other", ""]
STATISTICS = ["weight.norm", "weight.gradient.norm", "weight.update_ratio", "output.dead",
              "output.saturated", "output.mean", "bias.gradient.norm"]  # fmt: skip
anything = st.floats(width=64) | st.sampled_from([0.0, 1.0, 0.1, np.nan, np.inf, 1e-300, 1e300])


@st.composite
def tracks(draw):
    length = draw(st.sampled_from([0, 1, 2, 3, 5, 8, 20, 60]))
    steps = draw(arrays(np.float64, length, elements=anything))
    if draw(st.booleans()):
        steps = np.arange(length)
    return steps, draw(arrays(np.float64, length, elements=anything))


@st.composite
def runs(draw):
    layers = st.dictionaries(
        st.sampled_from(["", "a", "b.c", "d"]),
        st.dictionaries(st.sampled_from(STATISTICS), tracks(), max_size=5),
        max_size=4,
    )
    events = st.lists(
        st.builds(Event, st.floats(0, 99), st.just("not finite"), st.none() | st.just("a"),
                  st.text()), max_size=2,
    )  # fmt: skip
    metrics = st.dictionaries(st.sampled_from(NAMES), tracks(), max_size=6)
    return Run(metrics=draw(metrics), layers=draw(layers), events=tuple(draw(events)))


@settings(max_examples=100)
@given(runs())
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value", "ignore:divide by zero")
def test_any_run_is_diagnosed(run):
    diagnosis = diagnose(run)
    judged = [*kinds(diagnosis), *diagnosis.healthy, *diagnosis.unknown]
    assert sorted(judged) == sorted(CHECKS)
    assert all(diagnosis.unknown.values())
    for found in diagnosis.findings:
        assert found.severity in SEVERITIES
        assert found.step is None or np.isfinite(found.step)
        assert found.sentence.endswith(".")
        assert found.advice


SCALED = ["diverging", "over_fitting", "plateau", "spiking", "sorted_batches", "healthy_mlp"]


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("factor", [1e-3, 300.0])
def test_the_unit_of_a_loss_does_not_matter(name, factor):
    run = trained(name)
    losses = ("loss", "val_loss")
    scaled = {n: (s, v * factor if n in losses else v) for n, (s, v) in run.metrics.items()}
    here, there = diagnose(run), diagnose(Run(metrics=scaled, layers=run.layers))
    # What guessing costs is a level by itself.
    pairs = [
        [(f.kind, f.severity, f.step) for f in each.findings if f.kind != "label trouble"]
        for each in (here, there)
    ]
    assert pairs[0] == pairs[1]


@settings(max_examples=60)
@given(st.permutations(range(30)), st.integers(0, 5))
def test_neither_order_nor_repeats_of_records_matter(order, twice):
    loss = np.exp(-np.arange(30) / 5)
    curve = preparing.Curve.of("loss", (np.array(order), loss[order]))
    np.testing.assert_array_equal(curve.values, loss)
    again = preparing.Curve.of("loss", (np.r_[order, twice], np.r_[loss[order], 7.0]))
    assert again.at(twice) == 7.0
    assert len(again) == 30


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-9, 9)), st.integers(1, 9))
def test_a_running_median_is_that_of_each_window(values, window):
    found = preparing.running_median(values, window)
    half = window // 2
    for k in range(half, len(values) - half):
        assert found[k] == np.median(values[k - half : k + half + 1])
    assert len(found) == len(values)


def test_few_values_are_not_judged():
    diagnosis = diagnose(run_of([3.0, 2.0, 1.0], val_loss=[3.0, 2.0]))
    assert kinds(diagnosis) == set()
    assert "only 3 finite values of loss" in diagnosis.unknown["divergence"]
    assert diagnose(Run(metrics={})).unknown["plateau"] == "no training loss was recorded"


def test_only_a_run_is_diagnosed():
    with pytest.raises(InputTypeError, match="takes a Run, but was given a dict"):
        diagnose({"loss": [1, 2]})


# -- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "quantity", "part"),
    [
        ("loss", "loss", "training"),
        ("train/loss", "loss", "training"),
        ("loss/train", "loss", "training"),
        ("train_loss_epoch", "loss", "training"),
        ("trainLoss", "loss", "training"),
        ("epoch_loss", "loss", "training"),
        ("val_loss", "loss", "held out"),
        ("valloss", "loss", "held out"),
        ("eval_loss", "loss", "held out"),
        ("Loss/validation", "loss", "held out"),
        ("valid_0-multi_logloss", "loss", "held out"),
        ("cross_entropy", "loss", "training"),
        ("acc", "accuracy", "training"),
        ("acc@1", "accuracy", "training"),
        ("sparse_categorical_accuracy", "accuracy", "training"),
        ("val/top1", "accuracy", "held out"),
        ("test_f1", "score", "held out"),
        ("learning_rate/0", "learning rate", "training"),
        ("lr-Adam", "learning rate", "training"),
        ("epoch", "counter", "training"),
        ("train/global_step", "counter", "training"),
        ("grad_norm", "other", "training"),
        ("samples_per_second", "other", "training"),
    ],
)
def test_names_say_what_is_measured(name, quantity, part):
    what = metric_names.meaning(name)
    assert (what.quantity, what.part) == (quantity, part)


@given(st.text())
def test_any_name_means_something(name):
    assert metric_names.meaning(name).part in (metric_names.TRAINING, metric_names.HELD_OUT)


def test_the_plain_loss_is_the_loss():
    names = ["train/kl_loss", "train/mse", "train/loss", "val/kl_loss", "val/loss", "accuracy"]
    assert metric_names.named(names, "loss", "training")[0] == "train/loss"
    assert metric_names.named(names, "loss", "held out")[0] == "val/loss"
    assert metric_names.pairs([*names, "val_acc"]) == [
        ("train/loss", "val/loss"),
        ("train/kl_loss", "val/kl_loss"),
        ("accuracy", "val_acc"),
    ]
