"""Pictures lead to themselves in full size. On a phone those that are wide keep a size
at which they can be read, in a box that scrolls. A hook of MkDocs."""

import posixpath
import re
import struct
from typing import Any


# What is inside a link already is left alone.
_PICTURE = re.compile(
    r'<a [^>]*>.*?</a>|<img [^>]*?src="([^"]+\.png)"[^>]*>', re.DOTALL
)


def on_page_content(content: str, page: Any, files: Any, **_: Any) -> str:
    sizes = {
        file.url: _size(file.content_bytes)
        for file in files.media_files()
        if file.url.endswith(".png")
    }

    def link(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        # The address is seen from the page's.
        where = posixpath.normpath(posixpath.join(page.url, match[1]))
        width, height = sizes.get(where, (1, 1))
        wide = " wide" if width > 1.6 * height else ""
        return f'<a class="picture{wide}" href="{match[1]}">{match[0]}</a>'

    return _PICTURE.sub(link, content)


def _size(png: bytes) -> tuple[int, int]:
    """Width and height, from the header."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height
