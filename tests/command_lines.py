"""Command lines of `itm`, read without running them."""

from itm.cli import load, resolve


def parse(words):
    """The command that a line of words means: its name as words, and its function. Bad options are an error of click.

    `words` are without `itm`; a group of commands is followed to the one that is named.
    """
    command, name, rest = resolve(words)
    found = load(command, name)
    context = found.make_context(" ".join(name), list(rest))
    while hasattr(found, "resolve_command"):
        _, found, rest = found.resolve_command(context, [*context._protected_args, *context.args])
        context = found.make_context(found.name, list(rest), parent=context)
        name = [*name, found.name]
    return name, found.callback.__name__
