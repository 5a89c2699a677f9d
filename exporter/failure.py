"""The one error that the exporter raises on purpose."""


class ExportError(Exception):
    """What was expected, what was found, where, and what to do: one line for the user."""


def one_line(error):
    """First non-empty line of a library's error, its type in front: users get a line, not a stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
