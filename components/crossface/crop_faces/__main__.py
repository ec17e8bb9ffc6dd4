"""``python -m crossface.crop_faces``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Cut the faces of a records folder, write a crops folder."""
    parser = StepParser("crop_faces", __doc__)
    parser.add_argument("records", type=parser.folder, help="a records folder of ingest")
    with parser.step() as arguments:
        from crossface.crop_faces.config import CropConfig
        from crossface.crop_faces.crop import crop_faces

        print(crop_faces(arguments.records, CropConfig.parse(arguments.config, "crop"), arguments.out))


if __name__ == "__main__":
    main()
