"""Templates as people write them: YAML with CloudFormation's short tags."""

from __future__ import annotations

from typing import Any

import yaml

# In C where PyYAML was built with libyaml, as its wheels are: a sixth of the time.
SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(SafeLoader):  # type: ignore[valid-type, misc]
    """YAML in which `!Sub` and its like mean functions in their long form."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)  # noqa: S101 - no fourth kind exists
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tagged)


def parse_template(text: str) -> dict[str, Any]:
    """Return a template with its functions in their long form."""
    template: dict[str, Any] = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader with tags
    return template
