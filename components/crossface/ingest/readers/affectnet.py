"""AffectNet's labels, the same in all its forms.

Mollahosseini, Hasani, Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing
in the Wild", IEEE Transactions on Affective Computing 2019.
"""

from crossface.data.emotions import EMOTION_INDEX

EMOTION_OF = {
    "0": EMOTION_INDEX["neutral"],
    "1": EMOTION_INDEX["happiness"],
    "2": EMOTION_INDEX["sadness"],
    "3": EMOTION_INDEX["surprise"],
    "4": EMOTION_INDEX["fear"],
    "5": EMOTION_INDEX["disgust"],
    "6": EMOTION_INDEX["anger"],
}
NOT_USED = {"7": "contempt", "8": "none", "9": "uncertain", "10": "no face"}
