"""Backbones by name, and the weights they start from."""

import re
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file, save_model
from torchvision.transforms._presets import ImageClassification

from crossface.errors import ConfigError, DataError
from crossface.model.config import NetConfig
from crossface.model.export import TOLERANCE, export_onnx
from crossface.model.networks import CrossfaceNet, build_backbone, feature_width
from crossface.model.saving import load_model
from crossface.model.saving import save_model as save_net
from crossface.model.weights import load_backbone_weights
from crossface.train.config import TrainConfig

SIZE = 64
SMALL = "timm/mobilenetv3_small_050"


def photos(count, size):
    """Smooth colours with a little noise, uint8 [n, 3, size, size]; red, green and blue are unlike."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform([30, 90, 150], [120, 180, 250], (count, 4, 4, 3)).astype(np.uint8)
    smooth = [np.asarray(Image.fromarray(each).resize((size, size), Image.BICUBIC)) for each in coarse]
    noisy = np.stack(smooth) + rng.normal(0, 5, (count, size, size, 3))
    return torch.from_numpy(noisy.clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2)


def used(network, seed=1):
    """As after training: no tensor has the value it is built with."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            value += 0.1 * (noise.abs() if "var" in name else noise * (value.std(correction=0) + 0.1))
    return network.eval()


def built(name, feature_dim=0, size=SIZE):
    torch.manual_seed(0)
    return build_backbone(name, feature_dim, size).eval()


def resnet18_tensors():
    torch.manual_seed(2)
    return used(torchvision.models.resnet18()).state_dict()


def write(tensors, path):
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return str(path)


# names


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"backbone": "vgg16"},
            "train.backbone: should be resnet8, resnet18, resnet34, resnet50, or timm/NAME",
        ),
        ({"backbone": "timm/../x"}, "train.backbone: should be"),
        ({"backbone": "timm/"}, "train.backbone: should be"),
        ({"backbone": "resnet18\n"}, "train.backbone: should be"),
        ({"weights": "imagnet"}, "train.weights: should be none, imagenet or the path of a .safetensors"),
        ({"weights": "/w/resnet18.pth"}, "train.weights: a pickle can run code and is not opened"),
        ({"backbone": "resnet8", "weights": "imagenet"}, "train.weights: nobody publishes any for resnet8"),
    ],
)
def test_one_line_for_a_wrong_name(values, line):
    with pytest.raises(ConfigError) as error:
        TrainConfig.parse(values, "train")
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_names_are_checked_without_torch():
    code = (
        "import sys; from crossface.train.config import TrainConfig\n"
        "TrainConfig(backbone='timm/vit_tiny_patch16_224.augreg_in21k', weights='/w/a.safetensors')\n"
        "print({'torch', 'torchvision', 'timm', 'safetensors'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("timm/convnext_ato", "backbone: timm has no convnext_ato; the closest are convnext_atto"),
        ("timm/resnet18.in1k", "backbone: timm has no resnet18.in1k; the closest are resnet18."),
    ],
)
def test_unknown_timm_name_gets_suggestions(name, line):
    with pytest.raises(ConfigError, match=re.escape(line)):
        build_backbone(name, 0, SIZE)


def test_without_timm_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"crossface\[torch\]"):
        build_backbone(SMALL, 0, SIZE)


# sizes


@pytest.mark.parametrize("size", [32, 100])
@pytest.mark.parametrize(
    ("name", "pooled"),
    [
        ("resnet8", 256),
        ("resnet18", 512),
        ("resnet50", 2048),
        ("timm/resnet18d", 512),
        ("timm/convnext_atto", 320),
        (SMALL, 1024),
        ("timm/vit_tiny_patch16_224", 192),
    ],
)
def test_feature_width_at_any_size(name, pooled, size):
    assert feature_width(built(name, 0, size)) == pooled
    backbone = build_backbone(name, 9, size).train()
    assert feature_width(backbone) == 9
    assert backbone.training


@pytest.mark.parametrize(("name", "size"), [("timm/inception_v3", 32), ("timm/levit_128s", 100)])
def test_a_size_that_the_network_cannot_take_is_one_line(name, size):
    with pytest.raises(ConfigError, match=rf"\Aimage_size: the backbone does not take {size} pixels: .*\Z"):
        feature_width(build_backbone(name, 0, size))


# files


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "model.", "backbone.1."])
@pytest.mark.parametrize("feature_dim", [0, 1000])
def test_features_are_torchvision_s_of_the_same_photos(tmp_path, prefix, feature_dim):
    tensors = resnet18_tensors()
    path = write({prefix + name: value for name, value in tensors.items()}, tmp_path / "w.safetensors")
    backbone = built("resnet18", feature_dim)
    left_out = load_backbone_weights(backbone, "resnet18", path)
    assert left_out == ([] if feature_dim else [f"{prefix}fc.bias", f"{prefix}fc.weight"])

    theirs = torchvision.models.resnet18()
    theirs.load_state_dict(tensors)
    theirs.fc = theirs.fc if feature_dim else torch.nn.Identity()
    preset = ImageClassification(crop_size=SIZE, resize_size=SIZE)
    images = photos(4, SIZE)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), theirs.eval()(preset(images)), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, tensors[name]) for name, value in backbone[1].state_dict().items())


def test_a_head_of_another_width_stays_behind_and_is_said(tmp_path, capsys):
    path = write(resnet18_tensors(), tmp_path / "w.safetensors")
    backbone = built("resnet18", 128)
    fresh = backbone[1].fc.weight.clone()
    assert load_backbone_weights(backbone, "resnet18", path) == ["fc.bias", "fc.weight"]
    assert torch.equal(backbone[1].fc.weight, fresh)
    assert capsys.readouterr().out == f"> backbone starts from {path}, without fc.bias, fc.weight\n"


def test_a_file_without_a_head_leaves_ours(tmp_path):
    tensors = {name: value for name, value in resnet18_tensors().items() if not name.startswith("fc.")}
    backbone = built("resnet18", 8)
    assert load_backbone_weights(backbone, "resnet18", write(tensors, tmp_path / "w.safetensors")) == []
    assert torch.equal(backbone[1].conv1.weight, tensors["conv1.weight"])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"layer3.0.conv2.weight": None}, "missing: layer3.0.conv2.weight"),
        ({"layer9.weight": torch.ones(2)}, "unexpected: layer9.weight"),
        (
            {"conv1.weight": torch.ones(64, 1, 7, 7)},
            "of another shape: conv1.weight [64, 1, 7, 7] instead of [64, 3, 7, 7]",
        ),
        (
            {f"bn1.{name}": None for name in ("weight", "bias", "running_mean", "running_var")},
            "missing: bn1.weight, bn1.bias, bn1.running_mean and 1 more",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path, change, line):
    tensors = {name: value for name, value in (resnet18_tensors() | change).items() if value is not None}
    path = write(tensors, tmp_path / "w.safetensors")
    backbone = built("resnet18")
    before = backbone[1].conv1.weight.clone()
    with pytest.raises(DataError) as error:
        load_backbone_weights(backbone, "resnet18", path)
    assert str(error.value) == f"weights: {path} does not fit the backbone; {line}"
    assert torch.equal(backbone[1].conv1.weight, before)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda path: path.unlink(), "there is no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "damaged, or not a safetensors file"),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "damaged, or not a safetensors file"),
        (lambda path: torch.save(resnet18_tensors(), path), "damaged, or not a safetensors file"),
        (lambda path: path.write_bytes(b""), "damaged, or not a safetensors file"),
    ],
)
def test_an_unreadable_file_is_one_line(tmp_path, spoil, line):
    path = tmp_path / "w.safetensors"
    write(resnet18_tensors(), path)
    spoil(path)
    with pytest.raises(DataError, match=line) as error:
        load_backbone_weights(built("resnet18"), "resnet18", str(path))
    assert str(error.value).startswith(f"weights: {path}: ")
    assert "\n" not in str(error.value)


def test_training_can_start_from_a_model_of_ours(tmp_path):
    config = NetConfig(backbone="resnet8", feature_dim=16, image_size=SIZE, heads=("a", "b"), adapt="cda")
    earlier = used(CrossfaceNet(config))
    save_net(earlier, tmp_path)
    backbone = built("resnet8", 16)
    left_out = load_backbone_weights(backbone, "resnet8", str(tmp_path / "model.safetensors"))
    assert {name.partition(".")[0] for name in left_out if not name.startswith("backbone.0.")} == {"heads"}
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(
            backbone[1].state_dict().values(), earlier.backbone[1].state_dict().values(), strict=True
        )
    )


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize(
    "name", ["resnet18d", "convnext_atto", "mobilenetv3_small_050", "vit_tiny_patch16_224"]
)
def test_features_are_timm_s_of_the_same_photos(tmp_path, name, size):
    torch.manual_seed(3)
    fixed = {"img_size": size} if name.startswith("vit") else {}
    theirs = used(timm.create_model(name, **fixed))
    save_model(theirs, tmp_path / "w.safetensors")
    backbone = built(f"timm/{name}", 0, size)
    load_backbone_weights(backbone, f"timm/{name}", str(tmp_path / "w.safetensors"))

    expects = timm.data.resolve_model_data_config(theirs)
    transform = timm.data.create_transform(
        (3, size, size), mean=expects["mean"], std=expects["std"], crop_pct=1
    )
    images = photos(3, size)
    standard = torch.stack([transform(Image.fromarray(each.permute(1, 2, 0).numpy())) for each in images])
    with torch.inference_mode():
        pooled = theirs.forward_head(theirs.forward_features(standard), pre_logits=True)
        torch.testing.assert_close(backbone(images), pooled, rtol=1e-3, atol=1e-4)


# downloads


def out_of_reach(folder):
    """Nothing cached, and no way out; whatever tries to connect is refused at once."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return {"TORCH_HOME": str(folder / "torch"), "HF_HOME": str(folder / "hf"), "no_proxy": "", **proxies}


def cut_off(monkeypatch, folder):
    """The same for this process."""
    for key, value in out_of_reach(folder).items():
        monkeypatch.setenv(key, value)
    # urlopen keeps what it first saw of the proxies, and would keep these for every later test
    monkeypatch.setattr(urllib.request, "_opener", None)


def recipe(message):
    return re.search(r'python -c "(.*)" and give the path', message)[1]


def test_torchvision_out_of_reach_says_the_way_out(tmp_path, monkeypatch):
    cut_off(monkeypatch, tmp_path)
    backbone = built("resnet18")
    with pytest.raises(DataError, match=r"\Aweights: those of resnet18 could not be had from .*\Z") as error:
        load_backbone_weights(backbone, "resnet18", "imagenet")
    monkeypatch.chdir(tmp_path)
    exec(recipe(str(error.value)).replace("weights='DEFAULT'", "weights=None"), {})
    load_backbone_weights(backbone, "resnet18", "resnet18.safetensors")


def test_torchvision_s_weights_come_from_torch_hub_s_cache(tmp_path, monkeypatch):
    cut_off(monkeypatch, tmp_path)
    cached = tmp_path / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    torch.save(resnet18_tensors(), cached)
    backbone = built("resnet18", 1000)
    assert load_backbone_weights(backbone, "resnet18", "imagenet") == []
    assert torch.equal(backbone[1].fc.weight, resnet18_tensors()["fc.weight"])
    torch.save({"conv1.weight": Image.new("L", (1, 1))}, cached)
    with pytest.raises(Exception, match="Weights only load failed"):
        load_backbone_weights(backbone, "resnet18", "imagenet")


START_FROM_TIMM = """
import sys
from safetensors.torch import save_model
from crossface.errors import DataError
from crossface.model.networks import build_backbone
from crossface.model.weights import load_backbone_weights
size, *names = sys.argv[1:]
for name in names:
    backbone = build_backbone(name, 0, int(size))
    try:
        load_backbone_weights(backbone, name, "imagenet")
    except DataError as error:
        print(error)
save_model(backbone[1], "ours.safetensors")
"""


def start_from_timm(size, *names, folder, **env):
    """In a process of its own, because the hub's client reads its settings once: the lines it prints."""
    command = [sys.executable, "-c", START_FROM_TIMM, str(size), *names]
    settings = {**out_of_reach(folder), **env}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=settings, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def hub(tmp_path):
    """A server that has one repository, as the Hugging Face hub serves its files."""
    torch.manual_seed(4)
    weights = tmp_path / "hub.safetensors"
    save_model(used(timm.create_model(SMALL.removeprefix("timm/"))), weights)

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.has_it = bool(
                re.search(r"/mobilenetv3_small_050\.\w+/resolve/main/model.safetensors", self.path)
            )
            self.send_response(200 if self.has_it else 404)
            if self.has_it:
                self.send_header("Content-Length", str(weights.stat().st_size))
                self.send_header("ETag", '"1"')
                self.send_header("X-Repo-Commit", "0" * 40)
            else:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            if self.has_it:
                self.wfile.write(weights.read_bytes())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", weights
        server.shutdown()


def test_timm_s_weights_come_from_the_hub(tmp_path, hub):
    url, weights = hub
    unknown, found = start_from_timm(
        SIZE, "timm/convnext_atto", SMALL, folder=tmp_path, HF_ENDPOINT=url, no_proxy="127.0.0.1"
    )
    assert unknown.startswith("weights: those of timm/convnext_atto could not be had from the hub")
    assert "404" in unknown
    assert found.endswith(f"the published weights of {SMALL}, without classifier.bias, classifier.weight")
    theirs, ours = load_file(weights), load_file(tmp_path / "ours.safetensors")
    assert set(theirs) - set(ours) == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_timm_s_hub_out_of_reach_says_the_way_out(tmp_path, monkeypatch):
    name = "timm/vit_tiny_patch16_224"
    (line,) = start_from_timm(48, name, folder=tmp_path, HF_HUB_OFFLINE="1")
    assert line.startswith(f"weights: those of {name} could not be had from the hub that timm uses (")
    monkeypatch.chdir(tmp_path)
    exec(recipe(line).replace("pretrained=True", "pretrained=False"), {})
    load_backbone_weights(built(name, 0, 48), name, "vit_tiny_patch16_224.safetensors")


def test_weights_that_nobody_publishes():
    name = "timm/convnext_atto_rms"
    with pytest.raises(ConfigError, match=f"nobody publishes any for {name}"):
        load_backbone_weights(built(name), name, "imagenet")


# the model folder


@pytest.mark.parametrize("name", ["resnet18", "timm/convnext_atto"])
def test_a_saved_model_loads_and_exports(tmp_path, name):
    config = NetConfig(backbone=name, feature_dim=12, image_size=32, heads=("a", "b"), adapt="cda")
    net = used(CrossfaceNet(config))
    for head in net.heads:
        torch.nn.init.normal_(head[-1].weight)
    net.backbone[0].mean += 3  # as a model has it that was trained on other statistics
    net.backbone[0].std *= 1.1
    save_net(net, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config == config
    images = photos(3, 32)
    with torch.inference_mode():
        assert torch.equal(loaded(images)[1], net(images)[1])
        assert loaded(images)[1].softmax(-1).mean(0).std(0).max() > 1e-3  # agreement means something
    sample = images.permute(0, 2, 3, 1).contiguous().numpy()
    assert export_onnx(loaded, tmp_path / "network.onnx", sample).difference <= TOLERANCE
