"""Training configurations: light, frozen, and heavy only where `training/fit.py` matches on them."""

from typing import Annotated, Literal

from pydantic import Field

from include.spec.declaration import Declaration

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]


class GradientBoosting(Declaration):
    """Gradient-boosted trees by XGBoost, histogram method, categories split natively.

    Args:
        objective: What is predicted: the probability of a binary label, or a number.
        rounds: The most trees that may be grown.
        early_stopping: Rounds without a better validation score after which growing stops.
        learning_rate: Shrinkage of each tree.
        max_depth: The most splits from the root to a leaf.
        min_child_weight: The least sum of hessians in a leaf.
        subsample: Share of rows drawn for each tree.
        colsample: Share of columns drawn for each tree.
        l2: Ridge penalty on leaf weights.
        seed: Seed of every draw; the same seed, data and library give the same bytes.
    """

    kind: Literal["gradient_boosting"] = "gradient_boosting"
    objective: Literal["binary", "regression"] = "binary"
    rounds: Positive = 400
    early_stopping: Positive = 30
    learning_rate: Fraction = 0.05
    max_depth: Positive = 4
    min_child_weight: Annotated[float, Field(ge=0.0)] = 5.0
    subsample: Fraction = 0.8
    colsample: Fraction = 0.8
    l2: Annotated[float, Field(ge=0.0)] = 1.0
    seed: int = 17


class TabularNet(Declaration):
    """Embeddings of categories and a multi-layer perceptron over them and the standardised numbers.

    Args:
        objective: What is predicted: the probability of a binary label, or a number.
        hidden: Width of each hidden layer, first to last.
        dropout: Share of activations dropped while training.
        epochs: The most passes over the training rows.
        early_stopping: Epochs without a better validation score after which training stops.
        batch_size: Rows of one step.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Decoupled decay of AdamW.
        seed: Seed of initialisation and of the order of rows.
    """

    kind: Literal["tabular_net"] = "tabular_net"
    objective: Literal["binary", "regression"] = "binary"
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1)] = (128, 64)
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    epochs: Positive = 40
    early_stopping: Positive = 6
    batch_size: Positive = 512
    learning_rate: Fraction = 0.002
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    seed: int = 17


TrainConfig = Annotated[GradientBoosting | TabularNet, Field(discriminator="kind")]
