"""`schema`: JSON Schemas of the files that people write, made from the models that read them.

Editors show a field's description. It stands in the source as the string under the field; it is read from
there, when a schema is asked for, so that no start of the daemon pays for it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from xserve.cli.command import Arguments, Command, CommandError, Exit, Parser, add_config_dir, add_json
from xserve.cli.output import print_json

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import GenerateJsonSchema

NAMES = ("deploy", "settings", "engine", "LLM", "embedding", "rerank", "image", "audio", "flexible")


def schema_options(parser: Parser) -> None:
    """Of which file."""
    parser.add_argument(
        "name",
        nargs="?",
        choices=(*NAMES, "options", "all"),
        default="all",
        metavar="NAME",
        help=", ".join((*NAMES, "options")),
    )
    parser.add_argument("engine", nargs="?", metavar="ENGINE", help="With options: whose.")
    add_config_dir(parser)
    add_json(parser)  # it prints nothing else; scripts need not know


def run_schema(args: Arguments) -> int:
    """One schema, or all of them by name."""
    if args.name == "options" and not args.engine:
        raise CommandError("say whose options: xserve schema options ENGINE", Exit.USAGE)
    if args.engine and args.name != "options":
        raise CommandError(f"only options are an engine's: xserve schema options {args.engine}", Exit.USAGE)
    if args.engine:
        print_json(_options(args.engine, args.config_dir))
        return Exit.DONE
    print_json({name: schema(name) for name in NAMES} if args.name == "all" else schema(args.name))
    return Exit.DONE


def _options(name: str, config: str | None) -> dict[str, Any]:
    """What may stand under `options` of a deploy entry, as the engine's manifest says.

    `config`: the config directory whose settings may name further engines.
    """
    from xserve.core.engines import no_such_engine, normal_name
    from xserve.daemon.discovery import discover
    from xserve.daemon.offline import Offline

    manifests = [found.manifest for found in discover(Offline.open(config).settings.engine_dirs)[0]]
    for manifest in manifests:
        if normal_name(name) in {normal_name(manifest.name), normal_name(manifest.title)}:
            return {"$schema": "https://json-schema.org/draft/2020-12/schema", **manifest.options}
    raise CommandError(no_such_engine(name, [manifest.name for manifest in manifests]), Exit.USAGE)


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a kind of file."""
    document = _model(name)
    described = {it.__name__: list(_descriptions(it)) for it in (document, *_parts(document))}
    made = document.model_json_schema(schema_generator=_as_written())
    for title, part in {document.__name__: made, **made.get("$defs", {})}.items():
        for field, text in described.get(title, ()):
            if field in part["properties"]:
                part["properties"][field]["description"] = text
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _as_written() -> type[GenerateJsonSchema]:
    """A generator that says what may be written, not what it is turned into: `30s` is a number once it is read."""
    from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
    from pydantic_core import core_schema

    from xserve.core.text import parse_duration, source_text

    written: dict[object, JsonSchemaValue] = {
        source_text: {"type": ["string", "number"]},
        parse_duration: {"type": ["string", "number"], "examples": ["500ms", "30s", "10m", "1h"]},
    }

    class AsWritten(GenerateJsonSchema):
        """Knows the validators that take more than their result."""

        def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
            """The shape before the function."""
            known = written.get(schema["function"]["function"])
            return dict(known) if known else super().function_before_schema(schema)

    return AsWritten


def _model(name: str) -> type[BaseModel]:
    from xserve.core.definition import KINDS  # these bring pydantic
    from xserve.core.deploy import DeployFile
    from xserve.core.manifest import Manifest
    from xserve.core.settings import Settings

    models: dict[str, type[BaseModel]] = {"deploy": DeployFile, "settings": Settings, "engine": Manifest, **KINDS}
    return models[name]


def _parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models of the module in which a document is defined: its parts are among them."""
    module = inspect.getmodule(model)
    for value in vars(module).values():
        if isinstance(value, type) and hasattr(value, "model_fields") and value.__module__ == model.__module__:
            yield value


def _descriptions(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Each field with the string under it; a base class's first, so that a field that is stated anew wins."""
    for base in reversed(model.__mro__):
        if base.__module__ == model.__module__:
            yield from _strings_under_fields(ast.parse(inspect.getsource(base)).body[0])


def _strings_under_fields(node: ast.stmt) -> Iterator[tuple[str, str]]:
    body = node.body if isinstance(node, ast.ClassDef) else []
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)


COMMANDS = {
    "schema": Command(
        run_schema,
        schema_options,
        "Prints the JSON Schema of deploy files, of settings, of engine manifests, of a kind of definition, or of the "
        "options of an engine, for editors and generators. Without a name: an object with all of them.",
        "xserve schema deploy > deploy.schema.json\nxserve schema options llama_cpp",
    )
}
