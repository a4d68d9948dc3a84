from pathlib import Path

import pytest

pytest.importorskip("torch")

from bnnhw.train import recipe  # noqa: E402 - torch first, so that all is skipped without it
from bnnhw.train.recipe import RecipeError  # noqa: E402

from .training import small_recipe  # noqa: E402


@pytest.mark.parametrize("name, width", [("mnist-tfc", 64), ("mnist-sfc", 256), ("mnist-lfc", 1024)])
def test_shipped(name, width):
    found = recipe.load(name)
    assert found.name == name and found.hidden == [width] * 3
    assert name in recipe.names()


def test_changes():
    assert recipe.load("mnist-tfc", epochs=7, seed=None).epochs == 7


@pytest.mark.parametrize("key, value, message", [
    ("epochs", "0", "key 'epochs': input should be greater than or equal to 1, not 0"),
    ("epochs", '"many"', "key 'epochs': input should be a valid integer, not 'many'"),
    ("estimator", '"sigmoid"',
     "key 'estimator': input should be 'identity', 'hardtanh', 'approxsign', 'swishsign' or 'ede', not 'sigmoid'"),
    ("learning_rate", "-1.0", "key 'learning_rate': input should be greater than 0, not -1.0"),
    ("learning_rate", "nan", "key 'learning_rate': input should be a finite number, not nan"),
    ("hidden", "[]", "key 'hidden': list should have at least 1 item after validation, not 0, not []"),
    ("hidden", "[64, 0]", "key 'hidden.1': input should be greater than or equal to 1, not 0"),
    ("momentum", "0.9", "key 'momentum': is unknown"),
    ("batch", None, "key 'batch': is missing"),
    ("kind", '["mlp"]', "key 'kind': must be one of ['mlp', 'level-mlp', 'cnn', 'residual', 'lut', 'lut-parts', 'lut-table', "
                        "'sparse-xnor', 'continual'], not ['mlp']"),
])
def test_wrong_key(tmp_path, key, value, message):
    path = small_recipe(tmp_path, **{key: value})
    with pytest.raises(RecipeError) as caught:
        recipe.load(path)
    assert str(caught.value) == f"{path}: {message}"


def test_no_such():
    with pytest.raises(RecipeError, match="^recipe 'mnist-xl': there is no such file, and the shipped recipes are "
                                          f"{', '.join(recipe.names())}$"):
        recipe.load("mnist-xl")


def test_not_toml(tmp_path):
    (tmp_path / "r.toml").write_text("epochs: 5")
    with pytest.raises(RecipeError, match="r.toml: not TOML: "):
        recipe.load(tmp_path / "r.toml")


def test_docs_explain_every_key():
    text = (Path(__file__).parent.parent / "docs/training.md").read_text()
    keys = {key for kind in (*recipe.KINDS.values(), recipe.Block) for key in kind.model_fields}
    assert sorted(key for key in keys if f"`{key}`" not in text) == []
    assert [name for name in recipe.names() if f"`{name}`" not in text] == []
