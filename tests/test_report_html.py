"""report.html: what it says, that it is one file, that names cannot break it, and how a browser shows it."""
import html.parser
import json
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import accelerator, folding, models, reference, report, verify
from bnnhw.artifact import Artifact
from bnnhw.ir import Add, ArgMax, Conv2d, Dense, Flatten, Input, Network, TensorType, Threshold
from bnnhw.lower import lower
from bnnhw.plan import Plan
from bnnhw.report import learned, pictures, words
from bnnhw.report.drawing import drawing

from . import browser
from .test_topologies import random_plan
from .topologies import random_network

HOSTILE = "a<script>alert('1')</script>&\"b"
LONG = "an_operation_with_a_name_that_is_longer_than_any_box_is_wide"
VOID = {"meta", "link", "img", "path", "rect", "circle", "br"}


def residual():
    """A convolution and a way round it, with a long name."""
    rng = np.random.default_rng(0)
    signs = np.zeros((4, 1)), np.zeros(4)
    return Network([
        Input("x", TensorType((8, 8, 1), 0, 255)), Threshold("bits", "x", [[100]], [False]),
        Conv2d("conv0", "bits", rng.choice([-1, 1], (4, 3, 3, 1)), padding=(1, 1, 1, 1)), Threshold("act0", "conv0", *signs),
        Conv2d(LONG, "act0", rng.choice([-1, 1], (4, 3, 3, 4)), padding=(1, 1, 1, 1)), Add("sum", LONG, "act0"),
        Threshold("act1", "sum", *signs), Flatten("flat", "act1"),
        Dense("fc", "flat", rng.choice([-1, 1], (10, 256))), ArgMax("class", "fc"),
    ], "class")


@pytest.fixture(scope="module")
def build():
    """(report, plan, inputs) of a verified, placed and routed build; every name that users can choose is hostile."""
    network = residual()
    plan = folding.fold(network, lower(network, scores=True), clock_hz=30_000_000, fps=50_000)
    found = Artifact(network, tuple(f"{HOSTILE}{k}" for k in range(10)),
                     {"recipe": {"name": HOSTILE, "layers": [1, 2]}, HOSTILE: None, "test_accuracy": 0.75})
    facts = report.describe(plan, found, name=HOSTILE, verilog_sha256="0" * 64)
    inputs = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 1))
    labels = np.random.default_rng(2).integers(0, 10, 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "images_for", lambda *arguments: (inputs, labels))
        facts["verified"] = verify.in_verilog(plan, accelerator.verilog(plan), 40)
    hops = [("clk-to-q", 1.25, "inner.network.core.fc.unit.a"), ("routing", 2.5, "inner.network.core.sum.b"),
            ("logic", 0.75, "inner.network.core.sum.b"), ("routing", 3.0, "inner.link.c"), ("setup", 0.5, "inner.link.c")]
    facts["device"] = {
        "device": "up5k", "luts": 3456, "luts_limit": 5280, "ffs": 1936, "ffs_limit": 5280, "brams": 29, "brams_limit": 30,
        "fmax_hz": 125e6, "clock_hz": 30e6, "seed": 2, "path": {
            "ns": 8.0, "logic_ns": 2.5, "wire_ns": 5.5,
            "hops": [{"kind": kind, "ns": ns, "cell": cell} for kind, ns, cell in hops]}}
    facts["netlist"] = facts["verified"] | {"images": 3}
    facts["board"], facts["link_fps"] = {"name": "icebreaker", "link": "UART at 1 Mbaud"}, 127.4
    facts["tools"], facts["why"] = {"bnnhw": "0.1.0", "yosys": HOSTILE}, "layer 'fc' sets the interval"
    return json.loads(json.dumps(facts)), plan, inputs


@pytest.fixture(scope="module")
def bare():
    """(report, plan) of a build of which nothing is known but the plan."""
    network = residual()
    plan = folding.fold(network, lower(network), clock_hz=24_000_000)
    facts = report.describe(plan, Artifact(network), name="bare", verilog_sha256="0" * 64)
    return facts | {"tools": report.versions([]), "why": None}, plan


class Reader(html.parser.HTMLParser):
    """Checks that tags are closed in order; collects texts, attributes that point somewhere, names of tags."""
    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.targets, self.tags = [], [], [], set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.targets += [value for key, value in attributes if key in ("src", "href", "xlink:href", "srcset", "action")]
        assert not [key for key, _ in attributes if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


@pytest.fixture(scope="module")
def page(build):
    facts, plan, inputs = build
    return report.page(facts, plan, inputs=inputs)


def test_one_file(page, bare):
    for text in (page, report.page(*bare)):
        reader = Reader(text)
        assert all(target.startswith("data:") for target in reader.targets)
        assert reader.tags.isdisjoint({"script", "iframe", "object", "embed"})
        plain = re.sub("data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
        assert not re.search(r"https?:|url\(|@import|//[a-z]", plain)


def test_names_are_text(page):
    """Names of the network, of classes, of the provenance: none becomes a tag, each is there to read."""
    assert "<script" not in page and HOSTILE not in page
    reader = Reader(page)
    assert reader.texts.count(f"{HOSTILE}: accelerator report") == 1
    assert f"{HOSTILE}3" in reader.text and HOSTILE in reader.texts
    assert "recipe · layers" in reader.text and "1, 2" in reader.text


def test_what_it_says(build, page):
    facts, plan, _ = build
    text, verified = Reader(page).text, facts["verified"]
    for said in (
        "Exact", "40 test images went through the hardware description", "The synthesized circuit gave the same for 3 images.",
        f"{verified['right']} of 40 classified right", f"{facts['core_fps']:,.0f} images/s",
        f"a new image every {facts['cycles_per_inference']:,} clock cycles, confirmed by the simulation",
        f"{facts['latency_cycles']:,} cycles from an image's first value", "could run at 125 MHz", "65.5 % of up5k",
        "29 of its 30 block RAMs", "127 images/s", "UART at 1 Mbaud", "takes 8 ns, which allows 125 MHz",
        "from fc, unit to the board's link through 1 cell, and spends 68.8", "8 × 8 × 1 · 0 … 255 · 8 bits",
        "8 × 8 × 4 · signs · 1 bit", "By the planner's estimate: layer 'fc' sets the interval.",
        "seed 2, for 30 MHz", facts["model"]["network_sha256"], f"branch, buffer: {plan.fifos['conv0_to_sum']:,} words",
    ):
        assert said in text, said
    for layer in facts["layers"]:
        assert f"{layer['cycles']:,} cycles" in text
    assert [buffer["name"] for buffer in verified["buffers"]] == ["conv0", "conv0_to_sum", LONG, "fc"]
    for buffer in verified["buffers"]:
        assert re.search(rf"{buffer['peak']} of {buffer['depth']} words · {buffer['bits']}-bit", text), buffer
    for sample in verified["samples"]:
        assert all(f"{HOSTILE}{k}: {score}" in text for k, score in enumerate(sample["scores"]))
    counts = re.findall(r"<td[^>]*>(\d+)</td>", page[page.index('class="matrix'):])
    assert [int(count) for count in counts[:100]] == sum(verified["confusion"], [])


def test_what_is_not_known_is_not_said(bare):
    text = Reader(report.page(*bare)).text
    assert "Built, not verified" in text and "not placed and routed" in text and "would be the next limit at" in text
    for absent in ("Exact", "slowest path", "buffers get", "taken for what", "Images", "Accuracy", "Area", "Link", "own record",
                   "confirmed by the simulation"):
        assert absent not in text, absent


def test_without_labels_and_pictures(build):
    facts, plan, _ = build
    verified = facts["verified"] | {"right": None, "accuracy": None, "confusion": None, "samples": [
        sample | {"label": None, "scores": None} for sample in facts["verified"]["samples"]]}
    text = report.page(facts | {"verified": verified, "netlist": None}, plan)
    assert "40 random inputs went through" in text and "taken for what" not in text and "<img" not in text


def test_what_was_learned(build, page, bare):
    """Pictures of the first layer's weights, and of what each class's score hangs on; none without images."""
    report_, plan, inputs = build
    found = learned.learned(report_, plan, inputs)
    assert (found["layer"], found["neurons"], len(found["weights"])) == ("conv0", 4, 4)
    kernel = plan.network.operations["conv0"].weights[1]
    assert found["weights"][1] == learned._uri(np.where(kernel > 0, 255, 0))
    said = np.unique(reference.run(plan.network, inputs)["class"])
    assert [own["name"] for own in found["classes"]] == [report_["model"]["classes"][k] for k in said]
    assert "What the network has learned" in page and page.count(found["weights"][1]) >= 1
    assert "What the network has learned" not in report.page(*bare) and learned.learned(report_, plan, None) is None
    assert learned._signed(np.array([-1.0, 0, 0.2, 1])).tolist() == [[0, 0, 255], [255, 255, 255], [255, 204, 204], [255, 0, 0]]


def test_a_large_network_is_not_tried_part_by_part(build, monkeypatch):
    report_, plan, inputs = build
    monkeypatch.setattr(learned, "MOST_EFFORT", 1000)
    assert learned.learned(report_, plan, inputs)["classes"] == []


def test_same_build_same_page(build, page):
    facts, plan, inputs = build
    other = facts | {"verified": facts["verified"] | {"seconds": 99.5, "images_per_second": 1.25}}
    assert report.page(other, plan, inputs=inputs) == page


def test_slowest_stages_are_marked(build):
    facts, plan, _ = build
    boxes = drawing(plan, 10**9)["boxes"]
    assert not any(box["slowest"] for box in boxes)
    most = max(box["cycles"] for box in boxes)
    assert [box["slowest"] for box in drawing(plan, most)["boxes"]] == [box["cycles"] == most for box in boxes]
    assert [box["share"] for box in boxes] == [box["cycles"] / most for box in boxes]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400))
def test_every_stream_is_drawn_once(seed):
    plan = random_plan(random_network(seed), seed)
    found = drawing(plan, 1)
    place = {stage.name: index for index, stage in enumerate(plan.stages)}
    wanted = sum(len(set(stage.sources)) for stage in plan.stages)
    assert len(found["boxes"]) == len(plan.stages)
    assert len(found["streams"]) - 2 + len(found["branches"]) == wanted      # the input's and the result's come on top
    for box, stage in zip(found["boxes"], plan.stages, strict=True):
        assert (box["name"], box["joins"]) == (stage.name, len(stage.sources) == 2)
        assert len(box["short"]) + len(box["kind"]) <= 42 and len(box["line"]) <= 42
    tops = [box["y"] for box in found["boxes"]]
    for one in found["branches"]:
        assert any(place[source] < index - 1 for index, stage in enumerate(plan.stages) for source in stage.sources
                   if tops[place[source]] < one["y"] < tops[place[source]] + found["tall"] and tops[index] < one["end"])
        assert one["x"] < found["width"]
        for other in found["branches"]:
            if one is not other and one["x"] == other["x"]:
                assert one["end"] <= other["y"] or other["end"] <= one["y"] or one["end"] - other["y"] < found["tall"]


@pytest.mark.parametrize("name", models.names())
def test_shipped_networks_are_drawn(name):
    """With the first options of each stage; whatever kind of stage there is has words."""
    network = models.load(name).network
    stages = lower(network)
    options = {stage.name: next(iter(stage.folding_space())) for stage in stages}
    plan = Plan(network, stages, options, 1_000_000, fifos=dict.fromkeys(Plan(network, stages, options, 1).branches, 0))
    found = drawing(plan, 1)
    assert [box["name"] for box in found["boxes"]] == [stage.name for stage in stages]
    assert {stage.kind for stage in stages} <= set(words.KINDS)
    assert all(box["line"] == box["folding"] for box in found["boxes"]), "a folding is cut off"


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([1, 3]))
def test_png(height, width, channels):
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, channels)).astype(np.uint8)
    data, chunks = pictures.png(pixels), {}
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    position = 8
    while position < len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        body = data[position + 8:position + 8 + size]
        assert struct.unpack_from(">I", data, position + 8 + size)[0] == zlib.crc32(name + body)
        chunks[name], position = body, position + 12 + size
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (width, height, 8, {1: 0, 3: 2}[channels])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any() and rows[:, 1:].tobytes() == pixels.tobytes()


def test_pixels():
    assert pictures.data_uri(np.zeros((2, 2, 1)), TensorType((2, 2, 1), 0, 255)).startswith("data:image/png;base64,iVBOR")
    assert pictures.is_picture(TensorType((28, 28, 1), 0, 255)) and pictures.is_picture(TensorType((32, 32, 3), -1, 1, 2))
    assert not any(pictures.is_picture(TensorType(shape, 0, 255)) for shape in ((784,), (8, 8, 2), (1, 1, 1), (1, 999, 1)))
    assert pictures.columns([3, -1, 1]) == [1.0, 0.0, 0.5] and pictures.columns([2, 2]) == [1.0, 1.0]


@pytest.mark.parametrize("said, wanted", [
    (words.percent(949, 1000), "94.9 %"), (words.percent(1, 1), "100 %"), (words.percent(0, 7), "0 %"),
    (words.percent(9999, 10000), "99.99 %"), (words.percent(1, 3000), "0.03 %"), (words.percent(24, 30), "80 %"),
    (words.duration(3.577e-5), "35.8 µs"), (words.duration(2.0), "2 s"), (words.duration(1.5e-3), "1.5 ms"),
    (words.duration(4.2e-8), "42 ns"), (words.number(1234567), "1,234,567"), (words.number(45.409), "45.41"),
    (words.number(30.0), "30"),
])
def test_words(said, wanted):
    assert said == wanted.replace(" ", "\N{NO-BREAK SPACE}")


# What a reader sees: contrast of every text with what is behind it (WCAG 2: 4.5, large ones 3), texts that leave their box.
CONTRAST = """(() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1]; };
  const over = (top, under) => [0, 1, 2].map(k => top[k] * top[3] + under[k] * (1 - top[3])).concat(1);
  const light = c => { const [r, g, b] = c.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                       return .2126 * r + .7152 * g + .0722 * b; };
  const behind = element => { const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    const box = element.closest("svg g") && element.closest("g").querySelector("rect.box");
    if (box) layers.unshift(parse(getComputedStyle(box).fill));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]); };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(e), svg = e instanceof SVGElement;
    if (!own || e.closest("title") || !e.getClientRects().length) continue;
    const color = parse(svg ? style.fill : style.color);
    if (color[3] === 0) continue;
    const back = behind(e), a = light(over(color, back)), b = light(back);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) bad.push([e.textContent.slice(0, 30), ratio]);
  }
  return bad;
})()"""
OUTSIDE = """(() => { const bad = [];
  for (const svg of document.querySelectorAll("svg.network")) { const frame = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) { const box = text.getBoundingClientRect();
      if (box.left < frame.left || box.right > frame.right + 1 || box.bottom > frame.bottom + 1) bad.push(text.textContent); } }
  for (const cell of document.querySelectorAll(".figures > div, section")) { const frame = cell.getBoundingClientRect();
    for (const e of cell.querySelectorAll("p, dt, dd, li, small, h2, .matrix")) { const box = e.getBoundingClientRect();
      if (box.right > frame.right + 1 || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != "inline")
        bad.push(e.textContent.slice(0, 40)); } }
  return bad; })()"""


@pytest.fixture(scope="module")
def shown():
    program = browser.find()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(browser.NAMES)} is on PATH, and {browser.SETTING} names none")
    with browser.Page(program) as found:
        yield found


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["build", "bare"])
def test_in_a_browser(kind, width, scheme, page, bare, shown, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page if kind == "build" else report.page(*bare), encoding="utf-8")
    shown.open(file, width=width, scheme=scheme)
    assert shown.complaints == [] and shown.requests == [file.as_uri()]
    assert shown.value("document.documentElement.scrollWidth") == width
    assert shown.value(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
    background = shown.value("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(246, 247, 249)", "dark": "rgb(15, 20, 26)"}[scheme]
    assert shown.value(CONTRAST) == []
    assert shown.value(OUTSIDE) == []


def test_the_browser_sees_mistakes(shown, tmp_path):
    """Each of the checks above fails on a page that deserves it."""
    file = tmp_path / "wrong.html"
    file.write_text("<!DOCTYPE html><html><body><p style='color: #999; width: 1500px'>pale and wide</p>"
                    "<section style='width: 50px'><p style='white-space: nowrap'>more than fits</p></section><img src='none.png'>"
                    "<script>console.error('no')</script></body></html>")
    shown.open(file, width=400)
    assert any("no" in text for text in shown.complaints) and len(shown.requests) == 2
    assert shown.value("document.documentElement.scrollWidth") > 400
    assert [text for text, *_ in shown.value(CONTRAST)] == ["pale and wide"]
    assert "more than fits" in shown.value(OUTSIDE)


def test_prints(page, shown, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    shown.open(file, width=1280, scheme="dark")
    assert shown.pdf().startswith(b"%PDF")
    shown.ask("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert shown.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert shown.value(CONTRAST) == []
