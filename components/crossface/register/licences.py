"""What the publishers of known datasets allow."""

from typing import NamedTuple


class Licence(NamedTuple):
    """The terms of one dataset, in short."""

    name: str
    terms: str
    url: str


LICENCES = {
    "rafdb": Licence(
        "RAF-DB", "non-commercial research only, on request", "http://www.whdeng.cn/RAF/model1.html"
    ),
    "expw": Licence(
        "ExpW", "non-commercial research only", "http://mmlab.ie.cuhk.edu.hk/projects/socialrelation/"
    ),
    "affectnet": Licence(
        "AffectNet",
        "on request, under a licence agreement that a professor or lab manager signs",
        "http://mohammadmahoor.com/affectnet/",
    ),
    "fer2013": Licence(
        "FER2013",
        "no licence is stated; photos from the web, published under the rules of a Kaggle competition",
        "https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
    ),
    "ferplus": Licence(
        "FER+", "labels MIT; the photos are FER2013's", "https://github.com/microsoft/FERPlus"
    ),
}
"""By the format in which ingest read a dataset. A format of no publisher, such as ``csv``, is not here."""
