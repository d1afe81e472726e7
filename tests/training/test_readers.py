"""Readers of what other tools record: the same values as those tools' own objects hold."""

import json
import os
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import FileError, InputError, InputTypeError, MissingFileError
from pellucid.interpret.results import Run
from pellucid.interpret.training.reading import read_run, read_runs

NAN = float("nan")


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def tracks(run):
    """Metrics as plain lists of (step, value), to be compared at once."""
    return {
        tag: list(zip(s.tolist(), v.tolist(), strict=True)) for tag, (s, v) in run.metrics.items()
    }


# Lightning


def test_lightnings_own_csv_logger(tmp_path):
    torch = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.loggers import CSVLogger

    logged = {"train_loss": [], "val_loss": [], "late": []}

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch, i):
            loss = self.layer(batch[0]).square().mean()
            self.log("train_loss", loss)
            logged["train_loss"].append((self.global_step, loss.item()))
            return loss

        def validation_step(self, batch, i):
            self.log("val_loss", 1.0 / (1 + self.current_epoch))
            if self.current_epoch:
                self.log("late", 5.0)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    rows = torch.utils.data.TensorDataset(torch.ones(8, 3))
    loader = torch.utils.data.DataLoader(rows, batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning.Trainer(
            max_epochs=3,
            logger=CSVLogger(str(tmp_path)),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        ).fit(Model(), loader, loader)
    folder = tmp_path / "lightning_logs" / "version_0"
    run = read_run(folder)
    read = tracks(run)
    assert read["train_loss"] == [(s, pytest.approx(v)) for s, v in logged["train_loss"]]
    assert read["val_loss"] == [(1.0, 1.0), (3.0, 0.5), (5.0, pytest.approx(1 / 3))]
    assert read["late"] == [(3.0, 5.0), (5.0, 5.0)]
    assert run.name == "version_0"
    assert run.step_unit == "step"
    assert tracks(read_run(tmp_path)) == read, "the only run below a folder"
    assert tracks(read_run(folder / "metrics.csv")) == read
    assert list(read_runs(tmp_path)) == ["lightning_logs/version_0"]


def test_a_table_that_is_being_written(tmp_path):
    text = "epoch,step,loss,val\r\n0,1,0.5,\r\n0,2,nan,\r\n0,2,,0.25\r\n1,3,-inf,\r\n1,4,0.1"
    run = read_run(put(tmp_path / "metrics.csv", text))
    read = tracks(run)
    assert read["val"] == [(2.0, 0.25)]
    assert [s for s, _ in read["loss"]] == [1, 2, 3]
    np.testing.assert_array_equal(run.metrics["loss"][1], [0.5, NAN, -np.inf])


def test_odd_tables(tmp_path):
    text = (
        '\ufeffstep;"na;me";note;loss;loss\n1;2;first;NA;5\n\nstep;"na;me";note;loss;loss\n'
        "2; 3 ;x;None;6;more\n3;;y;0.5\n1;9;;null;\n"
    )
    run = read_run(put(tmp_path / "odd.csv", text))
    assert tracks(run) == {
        "na;me": [(1, 9), (2, 3)],
        "loss": [(3, 0.5)],
        "loss.1": [(1, 5), (2, 6)],
    }
    assert run.settings["texts"] == {"note": 3}
    assert run.settings["longer_rows"] == 1
    assert run.name == "odd"


def test_rows_are_counted_where_most_share_their_step(tmp_path):
    rows = "".join(f"{i // 10},{i % 10},{i / 100}\n" for i in range(50))
    run = read_run(put(tmp_path / "log.csv", "epoch,batch,loss\n" + rows))
    assert tracks(run)["loss"] == [(i, i / 100) for i in range(50)]
    assert tracks(run)["epoch"] == [(i, i // 10) for i in range(50)]
    assert run.settings["steps"] is None
    # A step that starts again in each epoch counts no better.
    run = read_run(put(tmp_path / "log.csv", "epoch,step,loss\n" + rows))
    assert len(tracks(run)["loss"]) == 50


def test_an_index_that_pandas_wrote_is_no_metric(tmp_path):
    pd.DataFrame({"step": [5, 6], "loss": [1.0, 2.0]}).to_csv(tmp_path / "a.csv")
    assert tracks(read_run(tmp_path / "a.csv")) == {"loss": [(5, 1), (6, 2)]}


def test_a_table_longer_than_what_is_read_at_once(tmp_path):
    count = 10_001
    rows = "".join(f"{i},{i * 2}," + ("7" if i % 5000 == 0 else "") + "\n" for i in range(count))
    read = tracks(read_run(put(tmp_path / "long.csv", "step,a,b\n" + rows)))
    assert read["a"] == [(i, 2 * i) for i in range(count)]
    assert read["b"] == [(0, 7), (5000, 7), (10000, 7)]


cells = st.one_of(
    st.none(), st.floats(width=64), st.integers(-(10**6), 10**6), st.sampled_from(["text", "NA"])
)


@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=20),
    delimiter=st.sampled_from(",;\t"),
)
def test_a_table_gives_back_what_was_written(rows, delimiter, tmp_path_factory):
    lines = [
        [
            str(i),
            *("" if cell is None else repr(cell) if cell != cell else str(cell) for cell in row),
        ]
        for i, row in enumerate(rows)
    ]
    text = "\n".join(delimiter.join(line) for line in [["step", "a", "b", "c"], *lines]) + "\n"
    file = put(tmp_path_factory.mktemp("table") / "t.csv", text)
    wanted = {
        name: [(i, float(row[k])) for i, row in enumerate(rows) if isinstance(row[k], float | int)]
        for k, name in enumerate("abc")
    }
    wanted = {name: found for name, found in wanted.items() if found}
    if not wanted:
        with pytest.raises(FileError, match="holds no numbers"):
            read_run(file)
        return
    run = read_run(file)
    assert set(run.metrics) == set(wanted)
    for name, found in wanted.items():
        np.testing.assert_array_equal(run.metrics[name][0], [s for s, _ in found])
        np.testing.assert_array_equal(run.metrics[name][1], [v for _, v in found])


# Hugging Face


def trainer_state():
    transformers = pytest.importorskip("transformers")
    state = transformers.TrainerState(global_step=30, max_steps=30, num_train_epochs=3)
    for step in (10, 20, 30):
        state.log_history.append(
            {"loss": 3.0 / step, "grad_norm": NAN if step == 20 else 1.0, "learning_rate": 5e-5,
             "epoch": step / 10, "step": step}
        )  # fmt: skip
        state.log_history.append({"eval_loss": 4.0 / step, "epoch": step / 10, "step": step})
    state.log_history.append(
        {"train_runtime": 12.5, "train_loss": 0.2, "total_flos": 1e9, "epoch": 3.0, "step": 30}
    )
    return state


def test_hugging_faces_trainer_state(tmp_path):
    state = trainer_state()
    state.save_to_json(str(tmp_path / "trainer_state.json"))
    for source in (tmp_path, tmp_path / "trainer_state.json", state):
        run = read_run(source)
        read = tracks(run)
        assert read["loss"] == [(10, 0.3), (20, 0.15), (30, 0.1)]
        assert read["eval_loss"] == [(10, 0.4), (20, 0.2), (30, pytest.approx(4 / 30))]
        np.testing.assert_array_equal(run.metrics["grad_norm"][1], [1, NAN, 1])
        assert run.settings["summary"]["train_runtime"] == 12.5
        assert not {"train_runtime", "total_flos", "train_loss"} & set(run.metrics)
    assert read_run(tmp_path).name == tmp_path.name
    assert read_run(tmp_path).settings["max_steps"] == 30
    assert tracks(read_run(state.log_history))["loss"] == read["loss"]


def test_of_several_checkpoints_the_last_is_read(tmp_path):
    state = trainer_state()
    for step in (9, 10, 100):
        folder = tmp_path / "out" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        state.log_history[0]["loss"] = float(step)
        state.save_to_json(str(folder / "trainer_state.json"))
    assert tracks(read_run(tmp_path / "out"))["loss"][0] == (10, 100.0)
    assert tracks(read_run(tmp_path / "out" / "checkpoint-9"))["loss"][0] == (10, 9.0)
    assert list(read_runs(tmp_path)) == ["out"]


# Keras


@pytest.fixture(scope="module")
def keras_history(tmp_path_factory):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    folder = tmp_path_factory.mktemp("keras")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    callbacks = [
        keras.callbacks.CSVLogger(str(folder / "training.log")),
        keras.callbacks.CSVLogger(str(folder / "semicolons.csv"), separator=";"),
    ]
    history = model.fit(
        x, y, epochs=6, validation_data=(x, y), validation_freq=2, verbose=0, callbacks=callbacks
    )
    return history, model, folder


def test_keras_history(keras_history):
    history, model, _ = keras_history
    run = read_run(history)
    assert tracks(run)["loss"] == list(enumerate(history.history["loss"]))
    assert tracks(run)["val_loss"] == list(zip([1, 3, 5], history.history["val_loss"], strict=True))
    assert run.settings["every"] == {"val_loss": 2, "val_mae": 2}
    assert run.step_unit == "epoch"
    assert tracks(read_run(history.history)) == tracks(run)
    assert tracks(read_run(model)) == tracks(run)


@pytest.mark.parametrize("file", ["training.log", "semicolons.csv"])
def test_keras_csv_logger(keras_history, file):
    history, _, folder = keras_history
    run = read_run(folder / file)
    read = tracks(run)
    assert read["loss"] == [(i, pytest.approx(v)) for i, v in enumerate(history.history["loss"])]
    assert [s for s, _ in read["val_loss"]] == [1, 3, 5], "'NA' is no value"
    assert [v for _, v in read["val_loss"]] == pytest.approx(history.history["val_loss"])
    assert run.step_unit == "epoch"


def test_a_history_in_a_json_file(tmp_path, keras_history):
    history, _, _ = keras_history
    file = put(tmp_path / "history.json", json.dumps(history.history))
    assert tracks(read_run(file)) == tracks(read_run(history.history))


# Weights & Biases


def test_a_weights_and_biases_table(tmp_path):
    text = (
        '"_step","_runtime","_timestamp","loss","val/acc","image"\n'
        '0,1.5,1.7e9,0.9,,\n1,2.5,1.7e9,"NaN",,{"_type":"image-file"}\n5,9,1.7e9,"Infinity",0.5,\n'
    )
    run = read_run(put(tmp_path / "history.csv", text))
    assert set(run.metrics) == {"loss", "val/acc"}
    np.testing.assert_array_equal(run.metrics["loss"], [[0, 1, 5], [0.9, NAN, np.inf]])
    np.testing.assert_array_equal(run.clock, [[0, 1, 5], [1.5, 2.5, 9]])


def test_a_weights_and_biases_chart(tmp_path):
    text = (
        '"Step","a - b - loss","a - b - loss__MIN","a - b - loss__MAX",'
        '"other - loss","other - loss__MIN","other - loss__MAX"\n'
        '"0","1","1","1","5","4","6"\n"10","0.5","0.5","0.5","","",""\n"20","0.25","0.25","0.25","3","3","3"\n'
    )
    file = put(tmp_path / "chart.csv", text)
    runs = read_runs(file)
    assert {name: tracks(run) for name, run in runs.items()} == {
        "a - b": {"loss": [(0, 1), (10, 0.5), (20, 0.25)]},
        "other": {
            "loss": [(0, 5), (20, 3)], "loss.min": [(0, 4), (20, 3)], "loss.max": [(0, 6), (20, 3)],
        },
    }  # fmt: skip
    with pytest.raises(InputError, match="2 runs: a - b, other.*read_runs"):
        read_run(file)
    assert runs["other"].name == "other"
    only = put(tmp_path / "one.csv", '"epoch","run - acc"\n"1","0.5"\n"2","0.75"\n')
    assert tracks(read_run(only)) == {"acc": [(1, 0.5), (2, 0.75)]}
    assert read_run(only).name == "run"
    assert read_run(only).step_unit == "epoch"


# Estimators


def test_scikit_learns_curves():
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = (x[:, 0] > 0).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp = MLPClassifier((4,), max_iter=15, early_stopping=True, random_state=0).fit(x, y)
        pipeline = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=5)).fit(x, y)
        search = GridSearchCV(MLPClassifier((4,), max_iter=3), {"alpha": [1e-4]}, cv=2).fit(x, y)
    run = read_run(mlp)
    assert tracks(run) == {
        "loss": list(enumerate(mlp.loss_curve_)),
        "validation_score": list(enumerate(mlp.validation_scores_)),
    }
    assert run.name == "MLPClassifier"
    assert len(read_run(pipeline).metrics["loss"][0]) == 5
    assert set(read_run(pipeline).metrics) == {"loss"}
    assert len(read_run(search).metrics["loss"][0]) == 3
    boosting = GradientBoostingClassifier(n_estimators=7, subsample=0.5).fit(x, y)
    assert tracks(read_run(boosting))["train_loss"] == list(enumerate(boosting.train_score_))
    hist = HistGradientBoostingClassifier(max_iter=5, early_stopping=True).fit(x, y)
    assert tracks(read_run(hist)) == {
        "train_score": list(enumerate(hist.train_score_)),
        "validation_score": list(enumerate(hist.validation_score_)),
    }
    with pytest.raises(InputError, match="MLPClassifier remembers no curve"):
        read_run(MLPClassifier())


def test_boosters_with_evaluation_sets():
    lightgbm = pytest.importorskip("lightgbm")
    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = (x[:, 0] > 0).astype(int)
    light = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(x, y, eval_set=[(x, y)])
    extreme = xgboost.XGBClassifier(n_estimators=4).fit(x, y, eval_set=[(x, y)], verbose=False)
    assert tracks(read_run(light)) == {
        "training/binary_logloss": list(
            enumerate(light.evals_result_["training"]["binary_logloss"])
        )
    }
    wanted = extreme.evals_result()["validation_0"]["logloss"]
    assert tracks(read_run(extreme)) == {"validation_0/logloss": list(enumerate(wanted))}
    assert tracks(read_run(extreme.evals_result())) == tracks(read_run(extreme))
    with pytest.raises(InputError, match="eval_set"):
        read_run(lightgbm.LGBMClassifier())


# Tables and dicts


def test_data_frames():
    sparse = {"step": [0, 1, 1, 2], "loss": [3.0, 2.0, None, 1.0], "val": [None, None, 0.5, None]}
    wanted = {"loss": [(0, 3), (1, 2), (2, 1)], "val": [(1, 0.5)]}
    assert tracks(read_run(pd.DataFrame(sparse))) == wanted
    assert tracks(read_run(pl.DataFrame(sparse))) == wanted
    assert tracks(read_run(pd.DataFrame(sparse).set_index("step"))) == wanted
    assert tracks(read_run(sparse)) == wanted
    assert tracks(read_run(pd.DataFrame(sparse).convert_dtypes())) == wanted


def test_nan_stays_nan_where_it_was_measured():
    curve = [3.0, 2.0, 1.0, NAN, NAN]
    for source in (
        {"loss": curve},
        {"loss": np.array(curve)},
        pl.DataFrame({"loss": curve}),
        pd.DataFrame({"loss": curve, "accuracy": [0.1] * 5}),
    ):
        np.testing.assert_array_equal(read_run(source).metrics["loss"][1], curve)
    # Here pandas' NaN are gaps: the last rows are of another kind, or every other one is.
    ends = pd.DataFrame({"loss": [3.0, 2, 1, NAN], "val": [NAN, NAN, NAN, 0.5]})
    assert tracks(read_run(ends))["loss"] == [(0, 3), (1, 2), (2, 1)]
    some = pd.DataFrame({"loss": [3.0, 2, 1, 0], "val": [NAN, 2, NAN, 0.5]})
    assert tracks(read_run(some))["val"] == [(1, 2), (3, 0.5)]


def test_dicts_of_tensors_and_of_lists_of_several_lengths():
    torch = pytest.importorskip("torch")
    run = read_run(
        {
            "loss": [torch.tensor(float(i), requires_grad=True) for i in range(6)],
            "rate": torch.arange(6.0),
            "val": [1, 2, 3],
            "odd": [1, 2, 3, 4],
            "name": "resnet",
            "empty": [],
        }
    )
    assert tracks(run) == {
        "loss": [(i, i) for i in range(6)],
        "rate": [(i, i) for i in range(6)],
        "val": [(1, 1), (3, 2), (5, 3)],
        "odd": [(0, 1), (1, 2), (2, 3), (3, 4)],
    }
    assert run.settings["every"] == {"val": 2}
    assert run.settings["counted_alone"] == ["odd"]


def test_entries_one_a_line(tmp_path):
    text = '{"step": 1, "loss": 2, "who": "me"}\n{"step": 2, "loss": NaN}\n{"step": 3, "lo'
    run = read_run(put(tmp_path / "log.jsonl", text))
    np.testing.assert_array_equal(run.metrics["loss"], [[1, 2], [2, NAN]])


# Recognising


def test_known_by_content_not_by_name(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "tb")) as writer:
        writer.add_scalar("loss", 1.0, 3)
    (file,) = (tmp_path / "tb").iterdir()
    file = file.rename(tmp_path / "renamed.csv")
    assert tracks(read_run(file)) == {"loss": [(3, 1)]}
    assert tracks(read_run(put(tmp_path / "x.txt", '{"loss": [1, 2]}'))) == {
        "loss": [(0, 1), (1, 2)]
    }
    assert tracks(read_run(put(tmp_path / "y", "step,loss\n1,2\n"))) == {"loss": [(1, 2)]}


def test_folders_of_runs(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    for place in (".", "a", "b/c"):
        with SummaryWriter(str(tmp_path / place)) as writer:
            writer.add_scalar("loss", len(place), 1)
    put(tmp_path / "b" / "metrics.csv", "step,loss\n1,2\n")
    put(tmp_path / "b" / "people.csv", "name,age\nme,2\n")
    put(tmp_path / "tables" / "one.csv", "step,loss\n1,2\n")
    put(tmp_path / "tables" / "two.csv", "epoch,loss\n1,2\n")
    put(tmp_path / ".hidden" / "metrics.csv", "step,loss\n1,2\n")
    runs = read_runs(tmp_path)
    assert list(runs) == [".", "a", "b", "b/c", "tables/one.csv", "tables/two.csv"]
    assert runs["b/c"].name == "c"
    assert runs["tables/two.csv"].name == "two"
    assert tracks(read_run(tmp_path)) == {"loss": [(1, 1)]}, "a folder's own run comes first"
    with pytest.raises(InputError, match=r"2 runs: one.csv, two.csv.*read_runs"):
        read_run(tmp_path / "tables")
    assert tracks(read_run(tmp_path / "b")) == {"loss": [(1, 2)]}
    put(tmp_path / "bad" / "trainer_state.json", "{")
    with pytest.warns(UserWarning, match="1 runs in .* cannot be read"):
        assert len(read_runs(tmp_path)) == 6
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert len(read_runs(tmp_path)) == 6


def test_our_own_record(tmp_path):
    torch = pytest.importorskip("torch")
    recorder = pytest.importorskip("pellucid.interpret.training.recorder")
    model = torch.nn.Linear(2, 1)
    with recorder.Recorder(model, tmp_path / "mine") as record:
        for step in range(3):
            model(torch.ones(4, 2)).mean().backward()
            record.step(loss=1.0 / (step + 1))
    run = read_run(tmp_path / "mine")
    assert run.metrics["loss"][1].tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert run.name == "mine"
    assert list(read_runs(tmp_path)) == ["mine"]
    (events,) = (tmp_path / "mine" / "events").glob("*.jsonl")
    assert tracks(read_run(events))["loss"] == tracks(run)["loss"]


def test_a_saved_run_and_a_run(tmp_path):
    run = read_run({"loss": [1, 2]}, name="mine")
    assert read_run(run) is run
    assert read_run(run, name="other").name == "other"
    assert tracks(read_run(run.save(tmp_path / "run.safetensors"))) == tracks(run)


def test_names(tmp_path):
    file = put(tmp_path / "version_3" / "metrics.csv", "step,loss\n1,2\n")
    assert read_run(file).name == "version_3"
    assert read_run(file, name="mine").name == "mine"
    assert read_run(str(put(tmp_path / "seed 1.csv", "step,loss\n1,2\n"))).name == "seed 1"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"{", "is not valid JSON"),
        ("a.json", b"[" * 100_000, "nested too deeply|not valid JSON"),
        ("a.json", b'{"a": 1}', "holds no lists of numbers"),
        ("a.json", b"[1, 2]", "not one of dicts"),
        ("a.json", b"[]", "no entries"),
        ("a.json", b'{"log_history": [{"step": "x"}]}', "no numbers"),
        ("a.csv", b"", "no names of columns"),
        ("a.csv", b"1,2\n3,4\n", "no names of columns"),
        ("a.csv", b"step,loss\n", "holds no numbers"),
        ("a.csv", b"name,state\nme,done\n", "holds no numbers"),
        ("a.csv", b"step,loss\n1," + b"9" * 200_000 + b"\n", "cannot be read"),
        ("model.pt", b"PK\x03\x04\x00\x00", "no record of a training; what can be read"),
        ("model.pkl", b"\x80\x04\x95\x00\x00c", "no record of a training"),
        ("a.safetensors", b"x" * 20, "a.safetensors"),
    ],
)
def test_files_that_are_no_logs_say_what_is_wrong(tmp_path, name, content, said):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(FileError, match=said):
        read_run(file)


def test_what_is_not_there_or_not_known_says_so(tmp_path):
    with pytest.raises(MissingFileError, match="no file or folder"):
        read_run(tmp_path / "none")
    with pytest.raises(MissingFileError, match="no file or folder"):
        read_runs(tmp_path / "none")
    with pytest.raises(FileError, match="which is empty; what can be read: a Recorder's folder"):
        read_run(tmp_path)
    put(tmp_path / "weights.bin", "x")
    with pytest.raises(FileError, match=r"which holds weights\.bin; what can be read"):
        read_runs(tmp_path)
    with pytest.raises(InputTypeError, match="a int cannot be read as a run; what can be read"):
        read_run(3)
    with pytest.raises(InputError, match="holds no"):
        read_run(pd.DataFrame({"step": [1]}))
    with pytest.raises(InputError, match="dicts"):
        read_run([1.0, 2.0])


@given(
    content=st.binary(max_size=300),
    head=st.sampled_from([b"", b"step,loss\n1,2\n", b"{", b'[{"step":1,']),
)
def test_any_file_gives_a_run_or_a_file_error(content, head, tmp_path_factory):
    file = tmp_path_factory.mktemp("any") / "any.csv"
    file.write_bytes(head + content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            runs = read_runs(file)
        except FileError:
            return
    assert all(isinstance(run, Run) for run in runs.values())
