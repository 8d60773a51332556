"""Pages with what their code prints and draws, and the gallery: a hook of MkDocs.

A page says where a picture goes by `<!-- picture: what it shows -->` after the block
that draws it. Code in `<!-- check ... -->` is run and not shown. An error stops the
build. Pages on which nothing is printed or drawn are left to the tests.
"""

import ast
import pathlib
import re
import tempfile
from typing import Any

from mkdocs.structure.files import File
from running import run_page, run_script


_SCRIPTS = pathlib.Path(__file__).parents[1] / "examples" / "gallery"
# An entry of the gallery: to a script here, on a forge.
_ENTRY = re.compile(r"^- \[(.*)\]\(\.\./\.\./examples/gallery/(\w+)\.py\)", re.M)
_PAGE = """# {title}

![{title}]({name}.png)

{text}

{output}

In a checkout, with the extra `examples`:

```sh
python examples/gallery/{name}.py picture.png
```

```python
{code}
```
"""


def _page_of(script: pathlib.Path, picture: pathlib.Path) -> str:
    """The page of a script: its docstring, what it prints, and its code."""
    source = script.read_text("utf-8")
    module = ast.parse(source)
    docstring = ast.get_docstring(module)
    assert docstring is not None
    title, _, text = docstring.partition("\n")
    lines = source.splitlines()[module.body[0].end_lineno :]
    printed = run_script(script, picture)
    return _PAGE.format(
        title=title.rstrip("."),
        name=script.stem,
        text=text.strip(),
        output=f"``` {{ .text .output }}\n{printed}\n```" if printed else "",
        code="\n".join(lines).strip(),
    )


def on_files(files: Any, config: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        for script in sorted(_SCRIPTS.glob("[!_]*.py")):
            picture = pathlib.Path(folder) / f"{script.stem}.png"
            page = _page_of(script, picture)
            where = f"examples/{script.stem}"
            files.append(File.generated(config, f"{where}.md", content=page))
            image = picture.read_bytes()
            files.append(File.generated(config, f"{where}.png", content=image))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    markdown = _ENTRY.sub(r"- [![](\2.png) \1](\2.md)", markdown)
    generated = page.file.generated_by is not None
    if generated or not re.search(r"^\s*print\(|<!-- picture:", markdown, re.M):
        return markdown
    shown = run_page(markdown, page.file.src_uri)
    folder = pathlib.PurePosixPath(page.file.src_uri).parent
    for name, content in shown.pictures.items():
        files.append(File.generated(config, str(folder / name), content=content))
    return shown.text
