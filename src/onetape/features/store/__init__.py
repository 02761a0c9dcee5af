"""The feature store: columns of registered features, computed once and kept beside the bars."""

from onetape.features.store.columns import FeatureColumn, FeatureStore

__all__ = ["FeatureColumn", "FeatureStore"]
