"""docs/ -> the site's navigation, and the tables that are generated from the code. A hook of MkDocs.

A section is a folder. Its `index.md` links every page of the folder, and that order is the order of the navigation.
A page that its index does not link is an orphan: MkDocs reports that the navigation lacks it, and `--strict` fails.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

from scripts import reference_pages

SECTIONS = {
    "tutorials": "Tutorials",
    "how-to": "How-to",
    "annotators": "Annotators",
    "operate": "Operate",
    "reference": "Reference",
    "explanation": "Explanation",
}
SHIM = "https://unpkg.com/iframe-worker/shim"  # what the theme would load from elsewhere for search in files
LINK = re.compile(r"\]\(([^)#:\s]+\.md)(?:#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Set the navigation from what each section's index links."""
    nav: list[Any] = [{"Home": "index.md"}]
    for folder, title in SECTIONS.items():
        index = files.get_file_from_path(f"{folder}/index.md")
        if index is None:
            continue
        linked = (posixpath.normpath(posixpath.join(folder, link)) for link in LINK.findall(index.content_string))
        pages = [page for page in dict.fromkeys(linked) if page.startswith(folder + "/") and page != index.src_uri]
        nav.append({title: [index.src_uri, *pages]})
    config.nav = nav
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the generated tables where a page asks for them."""
    return reference_pages.fill(markdown)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Search in files uses our own script, so that no page needs a network."""
    return output.replace(SHIM, get_relative_url("javascripts/file-worker.js", page.url))


def on_post_template(output_content: str, *, template_name: str, config: MkDocsConfig) -> str:
    """The same for the page of unknown addresses."""
    return output_content.replace(SHIM, "javascripts/file-worker.js")
