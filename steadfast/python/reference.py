"""Writes docs/python.md from the module's docstrings; with --check says whether it is fresh."""

import inspect
import sys

import steadfast


def section(name, thing):
    title = name if inspect.isclass(thing) else f"{name}{inspect.signature(thing)}"
    text = f"## {name}\n\n```python\n{title}\n```\n\n{inspect.getdoc(thing) or ''}\n"
    for member, value in sorted(vars(thing).items()) if inspect.isclass(thing) else []:
        if inspect.isfunction(value) and not member.startswith("_"):
            text += f"\n- `{member}{inspect.signature(value)}`: {inspect.getdoc(value)}\n"
        elif isinstance(value, property):
            text += f"\n- `{member}`\n"
    return text


def stub_docs():
    """Docstrings of compiled classes stand in their stubs."""
    import ast
    import os

    path = os.path.join(os.path.dirname(steadfast.__file__), "_steadfast.pyi")
    with open(path) as file:
        tree = ast.parse(file.read())
    return {node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.ClassDef)}


def document():
    docs = stub_docs()
    text = ("# The Python module\n\nWritten by `steadfast/python/reference.py`; `make python` builds the module into "
            "`build/python`.\n\n" + inspect.getdoc(steadfast) + "\n")
    for name in sorted(steadfast.__all__, key=str.lower):
        if name.startswith("__"):
            continue
        thing = getattr(steadfast, name)
        part = section(name, thing)
        if name in docs and docs[name] and docs[name] not in part:
            part = part.replace("```\n\n", "```\n\n" + docs[name] + "\n", 1)
        text += "\n" + part
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip() + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        with open(sys.argv[2]) as file:
            if file.read() != document():
                sys.exit(f"{sys.argv[2]} is not what the docstrings say: reference.py > {sys.argv[2]}")
    else:
        sys.stdout.write(document())
