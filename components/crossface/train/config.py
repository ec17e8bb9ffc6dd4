"""What training can be told."""

from typing import Annotated, Literal

from pydantic import Field

from crossface.config import Config
from crossface.model.config import Backbone


class AdaptationConfig(Config):
    """Cross-dataset adaptation (CDA); used with ``adapt: cda`` only."""

    lambda_features: float = Field(default=1.0, ge=0)
    """Largest lambda_1, the strength of the reversal before f(x)."""
    lambda_labels: float = Field(default=1.0, ge=0)
    """Largest lambda_2, the strength of the reversal before g(y)."""
    label_dropout: float = Field(default=0.25, ge=0, lt=1)
    """Dropout of the label extractor g."""
    normalize_features: bool = False
    """LayerNorm before the dataset classifier, so that f cannot win by scaling its features."""
    dataset_loss: Literal["ce", "ace"] = "ace"
    """Loss of the dataset classifier; the paper uses ACE here too."""
    dataset_lr: float = Field(default=0.0, ge=0)
    """Learning rate of an Adam optimiser for d alone; 0: d is trained with the rest, as in equation 7."""
    dataset_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing of the dataset classifier's target."""


class TrainConfig(Config):
    """Configuration of the step. Defaults follow the paper where it says, and the README where not."""

    adapt: Literal["none", "cda"] = "none"
    backbone: Backbone = "resnet50"
    feature_dim: int = Field(default=1000, ge=0)
    image_size: int = Field(default=100, ge=32)
    epochs: int = Field(default=120, ge=1)
    batch_size: int = Field(default=350, ge=2)
    sampling: Literal["balanced", "natural"] = "balanced"
    """``balanced``: equal shares of the datasets in each batch; ``natural``: as they are (the paper)."""
    loss: Literal["ce", "ace"] = "ace"
    ace_alpha: Literal["steps"] | Annotated[float, Field(ge=0)] = "steps"
    """Equation 13's alpha: a constant, or .1, .5, .9, 1 from each quarter of training."""
    ace_normalize: bool = False
    """Scale the ACE weights to a mean of 1; as published they are about half that."""
    cda: AdaptationConfig = AdaptationConfig()
    lr: float = Field(default=0.05, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=2e-4, ge=0)
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest norm of the whole gradient; 0: no clipping."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto``: bf16 where the hardware has it."""
    select: Literal["best", "last"] = "best"
    """Which epoch is kept: the best mean balanced accuracy on the dev splits, or the last."""
    seed: int = 0

    @property
    def title(self) -> str:
        """What the training is called in logs."""
        return "pooled" if self.adapt == "none" else self.adapt
