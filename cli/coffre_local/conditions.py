"""The template's `Conditions`, decided before the local AWS sees them.

ministack 1.5.33 knows `Fn::Select` in a condition, but not `Fn::Join` (it then takes the condition's opposite) nor
`Fn::Split` (an internal error).
"""

from collections.abc import Mapping
from typing import Any

from coffre_local.errors import DeploymentError

DECIDED = {True: {"Fn::Equals": ["yes", "yes"]}, False: {"Fn::Equals": ["yes", "no"]}}


def decided(template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the template's conditions as constants.

    Raises
    ------
    DeploymentError
        A condition uses a function that is not known here, or a parameter has neither a value nor a default.
    """
    conditions = template.get("Conditions", {})
    values = {name: _value(name, about, parameters) for name, about in template.get("Parameters", {}).items()}
    return {name: DECIDED[bool(_evaluated(node, values, conditions))] for name, node in conditions.items()}


def _value(name: str, about: Mapping[str, Any], parameters: Mapping[str, str]) -> str | list[str] | None:
    value = parameters.get(name, about.get("Default"))
    if value is not None and "List" in about["Type"]:
        return [part.strip() for part in str(value).split(",")]
    return None if value is None else str(value)


def _evaluated(node: Any, values: Mapping[str, Any], conditions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_evaluated(part, values, conditions) for part in node]
    if not isinstance(node, Mapping):
        return node
    [(function, arguments)] = node.items()
    if function == "Condition":
        return _evaluated(conditions[arguments], values, conditions)
    if function == "Ref":
        if values.get(arguments) is None:
            raise DeploymentError(f"The parameter {arguments} has no value.", code="LOCAL_PARAMETER_MISSING")
        return values[arguments]
    return _applied(function, _evaluated(arguments, values, conditions))


def _applied(function: str, arguments: Any) -> Any:
    match function, arguments:
        case "Fn::Equals", [left, right]:
            return str(left) == str(right)
        case "Fn::Not", [condition]:
            return not condition
        case "Fn::And", _:
            return all(arguments)
        case "Fn::Or", _:
            return any(arguments)
        case "Fn::Join", [separator, parts]:
            return separator.join(parts)
        case "Fn::Split", [separator, text]:
            return text.split(separator)
        case "Fn::Select", [index, parts]:
            return parts[int(index)]
    raise DeploymentError(
        f"A condition of the template uses {function}, which the local stack cannot decide.",
        code="LOCAL_CONDITION",
        hint="Add it to cli/coffre_local/conditions.py.",
    )
