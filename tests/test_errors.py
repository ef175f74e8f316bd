"""The two error trees: what every error must be able to do."""

import inspect
import pickle

import pytest

import actors.errors
import scaler.errors


def errors_of(module):
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__
    ]


ALL = [*errors_of(actors.errors), *errors_of(scaler.errors)]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_survives_pickling(kind):
    error = kind("what was wrong")
    error.add_note("where")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.args == error.args
    assert str(again) == str(error)
    assert again.__notes__ == ["where"]


def test_an_actors_failure_keeps_cause_and_traceback():
    error = actors.errors.ActorFailedError("ValueError('x')", "Traceback ...")
    again = pickle.loads(pickle.dumps(error))
    assert (again.cause, again.traceback_text) == ("ValueError('x')", "Traceback ...")


@pytest.mark.parametrize("kind", ALL)
def test_an_error_is_in_its_tree_and_says_what_it_means(kind):
    root = actors.errors.ActorsError if kind.__module__ == "actors.errors" else None
    assert issubclass(kind, root or scaler.errors.ScalerError)
    assert kind.__doc__
    tree = inspect.getdoc(inspect.getmodule(kind)) or ""
    assert kind.__name__ in tree, "the tree in the module's docstring"


def test_what_times_out_is_a_timeout_error():
    assert issubclass(actors.errors.AskTimeoutError, TimeoutError)
