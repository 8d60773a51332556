"""Pictures that are wide are as large on a phone as has to be to read them, in a box
that scrolls, and all lead to themselves in full size. A hook of MkDocs."""

import pathlib
import re
import struct
from typing import Any


_PICTURE = re.compile(r'<img [^>]*?src="([^"]+\.png)"[^>]*/?>')
_LINKED = re.compile(r"<a [^>]*>(?:(?!</a>).)*<img", re.DOTALL)


def on_page_content(content: str, files: Any, **_: Any) -> str:
    sizes = {
        pathlib.PurePosixPath(file.src_uri).name: _size(file.content_bytes)
        for file in files.media_files()
        if file.src_uri.endswith(".png")
    }
    inside = {match.end() - 4 for match in _LINKED.finditer(content)}

    def link(match: re.Match[str]) -> str:
        width, height = sizes.get(pathlib.PurePosixPath(match[1]).name, (1, 1))
        if match.start() in inside:
            return match[0]
        wide = " wide" if width > 1.6 * height else ""
        return f'<a class="picture{wide}" href="{match[1]}">{match[0]}</a>'

    return _PICTURE.sub(link, content)


def _size(png: bytes) -> tuple[int, int]:
    """Width and height, from the header."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height
