"""The three ways in which work ends badly, each with its exit code."""


class RefusedInput(ValueError):
    """The input is wrong and no work was done: names the field, the value, what is allowed. Exit code 2."""


class RunFailed(RuntimeError):
    """The run started and could not go on, for example because its loss is no longer finite. Exit code 3."""


class TurnOverError(ValueError):
    """Turn-over dropout was used in a way that would give wrong numbers."""
