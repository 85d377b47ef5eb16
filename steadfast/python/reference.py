"""Writes docs/python.md from the module's docstrings; with --check says whether it is fresh."""

import inspect
import sys

import steadfast


def section(name, thing):
    try:
        title = f"{name}{inspect.signature(thing)}"
    except ValueError:  # compiled: its docstring says how it is made
        title = name
    text = f"## {name}\n\n```python\n{title}\n```\n\n{inspect.getdoc(thing) or ''}\n"
    members = []
    for member in dir(thing) if inspect.isclass(thing) and not issubclass(thing, BaseException) else []:
        value = inspect.getattr_static(thing, member)
        if member.startswith("_"):
            continue
        if inspect.isfunction(value):
            members.append(f"- `{member}{inspect.signature(value)}`: {inspect.getdoc(value)}")
        elif isinstance(value, property):
            members.append(f"- `{member}`")
        elif callable(value):  # compiled
            members.append(f"- `{member}()`: " + inspect.getdoc(value).split("\n")[-1])
    return text + ("\n" + "\n".join(members) + "\n" if members else "")


def document():
    text = ("# The Python module\n\nWritten by `steadfast/python/reference.py`; `make python` builds the module into "
            "`build/python`.\n\n" + inspect.getdoc(steadfast) + "\n")
    for name in sorted(steadfast.__all__, key=str.lower):
        if name.startswith("__"):
            continue
        thing = getattr(steadfast, name)
        text += "\n" + section(name, thing)
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip() + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        with open(sys.argv[2]) as file:
            if file.read() != document():
                sys.exit(f"{sys.argv[2]} is not what the docstrings say: reference.py > {sys.argv[2]}")
    else:
        sys.stdout.write(document())
