"""Errors say what happened and what to do, and a failure that is kept repeats no secret of an unexpected one."""

from coffre.model.backup import Failure
from coffre.model.errors import CoffreError, DumpError, DumpTransientError, PermanentError, TransientError


def test_an_error_prints_its_message_code_detail_and_hint() -> None:
    error = DumpError("It failed.", detail="the server's words", hint="Do this.")

    assert str(error) == "It failed. [DUMP_FAILED]\n  the server's words\n  What to do: Do this."
    assert str(CoffreError("It failed.", code="X")) == "It failed. [X]"


def test_every_leaf_is_either_permanent_or_transient_and_has_a_code_of_its_own() -> None:
    leaves = [kind for kind in _below(CoffreError) if kind not in (PermanentError, TransientError)]

    assert all(issubclass(kind, PermanentError) != issubclass(kind, TransientError) for kind in leaves)
    codes = [vars(kind)["default_code"] for kind in leaves]
    assert len(codes) == len(set(codes)) > 15
    assert all(kind.__name__.endswith("Error") and kind.__doc__ for kind in leaves)


def test_a_failure_keeps_our_words_and_only_the_type_of_others() -> None:
    ours = Failure.of(DumpTransientError("Cut.", code="CONNECTION_LOST", detail="by peer", hint="Again."))
    theirs = Failure.of(ValueError("password=hunter2"))

    assert (ours.code, ours.message, ours.hint) == ("CONNECTION_LOST", "Cut. by peer", "Again.")
    assert theirs.code == "UNEXPECTED"
    assert "ValueError" in theirs.message
    assert "hunter2" not in theirs.model_dump_json()


def _below(kind: type[CoffreError]) -> list[type[CoffreError]]:
    found = [kind for kind in kind.__subclasses__() if kind.__module__ == "coffre.model.errors"]
    return found + [leaf for below in found for leaf in _below(below)]
