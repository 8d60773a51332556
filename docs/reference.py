"""What the pages of the API show beyond what stands in the code: an extension of
Griffe, which reads the package for mkdocstrings, and a hook of MkDocs."""

import re
from typing import Any

import griffe


# A list of a docstring, with its heading, and an entry of it: names, and what they are.
_ATTRIBUTES = re.compile(
    r"^(\*\*Attributes:\*\*\n\n)?(- `\w+`.*?)(?=^\S(?<!-)|\Z)", re.MULTILINE | re.DOTALL
)
_ENTRY = re.compile(
    r"^- ((?:`\w+`(?:, )?)+): (.*?)(?=^- |\Z)", re.MULTILINE | re.DOTALL
)
# Long code in a sentence, and a name in a heading.
_LONG = re.compile(r"(?<=<code>)[^<\s]{24,}(?=</code>)|(?<=-name\">)[\w.]+(?=<)")
_NOT_BUILT_BY_USERS = ("Abstract", "RESULTS")
_DECLARED = ("eqx.AbstractVar", "AbstractClassVar")


class PublicMembers(griffe.Extension):
    """Fields get the lines of their class's list of attributes, modules of Equinox the
    constructor that Equinox makes, and functions are found that have the name of
    their module."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        modules = _modules(pkg)
        for module in modules:
            if "._" not in module.path:
                _restore_functions(module)
        for module in modules:
            for member in list(module.classes.values()):
                if not member.is_alias:
                    _describe_fields(member)
                    _add_constructor(member)


def on_page_content(content: str, **_: Any) -> str:
    """Sources are not searched, and long code is broken where a name begins."""
    breakable = lambda match: re.sub(r"([.(])(?=[A-Za-z])", r"\1<wbr>", match[0])
    content = _LONG.sub(breakable, content)
    return content.replace(
        '<details class="mkdocstrings-source">',
        '<details class="mkdocstrings-source" data-search-exclude>',
    )


def _modules(module: griffe.Module) -> list[griffe.Module]:
    inner = [m for m in module.modules.values() if not m.is_alias]
    return [module, *(found for m in inner for found in _modules(m))]


def _restore_functions(module: griffe.Module) -> None:
    """`from .fit import fit` hides a module, which Griffe would show instead."""
    for name, member in module.members.items():
        if not member.is_alias:
            continue
        try:
            target = member.final_target
        except griffe.AliasResolutionError:  # of another package
            continue
        if target.is_module and name in target.members:
            function = target.members[name]
            module.members[name] = griffe.Alias(name, target=function, parent=module)


def _describe_fields(cls: griffe.Class) -> None:
    if cls.docstring is None:
        return
    found = _ATTRIBUTES.search(cls.docstring.value)
    if found is None:
        return
    left = []
    for entry in _ENTRY.finditer(found[2]):
        for name in re.findall(r"`(\w+)`", entry[1]):
            member = cls.members.get(name)
            if member is None or member.docstring is not None:
                left.append(entry[0])
                continue
            text = " ".join(entry[2].split())
            member.docstring = griffe.Docstring(
                text[0].upper() + text[1:], parent=member
            )
    rest = f"{found[1] or ''}{''.join(left)}\n" if left else ""
    text = cls.docstring.value
    cls.docstring.value = text[: found.start()] + rest + text[found.end() :]


def _add_constructor(cls: griffe.Class) -> None:
    """That of Equinox: a parameter for each field, in the order of definition."""
    if "__init__" in cls.members or cls.name.startswith(_NOT_BUILT_BY_USERS):
        return
    lineage = [cls, *cls.mro()]
    if not any("Module" in str(base) for c in lineage for base in c.bases):
        return
    fields = {}
    for parent in reversed(lineage):
        for member in parent.attributes.values():
            if "property" in member.labels or member.annotation is None:
                continue
            if "instance-attribute" in member.labels and not str(
                member.annotation
            ).startswith(_DECLARED):
                fields[member.name] = griffe.Parameter(
                    member.name,
                    annotation=member.annotation,
                    kind=griffe.ParameterKind.positional_or_keyword,
                    default=_default(member.value, parent.module),
                )
    self_ = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    init = griffe.Function(
        "__init__", parameters=griffe.Parameters(self_, *fields.values()), parent=cls
    )
    cls.set_member("__init__", init)


def _default(value: Any, module: griffe.Module) -> Any:
    """What a field is if it is not given; `eqx.field(...)` has it in its arguments."""
    if isinstance(value, griffe.ExprName) and value.name.isupper():  # a constant
        return module.members[value.name].value
    if isinstance(value, griffe.ExprCall) and str(value.function) == "eqx.field":
        given = [a for a in value.arguments if isinstance(a, griffe.ExprKeyword)]
        return next((a.value for a in given if a.name == "default"), None)
    return value
