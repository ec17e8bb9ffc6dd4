"""Small problems that can be learned in seconds, and the settings to learn them with."""

import io

import numpy as np
import torch
from PIL import Image

from crossface.data.crops import ShardWriter
from crossface.train.config import AdversaryConfig, LabelExtractorConfig, TrainConfig
from crossface.train.data import Faces

SIZE = 32


def stripes(per_cell: int, seed: int, datasets=("a", "b")) -> Faces:
    """Seven kinds of stripes, one an emotion; the datasets differ in brightness."""
    rng = np.random.default_rng(seed)
    images, emotion, dataset = [], [], []
    grid = np.arange(SIZE)
    for key in range(len(datasets)):
        for label in range(7):
            for _ in range(per_cell):
                wave = np.sin(2 * np.pi * (label + 1) * (grid + rng.integers(SIZE)) / SIZE)
                picture = (
                    110 + 40 * key + 60 * np.broadcast_to(wave, (SIZE, SIZE)) + rng.normal(0, 8, (SIZE, SIZE))
                )
                images.append(np.repeat(picture.clip(0, 255)[..., None], 3, -1))
                emotion.append(label)
                dataset.append(key)
    return Faces(
        torch.from_numpy(np.array(images, np.uint8)).permute(0, 3, 1, 2),
        torch.tensor(emotion),
        torch.tensor(dataset),
        tuple(datasets),
    )


def config(**changes) -> TrainConfig:
    values = {
        "backbone": "resnet8",
        "feature_dim": 32,
        "image_size": SIZE,
        "epochs": 12,
        "batch_size": 28,
        "lr": 0.02,
        "precision": "fp32",
        "adversary": AdversaryConfig(lambda_max=0.2, normalize=True),
        "label_extractor": LabelExtractorConfig(lambda_max=0.2),
    }
    return TrainConfig(**{**values, **changes})


def write_crops(folder, faces: Faces, key=0):
    """The crops folder of one dataset: every third face is in dev, the others in train."""
    folder.mkdir()
    writer, name = ShardWriter(folder), faces.datasets[key]
    for number, row in enumerate((faces.dataset == key).nonzero().flatten().tolist()):
        buffer = io.BytesIO()
        Image.fromarray(faces.images[row].permute(1, 2, 0).numpy()).save(buffer, "PNG")
        face = f"{name}/{number}"
        writer.write(
            {
                "face_id": face,
                "dataset": name,
                "split": "dev" if number % 3 == 0 else "train",
                "emotion": int(faces.emotion[row]),
                "image": {"bytes": buffer.getvalue(), "path": f"{number}.png"},
                "group": face,
            }
        )
    writer.close()
    return folder
