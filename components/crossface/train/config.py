"""What training can be told."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from crossface.config import Config
from crossface.data import s3
from crossface.errors import DataError
from crossface.model.config import AugmentationConfig, Backbone, Weights
from crossface.train.presets import with_preset

Alpha = Literal["steps"] | Annotated[float, Field(ge=0)]
"""Equation 13's alpha: a constant, or .1, .5, .9, 1 from each quarter of training."""

EmotionLossName = Literal["ce", "ace", "focal", "class_balanced", "weighted_cluster"]


class AdversaryConfig(Config):
    """The dataset classifier d behind its gradient reversal; used with ``adapt: dann`` and ``adapt: cda``."""

    lambda_max: float = Field(default=1.0, ge=0)
    """Largest lambda_1, the strength of the reversal before f(x); it grows from 0 over training."""
    loss: Literal["ce", "ace"] = "ace"
    """Loss of the dataset classifier; the paper uses ACE here too."""
    ace_alpha: Alpha = "steps"
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing of the dataset classifier's target."""
    normalize: bool = False
    """LayerNorm before the dataset classifier, so that f cannot win by scaling its features."""
    lr: float = Field(default=0.0, ge=0)
    """Learning rate of an Adam optimiser for d alone; 0: d is trained with the rest, as in equation 7."""


class LabelExtractorConfig(Config):
    """The label extractor g; used with ``adapt: cda`` only."""

    kind: Literal["shared", "per_dataset"] = "shared"
    """``shared``: g(y), the paper's, one table for all datasets; ``per_dataset``: g(y, z), our extension,
    which alone can model a dataset's own labelling habit."""
    lambda_max: float = Field(default=1.0, ge=0)
    """Largest lambda_2, the strength of the reversal before g(y)."""
    dropout: float = Field(default=0.25, ge=0, lt=1)
    balanced: bool = False
    """Weight L_2 so that rare emotions count as much as frequent ones."""


class CoralConfig(Config):
    """Correlation alignment; used with ``adapt: coral`` only."""

    weight: float = Field(default=1.0, ge=0)


class FocalConfig(Config):
    """Focal loss; used with ``loss: focal`` only."""

    gamma: float = Field(default=2.0, ge=0)


class ClassBalancedConfig(Config):
    """Class-balanced loss; used with ``loss: class_balanced`` only."""

    beta: float = Field(default=0.999, ge=0, lt=1)


class ClusterConfig(Config):
    """Weighted-cluster loss; used with ``loss: weighted_cluster`` only."""

    weight: float = Field(default=0.01, ge=0)
    """How much the cluster part counts beside the weighted cross entropy."""


class CheckpointConfig(Config):
    """Where and how often training is saved, so that a killed step goes on where it was."""

    uri: str = ""
    """A folder, or ``s3://bucket/prefix``, that outlives the step; empty: no checkpoints."""
    every_steps: int = Field(default=0, ge=0)
    every_minutes: float = Field(default=5.0, ge=0)
    """Either may be 0, for never. It is saved in any case when the process is told to end, and at the end."""

    replace: bool = False
    """Start anew where an unfinished training of other faces or another configuration was kept, instead of
    refusing to: for schedules, where nobody is asked whether it may go."""

    @field_validator("uri")
    @classmethod
    def _is_a_place(cls, uri: str) -> str:
        if uri.startswith(s3.SCHEME):
            try:
                s3.split_uri(uri)
            except DataError as error:
                raise ValueError(str(error)) from None
        elif ":/" in uri:
            raise ValueError(f"neither a folder nor {s3.SCHEME}bucket/prefix")
        return uri


class TrainConfig(Config):
    """Configuration of the step. Defaults follow the paper where it says, and the README where not."""

    preset: Literal["", "paper", "robust"] = ""
    """Values for what is not given: see ``presets.py``."""
    adapt: Literal["none", "heads", "dann", "coral", "cda"] = "none"
    datasets: tuple[str, ...] = ()
    """Keys of the datasets to train on; empty: all that there are."""

    backbone: Backbone = "resnet50"
    feature_dim: int = Field(default=1000, ge=0)
    image_size: int = Field(default=100, ge=32)
    weights: Weights = "none"
    """What the backbone starts from: ``none``, ``imagenet``, or a local ``.safetensors`` file."""

    loss: EmotionLossName = "ace"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    ace_alpha: Alpha = "steps"
    ace_normalize: bool = False
    """Scale the ACE weights to a mean of 1; as published they are about half that."""
    focal: FocalConfig = FocalConfig()
    class_balanced: ClassBalancedConfig = ClassBalancedConfig()
    cluster: ClusterConfig = ClusterConfig()

    adversary: AdversaryConfig = AdversaryConfig()
    label_extractor: LabelExtractorConfig = LabelExtractorConfig()
    coral: CoralConfig = CoralConfig()

    epochs: int = Field(default=120, ge=1)
    batch_size: int = Field(default=350, ge=2)
    """Of all processes together."""
    sampling: Literal["balanced", "natural"] = "balanced"
    """``balanced``: equal shares of the datasets in each batch; ``natural``: as they are (the paper)."""
    augmentation: AugmentationConfig = AugmentationConfig()

    lr: float = Field(default=0.05, gt=0)
    schedule: Literal["cosine", "steps"] = "cosine"
    """``steps``: a tenth from one half and a hundredth from three quarters of training on."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=2e-4, ge=0)
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest norm of the whole gradient, that of d included; 0: no clipping."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay that the moving average of the weights grows to, over some ten thousand steps; it is what is
    evaluated and kept. 0: none."""

    select: Literal["best", "last"] = "best"
    """Which epoch is kept: the best mean balanced accuracy on the dev splits, or the last."""
    patience: int = Field(default=0, ge=0)
    """Stop after so many epochs without a better dev score; 0: never."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto``: bf16 where the hardware has it."""
    compile: bool = False
    """Compile the network with torch.compile: minutes at the start, faster steps on a GPU."""
    processes: int = Field(default=0, ge=0)
    """On this machine, by DistributedDataParallel; 0: one for each GPU, or one on the CPU."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        return with_preset(values)

    @field_validator("weights")
    @classmethod
    def _are_published(cls, weights: str, info: ValidationInfo) -> str:
        if weights == "imagenet" and info.data.get("backbone") == "resnet8":
            raise ValueError("nobody publishes any for resnet8")
        return weights

    @model_validator(mode="after")
    def _patience_needs_best(self) -> "TrainConfig":
        if self.patience and self.select == "last":
            raise ValueError("patience needs select: best")
        return self

    @property
    def title(self) -> str:
        """What the training is called in logs."""
        method = "pooled" if self.adapt == "none" else self.adapt
        return f"{method} on {', '.join(self.datasets)}" if self.datasets else method
