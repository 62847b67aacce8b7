"""The metadata of a distribution under the name that its program asks for.

The `vllm` command asks the installation for the version of `vllm`. Builds for other machines are the same package in
a distribution of another name, and there the question fails. Here it is answered with that distribution's metadata,
in this process alone: an environment is shared, and not ours to write into.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, DistributionFinder


class _Alias(DistributionFinder):
    """Finds one distribution under another name; finds no modules."""

    def __init__(self, name: str, found: Distribution) -> None:
        self.name = name
        self.found = found

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterator[Distribution]:
        if context is not None and context.name == self.name:
            yield self.found

    def find_spec(self, *_: object) -> None:
        return None


def answer_for(name: str, *others: str) -> None:
    """Where no distribution `name` is installed, answer questions for it with the first of `others` that is."""
    for distribution in (name, *others):
        try:
            found = importlib.metadata.distribution(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        if distribution != name:
            sys.meta_path.append(_Alias(name, found))
        return
