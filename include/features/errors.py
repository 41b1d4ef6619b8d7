"""What can go wrong with features."""

from include.spec.errors import HeadraceError


class FeatureBuildError(HeadraceError):
    """The features could not be built; nothing was written to the output folder."""


class FeatureProjectError(HeadraceError):
    """The dbt project does not say what a feature table must."""


class TrainingSetError(HeadraceError):
    """A set of rows could not be pinned from the feature tables that were given."""
