"""Which methods work on any differentiable model, and what they need to be called."""

from pellucid.interpret.attribution.registry import registered

METHODS = registered()
# They need pictures, layers with rows and columns, or attention; the others take anything.
PARTICULAR = {"attention", "cam", "pictures", "regions", "rise", "trees"}
GENERAL = sorted(name for name, one in METHODS.items() if one.family not in PARTICULAR)


def needed(method, inputs):
    """The arguments without which a method cannot be called."""
    return {"background": inputs[:3]} if METHODS[method].background else {}
