"""The feature store: columns of registered features, computed once and kept beside their data."""

from onetape.features.store.bar_columns import FeatureColumn
from onetape.features.store.columns import BuiltColumn, FeatureStore, KnownValue

__all__ = ["BuiltColumn", "FeatureColumn", "FeatureStore", "KnownValue"]
