"""Pages with what their code prints and draws, and the gallery: a hook of MkDocs.

A page says where a picture goes by `<!-- picture: what it shows -->` after the block
that draws it. Code in `<!-- check ... -->` is run and not shown. Pages on which nothing
is printed or drawn are left to the tests. An error stops the build.
"""

import ast
import concurrent.futures
import multiprocessing
import pathlib
import re
import sys
from typing import Any

from mkdocs.structure.files import File
from running import ROOT, run_page, run_script, Shown


# An entry of the gallery leads to the script on a forge, and to its page here.
_ENTRY = re.compile(r"^- \[(.*)\]\(\.\./\.\./examples/(\w+)\.py\)", re.MULTILINE)
_SHOWS = re.compile(r"^ *print\(|^<!-- picture:", re.MULTILINE)
_SCRIPT = """# {title}

![{title}]({name}.png)

{text}

{output}

In a checkout, with the extra `examples`:

```sh
python examples/{name}.py {name}.png
```

```python
{code}
```
"""
_pages: dict[str, Shown] = {}


def _page_of(script: pathlib.Path, printed: str) -> str:
    """The page of a script: its docstring, what it prints, and its code."""
    source = script.read_text("utf-8")
    module = ast.parse(source)
    title, _, text = (ast.get_docstring(module) or "").partition("\n")
    code = source.splitlines()[module.body[0].end_lineno :]
    return _SCRIPT.format(
        title=title.rstrip("."),
        name=script.stem,
        text=text.strip(),
        output=f"``` {{ .text .output }}\n{printed}\n```" if printed else "",
        code="\n".join(code).strip(),
    )


def on_files(files: Any, config: Any) -> Any:
    pages = files.documentation_pages()
    written = {page.src_uri for page in pages}
    pages = [page for page in pages if _SHOWS.search(page.content_string)]
    scripts = sorted((ROOT / "examples").glob("[!_]*.py"))
    scripts = [s for s in scripts if f"examples/{s.stem}.md" not in written]
    # The processes import the hook's neighbour from here.
    sys.path.append(str(pathlib.Path(__file__).parent))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        drawn = [pool.submit(run_script, script) for script in scripts]
        shown = [pool.submit(run_page, p.content_string, p.src_uri) for p in pages]
    for page, future in zip(pages, shown, strict=True):
        _pages[page.src_uri] = future.result()
        folder = pathlib.PurePosixPath(page.src_uri).parent
        for name, content in future.result().pictures.items():
            where = str(folder / name)
            files.append(File.generated(config, where, content=content))
    for script, future in zip(scripts, drawn, strict=True):
        printed, picture = future.result()
        where, content = f"examples/{script.stem}", _page_of(script, printed)
        files.append(File.generated(config, f"{where}.md", content=content))
        files.append(File.generated(config, f"{where}.png", content=picture))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if page.file.src_uri in _pages:
        markdown = _pages[page.file.src_uri].text
    return _ENTRY.sub(r"- [![](\2.png) \1](\2.md)", markdown)
