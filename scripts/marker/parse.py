"""Asks a release of marker-pdf, unpacked without what it needs, how its own
parser understands command lines.

    python parse.py RELEASE < questions > answers

RELEASE is the folder of an unpacked wheel. Each line of standard input is a
JSON object with `args` (the words behind marker_single) and `variables` (names
of environment variables). Each line of standard output answers it:

    error      what the parser says, null where it takes the words
    values     what it understood, after its own reading of --config_json
    unheard    keys of that which no class of the release has
    unread     those of the variables that no settings of the release have

The first line of output is about the release itself: `defaults`, the batch
sizes that its functions choose, by function and device.

The release's own code parses: its click or argparse command, the options that
it makes from its classes, its reading of the configuration file. What it imports
from elsewhere (torch and models, which take gigabytes) is replaced by classes
that do nothing. A real installation behaves alike as far as nothing there takes
part in parsing.
"""

import argparse
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import io
import json
import os
import sys
import types
import warnings
from pathlib import Path

# What takes part in parsing, and is real. Everything else but the standard
# library stands empty.
REAL = {
    "annotated_types",
    "click",
    "dotenv",
    "marker",
    "platformdirs",
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "typing_extensions",
    "typing_inspection",
}


class EmptyMeta(type):
    """Of classes that can be called, subscripted, joined and derived from."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return empty(name)

    def __call__(cls, *args, **kwargs):
        # As a decorator it leaves what it decorates.
        if len(args) == 1 and not kwargs and inspect.isroutine(args[0]):
            return args[0]
        return empty(cls.__name__)

    def __getitem__(cls, item):
        return cls

    def __or__(cls, other):
        return cls

    __ror__ = __or__

    def __iter__(cls):
        return iter(())

    def __enter__(cls):
        return cls

    def __exit__(cls, *args):
        return None


class Empty(metaclass=EmptyMeta):
    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        from pydantic_core import core_schema

        return core_schema.any_schema()


def empty(name):
    # `warnings` and `except` insist on what they are given.
    for end, kind in (("Warning", Warning), ("Error", Exception), ("Exception", Exception)):
        if name.endswith(end):
            return EmptyMeta(name, (Empty, kind), {})
    return EmptyMeta(name, (Empty,), {})


class EmptyModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        value = "0" if name == "__version__" else empty(name)
        setattr(self, name, value)
        return value


class EmptyFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, real):
        self.real = real

    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in self.real or top in sys.stdlib_module_names:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = EmptyModule(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


class Parsed(Exception):
    """Carries what argparse understood out of a `main` that would go on."""


def entry_point(release):
    [file] = release.glob("marker_pdf-*.dist-info/entry_points.txt")
    for line in file.read_text().splitlines():
        name, _, place = line.partition("=")
        if name.strip() == "marker_single":
            module, _, function = place.strip().partition(":")
            return getattr(importlib.import_module(module), function)
    raise LookupError("no marker_single")


def parse_by_argparse(main, args):
    def parse_args(parser, *_):
        understood, rest = parser.parse_known_args(args)
        if rest:
            parser.error("unrecognized arguments: " + " ".join(rest))
        raise Parsed(vars(understood))

    original = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = parse_args
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            main()
    except Parsed as parsed:
        return None, parsed.args[0], ()
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1], {}, ()
    finally:
        argparse.ArgumentParser.parse_args = original
    raise RuntimeError("main parsed nothing")


def parse_by_click(command, args):
    import click

    own = list(command.params)
    try:
        context = command.make_context("marker_single", list(args))
    except click.ClickException as error:
        return error.format_message(), {}, ()
    except Exception as error:
        # 1.3.0 to 1.7.3 crash on types that click does not know.
        return f"{type(error).__name__}: {error}", {}, ()
    finally:
        command.params[:] = own
    from marker.config.parser import ConfigParser

    given = {name: value for name, value in context.params.items() if value is not None}
    read = ConfigParser(given).generate_config_dict()
    return None, {**context.params, **read}, set(read) - set(context.params)


def modules(release):
    """All of marker's own. Early releases have no __init__.py in their folders,
    so files are looked for, not packages."""
    for file in sorted((release / "marker").rglob("*.py")):
        parts = file.relative_to(release).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if "scripts" in parts:
            continue
        try:
            yield importlib.import_module(".".join(parts))
        except Exception as error:
            print(f"{file}: {error!r}", file=sys.stderr)


def attributes(modules):
    names = set()
    for module in modules:
        for _, found in inspect.getmembers(module, inspect.isclass):
            if found.__module__.startswith("marker"):
                names |= {name for name in dir(found) if not name.startswith("__")}
                for parent in found.__mro__:
                    names |= set(getattr(parent, "__annotations__", {}))
    return names


def functions(modules):
    """Those that choose a batch size: name, and a way to call it."""
    for module in modules:
        for name, found in inspect.getmembers(module):
            here = getattr(found, "__module__", None) == module.__name__
            if here and inspect.isfunction(found) and name == "get_batch_size":
                yield module.__name__, found
            elif here and inspect.isclass(found):
                for method, function in inspect.getmembers(found, inspect.isfunction):
                    if method.startswith("get_") and method.endswith("batch_size"):
                        call = lambda function=function, found=found: function(Unset(found))
                        yield f"{found.__name__}.{method}", call


class Unset:
    """An instance of a class that was not configured."""

    def __init__(self, of):
        self.of = of

    def __getattr__(self, name):
        return getattr(self.of, name)


def defaults(modules):
    from marker.settings import settings

    chosen = {}
    for name, function in functions(modules):
        for device in ("cpu", "mps", "cuda"):
            settings.TORCH_DEVICE = device
            chosen.setdefault(name, {})[device] = function()
    settings.TORCH_DEVICE = None
    return chosen


def settings_names():
    from marker.settings import Settings

    names = set(Settings.model_fields)
    if importlib.util.find_spec("surya.settings") and "surya" in REAL:
        names |= set(importlib.import_module("surya.settings").Settings.model_fields)
    return names


def answers(release):
    found = list(modules(release))
    yield {"defaults": defaults(found)}
    known, read = attributes(found), settings_names()
    command = entry_point(release)
    parse = parse_by_argparse if inspect.isfunction(command) else parse_by_click
    for line in sys.stdin:
        question = json.loads(line)
        error, values, unheard = parse(command, question["args"])
        yield {
            "error": error,
            "values": values,
            "unheard": sorted(set(unheard) - known),
            "unread": sorted(set(question["variables"]) - read),
        }


def main():
    release = Path(sys.argv[1]).resolve()
    if (release / "surya").is_dir():
        REAL.add("surya")
    own = {entry.stem for entry in release.iterdir()}
    sys.path.insert(0, str(release))
    sys.meta_path.insert(0, EmptyFinder(REAL | (own - {"surya"})))
    os.environ.pop("TORCH_DEVICE", None)
    # Releases define some options twice, which click has come to mind.
    warnings.filterwarnings("ignore", message=".*used more than once")
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for answer in answers(release):
            print(json.dumps(answer, default=str), file=out, flush=True)


main()
