"""Class activation maps against pytorch-grad-cam, Captum, and closed forms."""

import importlib
import os
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from memory import peak_bytes
from small_models import Fails, cnn, mlp, with_running_statistics
from state import changes, state_of
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import pellucid as pl
from pellucid.errors import InputError, ModelError
from pellucid.interpret import attributing
from pellucid.interpret.attribution.registry import registered

PEERS = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "layer_cam": "LayerCAM",
    "hires_cam": "HiResCAM",
    "xgrad_cam": "XGradCAM",
    "score_cam": "ScoreCAM",
    "eigen_cam": "EigenCAM",
}
MAPS = sorted(name for name, one in registered().items() if one.where == "map")
every_map = pytest.mark.parametrize("method", MAPS)


# -- models, of pictures that are not square ---------------------------------------------------


def batch_norm_cnn():
    return with_running_statistics(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        )  # fmt: skip
    )


class Residual(nn.Module):
    """One in-place ReLU for all, as torchvision's blocks have it."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(after), nn.BatchNorm2d(after)])
        self.short = nn.Conv2d(before, after, 1, stride, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        inner = self.relu(self.norms[0](self.first(x)))
        return self.relu(self.norms[1](self.second(inner)) + self.short(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.blocks = nn.Sequential(
            Residual(6, 8, 1), Residual(8, 8, 1), Residual(8, 12, 2), Residual(12, 12, 1)
        )
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 5)
        with_running_statistics(self)

    def forward(self, x):
        return self.head(self.pool(self.blocks(self.stem(x).relu())).flatten(1))


class ViT(nn.Module):
    """Patches of 4 x 4, a class token in front, two blocks, the head at the class token."""

    def __init__(self, tokens):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.where = nn.Parameter(torch.randn(1, tokens, 8))
        self.blocks = nn.Sequential(*(
            nn.TransformerEncoderLayer(8, 2, 16, 0, batch_first=True, norm_first=True)
            for _ in range(2)
        ))  # fmt: skip
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(x), -1, -1), patches], 1) + self.where
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Attention(nn.Module):
    """A text model whose attention weights go through a module: 4-D, but no picture."""

    def __init__(self):
        super().__init__()
        self.words, self.drop, self.head = nn.Embedding(9, 8), nn.Dropout(0.1), nn.Linear(8, 3)

    def forward(self, ids):
        x = self.words(ids)
        heads = x.unflatten(-1, (2, 4)).transpose(1, 2)
        weights = self.drop((heads @ heads.transpose(-1, -2)).softmax(-1))
        return self.head((weights @ heads).transpose(1, 2).flatten(2)).mean(1)


def made(make, device, *arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(*arguments).eval().to(device)


def pictures(n, device, *size):
    return torch.randn(n, 3, *(size or (20, 14)), generator=torch.Generator().manual_seed(1)).to(
        device
    )


# -- pytorch-grad-cam ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def peer():
    """pytorch-grad-cam. It imports torchvision, which it uses for nothing that we compare.

    PyPI's torchvision cannot be imported beside a torch without CUDA, so it gets a stand-in.
    """
    load = importlib.import_module if os.environ.get("CI") else pytest.importorskip
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            stand_in = ModuleType(name)
            for used in ("Compose", "Normalize", "ToTensor", "resize"):
                setattr(stand_in, used, None)
            patch.setitem(sys.modules, name, stand_in)
        return load("pytorch_grad_cam")


class Peer:
    """What pytorch-grad-cam returns, and the maps before it scales them."""

    def __init__(self, peer, method, model, layer, **options):
        self.cam = getattr(peer, PEERS[method])(model, [model.get_submodule(layer)], **options)
        self.image, self.cam.get_cam_image = self.cam.get_cam_image, self.keep
        self.scale = peer.utils.image.scale_cam_image

    def keep(self, *arguments):
        self.raw = self.image(*arguments)
        return self.raw

    def __call__(self, x, targets):
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with self.cam:
            final = self.cam(x, [ClassifierOutputTarget(int(t)) for t in targets])
        return self.raw, final

    def processed(self, values, size):
        """Scale maps as it does: to 0 to 1, to the picture's size, to 0 to 1."""
        values = np.maximum(values, 0)
        return self.scale(np.maximum(self.scale(values, size[::-1]), 0))


def assert_same(found, expected, tolerance=1e-4):
    scale = np.abs(expected).reshape(len(expected), -1).max(1)
    apart = np.abs(found - expected).reshape(len(expected), -1).max(1)
    assert found.shape == expected.shape
    assert (scale > 0).any()  # some map is all negative, and nothing behind a ReLU
    assert (apart <= tolerance * scale).all(), (apart, scale)


@pytest.mark.parametrize("layer", ["behind a ReLU", "in front of it"])
@pytest.mark.parametrize("make", [batch_norm_cnn, ResNet])
@every_map
def test_maps_are_those_of_pytorch_grad_cam(method, make, layer, peer, device):
    model, x = made(make, device), pictures(4, device)
    names = {batch_norm_cnn: ("6", "4"), ResNet: ("blocks.3", "blocks.1.first")}[make]
    name = names[layer == "in front of it"]
    targets = [0, 4, 2, 4]
    raw, final = (theirs := Peer(peer, method, model, name))(x, targets)
    found = pl.explain(model, x, method=method, target=targets, at=name, relu=False).values
    positive = pl.explain(model, x, method=method, target=targets, at=name, relu=True).values
    if method == "eigen_cam":  # LAPACK's sign is any; theirs with a rule for it is elsewhere below
        signs = np.sign((found * raw).sum((1, 2), keepdims=True))
        assert_same(found, raw * signs)
        assert_same(positive, np.maximum(raw * signs, 0))
        final = theirs.processed(raw * signs, (20, 14))
    else:
        assert_same(found, raw)
        np.testing.assert_array_equal(positive, np.maximum(found, 0))
    assert_same(theirs.processed(positive, (20, 14)), final)


@every_map
def test_each_of_several_targets_is_that_of_pytorch_grad_cam(method, peer, device):
    model, x = made(ResNet, device), pictures(3, device)
    found = pl.explain(model, x, method=method, target="all", at="blocks.1", relu=False)
    assert found.values.shape == (3, 5, 10, 7)
    assert found.axes == ("sample", "target", "row", "column")
    for target in range(5):
        raw, _ = Peer(peer, method, model, "blocks.1")(x, [target] * 3)
        here = found.values[:, target]
        if method == "eigen_cam":
            raw = raw * np.sign((here * raw).sum((1, 2), keepdims=True))
        assert_same(here, raw)


def test_sign_of_the_component_follows_the_rule_of_pytorch_grad_cam(peer, device):
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction

    model, x = made(ResNet, device), pictures(16, device)
    found = pl.explain(model, x, method="eigen_cam", at="blocks.1.norms.1", target=0)
    with torch.no_grad():
        held = []
        handle = (
            model.blocks[1].norms[1].register_forward_hook(lambda *a: held.append(a[2].clone()))
        )
        model(x)
        handle.remove()
    expected = get_2d_projection_with_sign_correction(held[0].cpu().numpy())
    assert_same(found.values, expected)
    # Some components came out turned: the rule had something to do.
    plain = peer.utils.svd_on_activations.get_2d_projection(held[0].cpu().numpy())
    assert ((plain * expected).sum((1, 2)) < 0).any()


@pytest.mark.parametrize("method", [m for m in MAPS if m != "eigen_cam"])
def test_tokens_of_a_vision_transformer_are_those_of_pytorch_grad_cam(method, peer, device):
    model, x = made(ViT, device, 1 + 15), pictures(3, device, 20, 12)

    def transform(tokens):
        return tokens[:, 1:].reshape(len(tokens), 5, 3, 8).permute(0, 3, 1, 2)

    name = "blocks.1.norm1"
    torch.backends.mha.set_fastpath_enabled(False)  # it would pass by the layer's hook
    try:
        raw, _ = Peer(peer, method, model, name, reshape_transform=transform)(x, [3, 1, 0])
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    found = pl.explain(model, x, method=method, target=[3, 1, 0], at=name, relu=False)
    assert_same(found.values, raw)
    assert found.values.shape == (3, 5, 3)
    assert found.axes == ("sample", "row", "column")
    assert found.settings["grid"] == (5, 3)
    assert found.settings["skip"] == 1
    for options in ({"grid": (5, 3)}, {"grid": [5, 3], "skip": 1}, {"skip": 1}):
        again = pl.explain(
            model, x, method=method, target=[3, 1, 0], at=name, relu=False, **options
        )
        np.testing.assert_array_equal(again.values, found.values)


# -- Captum, and closed forms --------------------------------------------------------------------


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("layer", ["stem", "blocks.0", "blocks.3"])
def test_grad_cam_is_captums(layer, relu, device):
    from captum.attr import LayerGradCam

    model, x = made(ResNet, device), pictures(4, device)
    target = torch.tensor([0, 3, 1, 1], device=device)
    expected = LayerGradCam(model, model.get_submodule(layer)).attribute(
        x, target, relu_attributions=relu
    )
    found = pl.explain(model, x, method="grad_cam", target=target, at=layer, relu=relu)
    assert_same(found.values, expected[:, 0].detach().cpu().numpy(), 1e-5)


def test_hires_cam_adds_up_to_the_logit_less_the_bias_in_front_of_one_linear_layer(device):
    model = made(cnn, device)
    x = torch.randn(5, 1, 6, 6, device=device)
    found = pl.explain(model, x, method="hires_cam", target="all")
    assert found.at == "4"
    assert found.values.shape == (5, 4, 3, 3)
    bias = model[6].bias.detach().cpu().numpy()
    np.testing.assert_allclose(
        found.values.sum((2, 3)), found.prediction - bias, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "xgrad_cam"])
def test_cam_behind_a_global_average_is_the_heads_weights_times_the_channels(method, device):
    """Zhou et al. 2016, of which these are generalisations."""
    model, x = made(batch_norm_cnn, device), pictures(4, device)
    found = pl.explain(model, x, method=method, target="all", relu=False)
    with torch.no_grad():
        channels = model[:7](x)
        expected = torch.einsum("tc,nchw->nthw", model[9].weight, channels) / channels[0, 0].numel()
    assert_same(found.values, expected.cpu().numpy(), 1e-5)


def test_score_cam_weighs_channels_with_the_scores_behind_their_masks(device):
    """Written down channel by channel, with a loop."""
    model, x = made(batch_norm_cnn, device), pictures(2, device)
    found = pl.explain(model, x, method="score_cam", target=2, at="6", output="probability")
    for row in range(2):
        with torch.no_grad():
            channels = model[:7](x[row : row + 1])[0]
            scores = []
            for channel in channels:
                mask = nn.UpsamplingBilinear2d(size=(20, 14))(channel[None, None])[0, 0]
                mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
                scores.append(model((x[row] * mask)[None]).softmax(1)[0, 2])
            weights = torch.stack(scores).softmax(0)
            expected = (weights[:, None, None] * channels).sum(0).relu()
        assert_same(found.values[row : row + 1], expected[None].cpu().numpy(), 1e-5)
    # The pass of the rows as they are, those of the channels, and a probe of two rows.
    assert found.cost.forward == 2 + 2 * 8 + 2
    assert found.cost.backward == 0


# -- passes, memory, transfers -------------------------------------------------------------------


LAYERS = ["blocks.0", "blocks.1", "blocks.2", "blocks.3"]


def rows_through(model, work):
    seen = []
    handle = model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    result = work()
    handle.remove()
    return result, sum(seen)


@pytest.mark.parametrize("target", [1, "predicted", "all"])
@every_map
def test_four_layers_share_the_passes_of_one(method, target, device):
    model, x = made(ResNet, device), pictures(6, device)

    def explain(at):
        return lambda: pl.explain(model, x, method=method, target=target, at=at, batch_size=4)

    four, rows = rows_through(model, explain(LAYERS))
    one, alone = rows_through(model, explain("blocks.3"))
    masked = {"score_cam": 6 * (8 + 8 + 12)}.get(method, 0)
    assert rows == alone + masked
    assert four.cost.backward == one.cost.backward
    assert four.at == tuple(LAYERS)
    for layer in LAYERS:
        single = pl.explain(model, x, method=method, target=target, at=layer, batch_size=4)
        np.testing.assert_allclose(four.select(layer).values, single.values, rtol=1e-4, atol=1e-6)


class HostCopies(TorchDispatchMode):
    """Counts what brings values of tensors to the host."""

    def __init__(self, patch):
        super().__init__()
        self.found, self.inside = [], False
        for name in ("cpu", "numpy", "item", "tolist", "__array__", "__bool__", "__float__"):
            patch.setattr(torch.Tensor, name, self.counted(name, getattr(torch.Tensor, name)))

    def counted(self, name, function):
        def call(*arguments, **options):
            if self.inside:
                self.found.append(name)
            return function(*arguments, **options)

        return call

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name()
        to_host = name == "aten::_to_copy" and str((kwargs or {}).get("device")) == "cpu"
        if to_host or name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("at", ["input", LAYERS])
@every_map
def test_nothing_is_copied_to_the_host_while_a_method_runs(method, at, device, monkeypatch):
    model, x = made(ResNet, device), pictures(5, device)
    mode = HostCopies(monkeypatch)
    run, times = attributing._at_places, []

    def watched(*arguments):
        times.append(1)
        mode.inside = True
        with mode:
            result = run(*arguments)
        mode.inside = False
        return result

    monkeypatch.setattr(attributing, "_at_places", watched)
    pl.explain(model, x, method=method, at=at, batch_size=2)
    assert times == [1]
    assert mode.found == []
    with mode:  # it hears what it is to hear
        mode.inside = True
        float(x.sum())
    assert "__float__" in mode.found
    assert "aten::_local_scalar_dense" in mode.found


def test_score_cam_needs_the_memory_of_a_chunk():
    """Sixteen times the channels are sixteen times the points, and no more memory for those."""

    def model(channels):
        front = nn.Conv2d(3, channels, 3, 8, 1)
        return nn.Sequential(front, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), mlp(channels))

    x = torch.randn(2, 3, 64, 64)
    peaks = {}
    for channels in (16, 256):
        made_model = model(channels).eval()
        found, peaks[channels] = peak_bytes(
            lambda m=made_model: pl.explain(m, x, method="score_cam", target=0, batch_size=8)
        )
        assert found.cost.forward >= 2 * channels
    masked = 2 * 256 * x[0].numel() * 4
    own = 2 * 256 * 64 * 4  # the layer's activation
    assert peaks[256] < peaks[16] + 8 * own
    assert peaks[256] < masked / 4


@pytest.mark.parametrize("method", ["score_cam", "eigen_cam"])
def test_methods_without_gradients_take_models_without(method, device):
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach()

    smooth, x = made(batch_norm_cnn, device), pictures(3, device)
    cut = nn.Sequential(*smooth[:7], Cut(), *smooth[7:])
    found = pl.explain(cut, x, method=method)
    assert found.cost.backward == 0
    np.testing.assert_array_equal(found.values, pl.explain(smooth, x, method=method).values)
    with pytest.raises(ModelError, match="does not depend on layer"):
        pl.explain(cut, x, method="grad_cam", at="6")


# -- the layer, where none is named --------------------------------------------------------------


@every_map
def test_layer_is_the_last_with_rows_and_columns(method, device):
    model, x = made(ResNet, device), pictures(3, device)
    found = pl.explain(model, x, method=method)
    assert found.at == "blocks.3"  # its ReLU is called twice, and the pool leaves one place
    assert found.settings["at"] == "auto: the last layer with rows and columns"
    assert found.values.shape == (3, 5, 4)
    assert found.axes == ("sample", "row", "column")
    named = pl.explain(model, x, method=method, at="blocks.3")
    np.testing.assert_array_equal(found.values, named.values)
    assert "at" not in named.settings
    assert found.settings["nonnegative"] == found.settings["relu"]
    assert not found.settings["nonnegative"] or (found.values >= 0).all()


def test_layer_behind_an_in_place_one_is_told_from_it(device):
    model, x = made(batch_norm_cnn, device), pictures(3, device)
    found = pl.explain(model, x, method="grad_cam")
    assert found.at == "6"  # the ReLU, not the normalisation whose tensor it writes into
    compiled = pl.explain(torch.compile(model, backend="eager"), x, method="grad_cam")
    assert compiled.at == "6"
    np.testing.assert_allclose(compiled.values, found.values, rtol=1e-5)


def test_one_place_is_a_map_where_there_is_no_larger(device):
    model = nn.Sequential(nn.Conv2d(3, 4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)).to(device)
    found = pl.explain(model, torch.randn(2, 3, 8, 8, device=device), method="grad_cam")
    assert found.at == "1"
    assert found.values.shape == (2, 1, 1)


@every_map
def test_model_without_a_map_is_refused_with_methods_that_work(method, device):
    x = torch.randn(2, 6, device=device)
    for model in (mlp().to(device), lambda x: x**2):
        with pytest.raises(InputError, match="no layer of the model puts out") as caught:
            pl.explain(model, x, method=method)
        assert "saliency" in str(caught.value)
        assert "integrated_gradients" in str(caught.value)
        assert method in str(caught.value)
    with pytest.raises(InputError, match="no layer of the model puts out"):
        pl.explain(made(Attention, device), torch.randint(9, (3, 7)).to(device), method=method)


@every_map
def test_vision_transformer_is_asked_for_its_layer(method, device):
    model, x = made(ViT, device, 1 + 15), pictures(3, device, 20, 12)
    before = state_of(model, x)
    with pytest.raises(InputError, match=r"'patches', and layers of tokens, such as 'blocks\.0"):
        pl.explain(model, x, method=method)
    assert changes(before, state_of(model, x)) == []


def test_what_does_not_fit_is_said(device):
    model, x = made(ResNet, device), pictures(2, device)
    cases = [
        ({"at": ["input", "stem"]}, "names the input beside layers"),
        ({"at": "head"}, r"puts out \(5,\) for each sample"),
        ({"at": "stem", "grid": (2, 2)}, "has rows and columns of its own"),
        ({"at": "stem", "skip": 1}, "has rows and columns of its own"),
        ({"at": "steam"}, "no layer 'steam'"),
        ({"smooth": True}, "options are relu, grid, skip"),
    ]
    for options, words in cases:
        with pytest.raises(InputError, match=words):
            pl.explain(model, x, method="grad_cam", **options)
    model, x = made(ViT, device, 1 + 15), pictures(2, device, 20, 12)
    cases = [
        ({"grid": (4, 4), "skip": 1}, r"grid=\(4, 4\) is 16 patches.* 16 tokens, 1 of them"),
        ({"grid": (5, 4)}, "is 20 patches"),
        ({"grid": 4}, r"give how many \(rows, columns\)"),
        ({"grid": "ab"}, r"give how many \(rows, columns\)"),
        ({"grid": (0, 4)}, r"give how many \(rows, columns\)"),
        ({"skip": 0}, r"proportions \(20 x 12\).*after 0 to skip"),
        ({"skip": 16}, "skip=16"),
        ({"skip": -1}, "skip=-1"),
    ]
    for options, words in cases:
        with pytest.raises(InputError, match=words):
            pl.explain(model, x, method="grad_cam", at="blocks.1.norm1", **options)
    flat = nn.Sequential(nn.Unflatten(1, (1, 6, 6)), made(cnn, "cpu")).to(device)
    rows = torch.randn(2, 36, device=device)
    assert pl.explain(flat, rows, method="grad_cam").values.shape == (2, 3, 3)
    with pytest.raises(InputError, match=r"has shape \(2, 36\).*or use grad_cam"):
        pl.explain(flat, rows, method="score_cam")


# -- what the contract asks of every method, here of pictures ------------------------------------


class FailsOnPictures(Fails):
    def __init__(self, after):
        super().__init__(after)
        self.body = nn.Sequential(batch_norm_cnn(), nn.Dropout(0.5)).train()


@every_map
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_everything_is_left_as_it_was_when_the_model_fails_half_way(method, after, device):
    model, x = FailsOnPictures(after).to(device), pictures(20, device)
    before = state_of(model, x)
    with pytest.raises(ModelError, match="the power went out"):
        pl.explain(model, x, method=method, batch_size=8)
    assert model.calls == after + 1
    assert changes(before, state_of(model, x)) == []


@every_map
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_callers_gradients_and_mode_do_not_matter(method, mode, device):
    model, x = made(ResNet, device), pictures(3, device)
    expected = pl.explain(model, x, method=method)
    inputs = x.clone().requires_grad_()
    model(inputs).sum().backward()
    held = inputs.grad.clone()
    with mode():
        before = state_of(model, inputs)
        found = pl.explain(model, inputs, method=method)
        assert changes(before, state_of(model, inputs)) == []
    assert torch.equal(inputs.grad, held)
    np.testing.assert_array_equal(found.values, expected.values)


@every_map
def test_rows_of_different_blocks_are_treated_alike(method, device):
    model, x = made(batch_norm_cnn, device), pictures(300, device, 8, 6)
    target = torch.arange(300) % 5
    whole = pl.explain(model, x, method=method, target=target, batch_size=64)
    some = [0, 255, 256, 299, 17]
    part = pl.explain(model, x[some], method=method, target=target[some], batch_size=2)
    np.testing.assert_allclose(whole.values[some], part.values, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(whole.prediction[some], part.prediction, rtol=1e-5)
    with torch.no_grad():
        scores = model(x)[torch.arange(300), target.to(device)]
    np.testing.assert_allclose(whole.prediction, scores.cpu().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@every_map
def test_precision_is_the_models_own(method, dtype, device):
    x = pictures(3, device)
    expected = pl.explain(made(batch_norm_cnn, device), x, method=method, target=1)
    model = made(batch_norm_cnn, device).to(dtype)
    found = pl.explain(model, x.to(dtype), method=method, target=1)
    assert found.values.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    assert_same(found.values, expected.values, 1e-4 if dtype == torch.float64 else 0.1)


@every_map
def test_activations_that_are_not_numbers_are_told(method, device):
    class Root(nn.Module):
        def forward(self, x):
            return x.sqrt()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), Root(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )
        nn.init.uniform_(model[0].weight, 0.1, 1)
    x = pictures(3, "cpu").abs() + 0.1
    x[2] = -x[2]  # the first two are looked at before, and refused
    with pytest.warns(UserWarning, match="1 of 3 rows have NaN"):
        found = pl.explain(model.to(device), x.to(device), method=method, target=0)
    assert np.isnan(found.values[2]).any()
    assert np.isfinite(found.values[:2]).all()
