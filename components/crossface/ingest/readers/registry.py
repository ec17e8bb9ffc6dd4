"""The formats that ingest reads, by name."""

from crossface.data.tree import Tree
from crossface.errors import DataError
from crossface.ingest.readers.affectnet_2017 import AffectNet2017
from crossface.ingest.readers.affectnet_2021 import AffectNet2021
from crossface.ingest.readers.csv import CsvTable
from crossface.ingest.readers.expw import ExpW
from crossface.ingest.readers.face import Reader, ReaderOptions
from crossface.ingest.readers.fer2013 import Fer2013
from crossface.ingest.readers.ferplus import FerPlus
from crossface.ingest.readers.imagefolder import ImageFolder
from crossface.ingest.readers.parquet import ParquetImages
from crossface.ingest.readers.rafdb import RafDb
from crossface.ingest.readers.rafdb_kaggle import RafDbKaggle

READERS: dict[str, tuple[type[Reader], ...]] = {
    "rafdb": (RafDb, RafDbKaggle),
    "expw": (ExpW,),
    "affectnet": (AffectNet2017, AffectNet2021),
    "fer2013": (Fer2013,),
    "ferplus": (FerPlus,),
    "imagefolder": (ImageFolder,),
    "parquet": (ParquetImages,),
    "csv": (CsvTable,),
}
"""The forms in which each format goes round; all forms of a format take the same options."""

AUTO = "auto"
"""Stands for the format that fits."""


def options_type(format_name: str) -> type[ReaderOptions]:
    """What a user can choose about a format."""
    return READERS[format_name][0].options_type


def fits(format_name: str, tree: Tree) -> bool:
    """Whether a tree has the layout of a format in one of its forms, or with ``auto`` of any format."""
    names = READERS if format_name == AUTO else (format_name,)
    return any(form.fits(tree) for name in names for form in READERS[name])


def recognise(tree: Tree) -> str:
    """Find the one format that fits, by looking.

    Raises:
        DataError: none does, or several do; the message says what was looked for.
    """
    fitting = [name for name in READERS if fits(name, tree)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(f"{tree.uri('')}: several formats fit, so name one: {', '.join(fitting)}")
    raise _nothing_fits(tree, tuple(READERS))


def open_reader(format_name: str, tree: Tree, options: ReaderOptions | None) -> Reader:
    """Make the reader of a format, in the form that is there.

    Args:
        format_name: a key of ``READERS``.
        tree: the dataset.
        options: of the format's ``options_type``; None for the defaults.

    Raises:
        DataError: what the format needs is not there; the message says what was looked for.
    """
    forms = READERS[format_name]
    form = forms[0] if len(forms) == 1 else next((form for form in forms if form.fits(tree)), None)
    if form is None:
        raise _nothing_fits(tree, (format_name,))
    return form(tree, form.options_type() if options is None else options)


def _nothing_fits(tree: Tree, names: tuple[str, ...]) -> DataError:
    lines = [f"  {name}: {form.layout}" for name in names for form in READERS[name]]
    found = [*(f"{name}/" for name in tree.folders("")), *sorted(tree.sizes(""))]
    there = ", ".join([*found[:8], "..."] if len(found) > 8 else found) or "nothing"
    return DataError("\n".join([f"{tree.uri('')} has {there}, and no known layout; looked for", *lines]))
