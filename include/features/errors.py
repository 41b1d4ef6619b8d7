"""What can go wrong with features."""

from typing import TYPE_CHECKING

from include.spec.errors import HeadraceError

if TYPE_CHECKING:
    from include.features.dbt import NodeResult


class FeatureBuildError(HeadraceError):
    """The features could not be built; nothing was written to the output folder.

    `results` tells how far the build came, where dbt got to run any node.
    """

    results: "tuple[NodeResult, ...]" = ()


class FeatureProjectError(HeadraceError):
    """The dbt project does not say what a feature table must."""


class TrainingSetError(HeadraceError):
    """A set of rows could not be pinned from the feature tables that were given."""


class StagingError(HeadraceError):
    """A table could not be built from its change log; nothing of it was published."""
