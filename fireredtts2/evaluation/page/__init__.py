"""The report as one page for a browser, with everything in it: sound, pictures, charts."""

from fireredtts2.evaluation.page.render import write_page

__all__ = ["write_page"]
