"""Data of the user's own: read, encoded by what the training part says, refused by row."""
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnhw import owndata, tables
from bnnhw.owndata import OwnDataError
from bnnhw.owndata.encoding import Number, parse, scale_of
from bnnhw.owndata.table import Column

from .own_files import Image, arrays, flowers, pictures, write_csv


def refused(path, **options):
    with pytest.raises(OwnDataError) as refusal:
        owndata.load(path, **options)
    return str(refusal.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_table(tmp_path, separator):
    rows = flowers()
    own = owndata.load(write_csv(tmp_path / "f.csv", rows, separator))
    test = tables.folds(np.array([row[3] == "small" for row in rows[1:]], np.int64), 5, 0) == 0
    cells = [row for row, held in zip(rows[1:], test, strict=True) if not held]
    least = min(float(row[0]) for row in cells)
    assert own.encoding["columns"][0] == {"kind": "number", "name": "width", "least": least, "scale": 100.0}
    assert own.encoding["columns"][2] == {"kind": "category", "name": "colour", "values": ["blue", "red", "white"]}
    assert own.encoding["label"] == "kind" and own.train.classes == ("big", "small") and own.train.greatest == 65535
    want = [[round((float(row[0]) - least) * 100), int(row[1]) - min(int(row[1]) for row in cells),
             1 + ["blue", "red", "white"].index(row[2])] for row in cells]
    assert own.train.images.tolist() == want and own.train.images.dtype == np.int32
    assert own.train.labels.tolist() == [int(row[3] == "small") for row in cells]
    assert len(own.test.labels) == test.sum() == own.facts["test_rows"] and own.facts["name"] == "f.csv"


def test_the_test_part_teaches_nothing(tmp_path):
    """Other values in the rows for the test change no encoding; they are cut off, and an unknown word is 0."""
    rows = flowers()
    before = owndata.load(write_csv(tmp_path / "a.csv", rows))
    held = np.flatnonzero(tables.folds(np.array([row[3] == "small" for row in rows[1:]], np.int64), 5, 0) == 0)
    for row in held:
        rows[row + 1][:3] = ["-1e9", 1e9, "green"]
    after = owndata.load(write_csv(tmp_path / "b.csv", rows))
    assert after.encoding == before.encoding and np.array_equal(after.train.images, before.train.images)
    assert set(map(tuple, after.test.images.tolist())) == {(0, 65535, 0)}


def test_label_and_second_file(tmp_path):
    rows = flowers()
    train, test = write_csv(tmp_path / "a.csv", rows), write_csv(tmp_path / "b.csv", flowers(12, seed=1))
    own = owndata.load(train, test)
    assert (own.facts["train_rows"], own.facts["test_rows"]) == (60, 12)
    assert owndata.load(train, label="colour").train.classes == ("blue", "red", "white")
    other = write_csv(tmp_path / "c.csv", [["width", "height", "colour", "kind"], *[[1, 2, "red", "huge"]] * 12])
    assert refused(train, test_path=other) == f"{other}, line 2: no row of the training has its class, 'huge'"
    short = write_csv(tmp_path / "d.csv", [row[1:] for row in rows])
    assert refused(train, test_path=short) == f"{short}: there is no column 'width'; there are 'height', 'colour'"


@pytest.mark.parametrize("change, message", [
    (lambda rows: rows[7].pop(), ", line 8: there are 3 cells, but 4 columns"),
    (lambda rows: rows[7].append("x"), ", line 8: there are 5 cells, but 4 columns"),
    (lambda rows: rows[9].__setitem__(1, ""), ", line 10, column 'height': the cell is empty"),
    (lambda rows: rows[9].__setitem__(1, "nan"), ", line 10, column 'height': it must be finite, not nan"),
    (lambda rows: rows[9].__setitem__(0, "-inf"), ", line 10, column 'width': it must be finite, not -inf"),
    (lambda rows: rows[5].__setitem__(1, "tall"),
     ", line 6, column 'height': 'tall' stands among numbers: a column is either numbers or categories"),
    (lambda rows: rows[5].__setitem__(2, "7"),
     ", line 6, column 'colour': '7' stands among words: a column is either numbers or categories"),
    (lambda rows: rows[5].__setitem__(0, "1,5"),
     ", line 6, column 'width': '1,5' is no number here: decimals come after a point, and nothing stands between thousands"),
    (lambda rows: [row.__setitem__(1, "1,234.5") for row in rows[1:]],
     ", line 2, column 'height': '1,234.5' is no number here: decimals come after a point, and nothing stands between thousands"),
    (lambda rows: rows[9].__setitem__(1, "-1e301"),
     ", line 10, column 'height': it must be within -1e+300 to 1e+300, not -1e+301"),
    (lambda rows: [row.__setitem__(slice(0, 3), [1, 2, "red"]) for row in rows[1:]],
     ": all 48 inputs for the training are equal: there is nothing to learn from"),
    (lambda rows: rows[5].__setitem__(3, "odd"),
     ", line 6: no other row has its class, 'odd' (column 'kind'; --label names another)"),
    (lambda rows: rows[5].__setitem__(3, ""), ", line 6, column 'kind': the cell is empty"),
    (lambda rows: [row.__setitem__(3, "big") for row in rows[1:]],
     ": all 60 rows are of one class, 'big' ({}, line 2, ...): there must be two at least"),
    (lambda rows: rows.extend([[1, 2, f"w{k}", "big"] for k in range(80)]),
     ", line 2, column 'colour': '{}' is one of 83 different words, but a column of categories has 64 at most: take it out of "
     "the file"),
    (lambda rows: rows.pop(0), ", line 1: the first row must name the columns, but number 1 of them is '{}'"),
    (lambda rows: rows[0].__setitem__(1, "width"), ", line 1: two columns have the name 'width'"),
    (lambda rows: rows.__delitem__(slice(1, None)), ": there is no row below the names of the columns"),
    (lambda rows: rows.__delitem__(slice(8, None)), ": 7 rows are too few: there must be 10 at least"),
    (lambda rows: rows.clear(), ": it is empty"),
])
def test_bad_tables(tmp_path, change, message):
    rows = flowers()
    first = rows[1][2] if "words, but" in message else rows[1][0]
    change(rows)
    path = write_csv(tmp_path / "f.csv", rows)
    assert refused(path) == f"{path}{message.format(path if 'one class' in message else first)}"


def test_words_and_classes_that_look_like_numbers(tmp_path):
    """1_2 is no number (to Python it is 12); classes of equal value have one order; nan is no class among numbers."""
    rows = [["code", "kind"], *[[code, kind] for code, kind in (("1_2", "1"), ("12", "1.0"), ("3_4", "0")) for _ in range(9)]]
    path = write_csv(tmp_path / "f.csv", rows)
    assert refused(path) == f"{path}, line 11, column 'code': '12' stands among words: a column is either numbers or categories"
    for row in rows[10:19]:
        row[0] = "5_6"
    own = owndata.load(write_csv(path, rows))
    assert own.encoding["columns"][0]["values"] == ["1_2", "3_4", "5_6"] and own.train.classes == ("0", "1", "1.0")
    for row in rows[7:10]:
        row[1] = "nan"
    assert refused(write_csv(path, rows)) == f"{path}, line 8: a class must be finite where classes are numbers, not nan"


@pytest.mark.parametrize("data, message", [
    (b"a;b\n\xff;1\n", "{}: it is not text in UTF-8"),
    (b"a\n1\n", "{}, line 1: there must be two columns at least, separated by comma, semicolon or tab; there is 'a'"),
    (b'a,b\n"1,2\n', "{}, line 2: not CSV: unexpected end of data"),
])
def test_bad_text(tmp_path, data, message):
    (tmp_path / "f.csv").write_bytes(data)
    assert refused(tmp_path / "f.csv") == message.format(tmp_path / "f.csv")


@pytest.mark.parametrize("name, message", [
    ("nix.csv", "{}: there is no such file"), ("nix", "{}: there is no such file"),
    ("a.txt", "{}: it must be a folder of pictures, an .npz file or a .csv file"),
    ("a.npz", "{}: it is not an .npz file, or it is damaged"),
])
def test_bad_paths(tmp_path, name, message):
    for own in ("a.txt", "a.npz"):
        (tmp_path / own).write_text("text")
    assert refused(tmp_path / name) == message.format(tmp_path / name)


@given(st.lists(st.integers(-10**6, 10**6), min_size=2, max_size=20, unique=True), st.integers(0, 9))
def test_numbers_stay_apart(values, digits):
    """Where 65,536 steps are enough each value becomes its distance from the least one, in steps of the last digit at most."""
    column = Column("x", [f"{value / 10**digits:.{digits}f}" for value in values], str)
    found = column.numbers()
    own = Number(name="x", least=float(found.min()), scale=scale_of(found))
    codes = own.encode(column).astype(int).tolist()
    assert min(codes) == 0 and max(codes) <= 65535
    shared = np.gcd.reduce([value - min(values) for value in values])
    step = next(10**k for k in range(digits, -1, -1) if shared % 10**k == 0)
    if (max(values) - min(values)) // step <= 65535:
        assert codes == [(value - min(values)) // step for value in values]
    else:
        assert max(codes) == 65535 and np.array_equal(np.argsort(values, kind="stable"), np.lexsort((values, codes)))


def test_folder(tmp_path):
    own = owndata.load(pictures(tmp_path / "p"))
    assert own.train.images.shape == (12, 6, 5, 1) and own.test.images.shape == (4, 6, 5, 1)
    assert own.train.classes == ("cat", "dog")
    first = np.asarray(Image.open(sorted((tmp_path / "p/cat").iterdir())[0]))
    assert any(np.array_equal(image[:, :, 0], first) for image in (*own.train.images, *own.test.images))
    assert own.encoding == {"kind": "pictures", "rows": 6, "columns": 5, "channels": 1, "fitted": False}
    assert owndata.load(tmp_path / "p", size=(3, 4)).train.images.shape == (12, 3, 4, 1)


def test_folder_with_parts_and_colours(tmp_path):
    pictures(tmp_path / "p/train", classes=("10", "9"))
    pictures(tmp_path / "p/test", count=3, classes=("10", "9"))
    (tmp_path / "p/.hidden").write_text("x")
    (tmp_path / "p/train/9/Thumbs.db").write_text("x")
    own = owndata.load(tmp_path / "p")
    assert (own.facts["train_rows"], own.facts["test_rows"]) == (16, 6) and own.train.classes == ("9", "10")
    Image.new("LA", (5, 6), (77, 255)).save(tmp_path / "p/train/9/b.png")       # grey, though it could be transparent
    own = owndata.load(tmp_path / "p")
    assert own.train.images.shape == (17, 6, 5, 1) and any(np.all(image == 77) for image in own.train.images)
    colours = Image.new("RGBA", (5, 6), (10, 20, 30, 255))
    colours.putpixel((0, 0), (200, 200, 200, 0))
    colours.save(tmp_path / "p/train/9/a.png")
    own = owndata.load(tmp_path / "p")
    assert own.train.images.shape[3] == 3
    place = next(image for image in own.train.images if image[5, 4].tolist() == [10, 20, 30])
    assert place[0, 0].tolist() == [0, 0, 0]
    assert owndata.load(tmp_path / "p", grey=True).train.images.shape[3] == 1


def test_bad_pictures(tmp_path):
    folder = pictures(tmp_path / "p")
    broken = folder / "dog/3.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:60])
    assert refused(folder).startswith(f"{broken}: it cannot be read: ")
    broken.write_bytes(b"text")
    assert refused(folder) == f"{broken}: it is no picture that can be read"
    Image.new("L", (7, 6)).save(broken)
    assert refused(folder) == (f"{broken}: it has 6x7 pixels, {folder / 'cat/0.png'} 6x5: "
                               "--image-size ROWSxCOLUMNS scales all to one size")
    Image.fromarray(np.zeros((6, 5), np.uint16)).save(broken)
    assert refused(folder) == f"{broken}: its pixels have more than 8 bits (mode I;16)"
    broken.write_bytes(whole)
    (folder / "dog/notes.txt").write_text("x")
    assert refused(folder).startswith(f"{folder / 'dog/notes.txt'}: it is no picture (.png, ")
    (folder / "dog/notes.txt").rename(folder / "a.png")
    assert refused(folder) == f"{folder / 'a.png'}: pictures must lie in a folder of their class: {folder / 'CLASS/a.png'}"
    (tmp_path / "none").mkdir()
    assert refused(tmp_path / "none") == f"{tmp_path / 'none'}: there are no pictures in it: it must have a folder for each class"


def test_arrays(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays(classes=np.array(["no", "yes"])))
    own = owndata.load(path)
    assert own.train.images.shape == (16, 4, 3, 1) and own.train.classes == ("no", "yes")
    x = np.random.default_rng(3).normal(size=(20, 3))
    np.savez(path, x_train=x[:15], y_train=np.array(["b", "a", "b"] * 5), x_test=x[15:], y_test=np.array(["b"] * 5))
    own = owndata.load(path)
    assert own.train.images.shape == (15, 3) and own.test.labels.tolist() == [1] * 5 and own.encoding["kind"] == "table"
    assert own.encoding["columns"][1]["name"] == "x1" and own.train.images.max() == 65535


@pytest.mark.parametrize("content, message", [
    (arrays(labels=np.arange(19) % 2), "images has 20 rows, labels 19"),
    (arrays(images=np.full((20, 4, 3), 300)), "images: pixels must be integers of 0 to 255, not int64 of 300 to 300"),
    (arrays(images=np.ones((20, 4, 3)) / 2), "images: pixels must be integers of 0 to 255, not float64 of 0.5 to 0.5"),
    (arrays(images=np.zeros(20)), "images must be numbers (N, columns), (N, rows, columns) or (N, rows, columns, channels), "
                                  "not float64 (20,)"),
    (arrays(labels=np.arange(20) / 4), "labels[1]: a label must be an integer or a word, not 0.25"),
    (arrays(labels=np.arange(20) * 1e30), "labels[1]: a label must be an integer or a word, not 1e+30"),
    (arrays(labels=np.arange(20) % 3, classes=np.array(["a", "b", "a"])), "classes: two have the name 'a'"),
    (arrays(labels=np.zeros((20, 2))), "labels must have one label for each row, but its shape is (20, 2)"),
    (arrays(classes=np.array(["no"])), "labels[1]: there are 1 names of classes, none for label 1"),
    (arrays(labels=np.arange(20) == 6), "images[6]: no other row has its class, '1'"),
    (arrays(labels=np.zeros(20)), "all 20 rows are of one class, '0' ({}: images[0], ...): there must be two at least"),
    ({"x": np.ones((20, 3)) * [1, 2, np.nan], "y": np.arange(20) % 2}, "x[0], column 'x2': it must be finite, not nan"),
    ({"x_train": np.ones((20, 3)), "y_train": np.arange(20) % 2, "x_test": np.full((5, 3), np.inf), "y_test": np.ones(5)},
     "x_test[0], column 'x0': it must be finite, not inf"),
    ({"x": np.ones((20, 3))}, "there are no labels in it"),
    ({"a": np.ones(3)}, "there must be arrays images and labels, x and y, or x_train, y_train, x_test, y_test; there are a"),
    ({"x": np.array([[1], [1, 2]], object), "y": np.arange(2)},
     "it holds Python objects; arrays whose rows differ in length cannot be taken"),
])
def test_bad_arrays(tmp_path, content, message):
    np.savez(tmp_path / "a.npz", **content)
    assert refused(tmp_path / "a.npz").removeprefix(f"{tmp_path / 'a.npz'}: ") == message.format(tmp_path / "a.npz")


def test_labels_of_64_bits(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(labels=np.arange(20, dtype=np.uint64) % 2 + np.uint64(2**63)))
    assert owndata.load(tmp_path / "a.npz").train.classes == (str(2**63), str(2**63 + 1))


def test_archives_that_are_no_arrays(tmp_path):
    """Files of other programs, encrypted ones, ones packed in a way that Python does not know."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "text")
    assert refused(path).endswith("; there are none")
    np.savez(path, **arrays())
    whole = path.read_bytes()
    for place, value in ((8, 1), (10, 99)):       # flags and way of packing, in the first entry of the directory at the end
        spoilt = bytearray(whole)
        spoilt[whole.index(b"PK\1\2") + place] = value
        path.write_bytes(spoilt)
        assert refused(path) == f"{path}: it is not an .npz file, or it is damaged"


def test_tiny_numbers_stay_apart():
    """Of a column in farads, say: beyond the digits that a step can have its span is divided."""
    column = Column("x", np.array([2.2e-12, 1e-12, 4.7e-12]), str)
    own = Number(name="x", least=1e-12, scale=scale_of(column.numbers()))
    assert own.encode(column).tolist() == [21255, 0, 65535]
    assert scale_of(np.full(3, 0.3)) == scale_of(np.array([0.0, 1e-300])) == 1


def test_of_another_kind(tmp_path):
    table, folder = write_csv(tmp_path / "f.csv", flowers()), pictures(tmp_path / "p")
    assert refused(table, test_path=folder) == f"{folder}: it must be of the same kind as {table}"
    with pytest.raises(OwnDataError, match="^the network does not say how files become its input: it was not trained "):
        parse({})
    with pytest.raises(OwnDataError, match="^the network's encoding is damaged: "):
        parse({"kind": "table", "columns": [], "label": "x"})
