"""What a backbone starts from: weights that torchvision or timm publish, or a local file."""

from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from crossface.errors import ConfigError, DataError
from crossface.model.backbones import create_timm, image_size_option, published_config
from crossface.model.config import TIMM
from crossface.model.networks import ImageBackbone
from crossface.progress import say

# of a bare network, of one in a wrapper, and of a model folder of ours
_PREFIXES = ("", "module.", "backbone.", "model.", "backbone.1.")


def load_backbone_weights(backbone: ImageBackbone, name: str, weights: str) -> list[str]:
    """Copy weights into a backbone, in place.

    A classifier of another width than ``feature_dim`` stays behind, and so does what a file holds beside
    the backbone; both are said. Anything else must fit exactly. The network is then fed as these
    weights expect: see :class:`~crossface.model.networks.ImageBackbone`.

    Args:
        backbone: what ``build_backbone`` has built.
        name: of the backbone.
        weights: ``none``; ``imagenet``, downloaded once into the cache of torch.hub or of the Hugging
            Face hub; or a ``.safetensors`` file with torchvision's or timm's own names, also behind
            ``module.``, ``backbone.`` or ``model.``, or the ``model.safetensors`` of a model folder.

    Returns:
        Names of the tensors that were left out.

    Raises:
        ConfigError: nothing is published for this backbone.
        DataError: the weights cannot be downloaded or read, or do not fit.
    """
    if weights == "none":
        return []
    network = backbone[1]
    if weights == "imagenet":
        source, tensors = f"the published weights of {name}", _published(name, backbone.image_size)
    else:
        source, tensors = weights, _read(Path(weights))
    own = network.state_dict()
    prefix = max(_PREFIXES, key=lambda prefix: sum(prefix + key in tensors for key in own))
    inside = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    head = _other_head(inside, network)
    fitting = {key: tensor for key, tensor in inside.items() if key not in head}
    _check_fit(fitting, {key: tensor for key, tensor in own.items() if key not in head}, source)
    network.load_state_dict(fitting, strict=False)
    left_out = sorted(key for key in tensors if key.removeprefix(prefix) not in fitting)
    say(f"backbone starts from {source}" + (f", without {_some(left_out)}" if left_out else ""))
    return left_out


def _published(name: str, image_size: int) -> Mapping[str, Tensor]:
    """The weights of a whole network, classifier included, from the cache or from its publisher."""
    where = "the hub that timm uses" if name.startswith(TIMM) else "torchvision's own store"
    try:
        if name.startswith(TIMM):
            return _published_by_timm(name, image_size)
        return _published_by_torchvision(name)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"weights: those of {name} could not be had from {where} ({reason}). Where there is a network,"
            f' run python -c "{_recipe(name, image_size)}" and give the path of that file as weights'
        ) from None


def _published_by_torchvision(name: str) -> Mapping[str, Tensor]:
    from torchvision.models import get_model_weights, list_models

    if name not in list_models():
        raise ConfigError(f"weights: nobody publishes any for {name}")
    return get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True, weights_only=True)


def _published_by_timm(name: str, image_size: int) -> Mapping[str, Tensor]:
    import timm

    if not timm.is_model_pretrained(name.removeprefix(TIMM)):
        raise ConfigError(f"weights: nobody publishes any for {name}")
    network = create_timm(name, image_size, pretrained=True)
    return network.state_dict()


def _recipe(name: str, image_size: int) -> str:
    """Python that downloads published weights and writes them to a file in the current folder."""
    if name.startswith(TIMM):
        model = name.removeprefix(TIMM)
        size = "".join(f", {key}={value}" for key, value in image_size_option(name, image_size).items())
        module, built = "timm", f"timm.create_model('{model}', pretrained=True{size})"
    else:
        model, module, built = name, "torchvision", f"torchvision.models.{name}(weights='DEFAULT')"
    return f"import {module}, safetensors.torch as s; s.save_model({built}, '{model}.safetensors')"


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise DataError(f"weights: {path}: there is no such file")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"weights: {path}: damaged, or not a safetensors file: {error}") from None


def _other_head(tensors: Mapping[str, Tensor], network: nn.Module) -> set[str]:
    """Names of the last linear layer on both sides, unless it is the same on both."""
    names = published_config(network)["classifier"] or ()
    prefixes = tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))

    def shapes(side: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        return {key: tuple(tensor.shape) for key, tensor in side.items() if key.startswith(prefixes)}

    theirs, ours = shapes(tensors), shapes(network.state_dict())
    return set() if theirs == ours else {*theirs, *ours}


def _check_fit(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str) -> None:
    # a counter that files of old have not, and that momentum makes meaningless
    needed = [key for key in own if not key.endswith("num_batches_tracked")]
    faults = {
        "missing": [key for key in needed if key not in tensors],
        "unexpected": [key for key in tensors if key not in own],
        "of another shape": [
            f"{key} {list(tensors[key].shape)} instead of {list(own[key].shape)}"
            for key in own
            if key in tensors and tensors[key].shape != own[key].shape
        ],
    }
    found = [f"{fault}: {_some(keys)}" for fault, keys in faults.items() if keys]
    if found:
        raise DataError(f"weights: {source} does not fit the backbone; {'; '.join(found)}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
