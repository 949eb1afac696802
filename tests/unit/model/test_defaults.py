"""Defaults of models are made without a validator (`model_construct`), which a cold start would wait for."""

from __future__ import annotations

import importlib
import pkgutil

from pydantic import BaseModel

import coffre.model
from coffre.policy import safety
from coffre.policy.profiles import profile
from coffre.runtime import notify_function


def test_every_default_of_a_model_is_one_that_its_validator_accepts_and_leaves_as_it_is() -> None:
    modules = [
        importlib.import_module(f"coffre.model.{one.name}") for one in pkgutil.iter_modules(coffre.model.__path__)
    ]
    models = [
        one
        for module in [*modules, profile]
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, BaseModel)
    ]
    defaults = [field.default for one in models for field in one.model_fields.values()]
    constructed = [one for one in [*defaults, safety._NO_TARGET, notify_function.TEST] if isinstance(one, BaseModel)]

    assert len(constructed) > 50
    assert [one for one in constructed if one != type(one).model_validate(one.model_dump())] == []
