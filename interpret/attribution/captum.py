"""Any attribution class of Captum as a method: ``"captum:Name"``, with our call and our result."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pellucid.errors import InputError
from pellucid.interpret.attribution.captum_calls import Call, kind_of
from pellucid.interpret.attribution.registry import Method

# What `explain` cannot run, and what to do instead.
_ELSEWHERE = {
    "LimeBase": "it is what captum:Lime is made of; use that",
    "DataLoaderAttribution": "explain takes the whole data itself, and cuts it into batches",
    "LLMAttribution": "it explains a text that a model generates; explain takes token ids: target="
    "lambda output: output.logits[:, -1, token] is the score of the next token",
    "TCAV": "it tests concepts, of which explain knows nothing; call Captum itself",
    "TracInCP": "it attributes to training samples, not to inputs; call Captum itself",
    "Summarizer": "it sums up values that are there already",
    "visualization": "pellucid.viz draws explanations",
    "infidelity": "it measures an explanation; it makes none",
    "FGSM": "it perturbs inputs; it explains nothing",
    "InterpretableEmbeddingBase": "explain finds the embedding that looks the token ids up by "
    "itself: pass the ids",
}
_SAME = {
    "LLMGradientAttribution": "LLMAttribution", "RemoteLLMAttribution": "LLMAttribution",
    "LLMAttributionResult": "LLMAttribution", "RemoteLLMProvider": "LLMAttribution",
    "VLLMProvider": "LLMAttribution", "TextTokenInput": "LLMAttribution",
    "TextTemplateInput": "LLMAttribution", "ImageMaskInput": "LLMAttribution",
    "InterpretableInput": "LLMAttribution", "ProductBaselines": "LLMAttribution",
    "TokenReferenceBase": "InterpretableEmbeddingBase",
    "configure_interpretable_embedding_layer": "InterpretableEmbeddingBase",
    "remove_interpretable_embedding_layer": "InterpretableEmbeddingBase",
    "CAV": "TCAV", "Concept": "TCAV", "TracInCPFast": "TracInCP",
    "TracInCPFastRandProj": "TracInCP", "SimilarityInfluence": "TracInCP",
    "sensitivity_max": "infidelity", "PGD": "FGSM", "MinParamPerturbation": "FGSM",
    "AttackComparator": "FGSM",
    **dict.fromkeys(
        ("CommonStats", "ClassSummarizer", "Mean", "StdDev", "MSE", "Var", "Min", "Max", "Sum",
         "Count", "StatValue", "SummarizerSingleTensor"), "Summarizer",
    ),
}  # fmt: skip
_PROMISES = {
    "DeepLift": "complete only where it has a rule for every non-linear module: the residual tells",
    "LRP": "loses or makes up relevance in sums, products and modules without a rule, and scales "
    "a function target twice; method='lrp' checks",
    "GuidedBackprop": "ReLUs that are called as functions keep the plain gradient, silently; "
    "method='guided_backprop' checks",
    "Deconvolution": "ReLUs that are called as functions keep the plain gradient, silently; "
    "method='deconvolution' checks",
    "FeaturePermutation": "a sample of the effect, from one shuffle among the rows that are given",
    "GradientShap": "a sample of an expectation, without a word on how far off it is; of several "
    "inputs each draws a baseline of its own, which mixes the background's samples",
    "NoiseTunnel": "a sample of an expectation, without a word on how far off it is",
    "Lime": "a sampled fit; its lasso is absolute, so that small outputs give all zeros",
    "KernelShap": "a sampled fit, without a word on how far off it is",
    "ShapleyValueSampling": "a sample of an expectation, without a word on how far off it is",
}


def find(name: str, options: Mapping[str, Any]) -> Method:
    """Return one of Captum's attribution classes as a method.

    Parameters
    ----------
    name
        The class, such as ``"Occlusion"``.
    options
        Those that it will be run with; ``of`` names what NoiseTunnel wraps.

    Raises
    ------
    InputError
        If Captum has no such class, or it attributes in another way than `explain` does.
    """
    call = _call(name)
    if name == "NoiseTunnel":
        inner = _call(str(options.get("of", "Saliency")).removeprefix("captum:"))
        if inner.name == "NoiseTunnel":
            raise InputError("of='NoiseTunnel' puts noise around noise; name what is inside")
        call = Call("NoiseTunnel", inner)
    if "feature_mask" in options or not options.get("multiply_by_inputs", True):
        # Each value then is that of its whole group, or a slope.
        call = Call(call.name, call.of, whole=False)
    return Method(
        name=f"captum:{name}",
        family="captum",
        run=call,
        baseline=call.baseline,
        complete=call.complete,
        cost="as Captum needs",
        promise=next((_PROMISES[n] for n in (name, call.core) if n in _PROMISES), "Captum's own"),
        paper=call.paper,
        points=lambda _: None,
        kept=lambda _: 0,
        several_targets=False,
        background=call.background,
        where={"layer": "layer", "input": "any"}.get(call.kind, "input"),
    )


def names() -> list[str]:
    """Return the names of the classes that `find` takes."""
    from captum import attr

    return [name for name in attr.__all__ if kind_of(getattr(attr, name)) and name != "LimeBase"]


def _call(name: str) -> Call:
    from captum import attr

    known = names()
    if name in known:
        return Call(name)
    instead = _ELSEWHERE.get(_SAME.get(name, name))
    if instead is None and name in attr.__all__:
        instead = "it is a base class, without a method of its own"
    if instead is not None:
        raise InputError(f"method='captum:{name}' is nothing that explain can run: {instead}")
    lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    raise InputError(
        f"Captum has no attribution class {name!r}; "
        + (
            f"did you mean {', '.join(f'captum:{lower[one]}' for one in close)}?"
            if close
            else f"it has {', '.join(known)}"
        )
    )
