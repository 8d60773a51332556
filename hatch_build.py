"""Addresses of the project in the metadata of a package."""

import os

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ProjectURLs(MetadataHookInterface):
    """The repository that the workflow of a release runs in, as GitHub names it. No
    address is written in this repository; a package that is built elsewhere has none.
    """

    def update(self, metadata: dict) -> None:
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        repository = os.environ.get("GITHUB_REPOSITORY")
        if not repository:
            metadata["urls"] = {}
            return
        url = f"{server}/{repository}"
        owner, name = repository.split("/")
        pages = f"https://{owner.lower()}.github.io/{name}/"
        metadata["urls"] = {
            "Homepage": pages,
            "Documentation": pages,
            "Repository": url,
            "Changelog": f"{url}/blob/main/CHANGELOG.md",
            "Issues": f"{url}/issues",
        }
