"""aecodec.cli.exits: every exception becomes one message and one exit code."""

from __future__ import annotations

import errno

import pytest

from aecodec import errors
from aecodec.cli.exits import EXIT_CODES, Failure, combined_exit_code, exit_code_table, failure_of


def all_errors(base: type[errors.AecodecError] = errors.AecodecError) -> list[type[errors.AecodecError]]:
    return [base] + [kind for child in base.__subclasses__() for kind in all_errors(child)]


@pytest.mark.parametrize("kind", all_errors())
def test_an_error_of_the_tree_keeps_its_message_and_has_a_documented_exit_code(
    kind: type[errors.AecodecError],
) -> None:
    failure = failure_of(kind("what was found"))
    assert failure == Failure(kind.__name__, "what was found", kind.exit_code)
    assert failure.exit_code in EXIT_CODES


def test_the_help_page_lists_every_exit_code() -> None:
    lines = exit_code_table().splitlines()
    for code, meaning in EXIT_CODES.items():
        assert any(line.split() == [str(code), *meaning.split()] for line in lines)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 7),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.png"), 2),
        (MemoryError(), 1),
        (ModuleNotFoundError("no keras", name="keras.layers"), 6),
        (ModuleNotFoundError("no module", name="aecodec.gone"), 70),
        (ZeroDivisionError("division by zero"), 70),
    ],
)
def test_errors_from_outside_the_tree_have_codes_too(error: Exception, code: int) -> None:
    assert failure_of(error).exit_code == code


def test_an_unexpected_error_is_called_a_defect_and_a_missing_package_comes_with_its_remedy() -> None:
    assert "defect" in failure_of(ZeroDivisionError("division by zero")).message
    assert "aecodec[keras]" in failure_of(ModuleNotFoundError("no", name="tensorflow")).message
    assert (
        failure_of(FileNotFoundError(errno.ENOENT, "No such file", "a.png")).message
        == "No such file: 'a.png'"
    )


@pytest.mark.parametrize(
    ("codes", "partial", "expected"),
    [
        ([], False, 0),
        ([], True, 8),
        ([3], False, 3),
        ([3, 3], True, 3),
        ([3, 2], False, 1),
        ([70, 70], False, 70),
    ],
)
def test_failures_of_one_kind_give_their_code_and_mixed_ones_give_1(
    codes: list[int], partial: bool, expected: int
) -> None:
    failures = [Failure("", "", code) for code in codes]
    assert combined_exit_code(failures, any_partial=partial) == expected
