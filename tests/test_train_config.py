"""Training configs: the published values, the defaults, and what is refused with which words."""

import json

import pytest

from common.errors import UserError
from faces import clips
from training.tools.config import NetworkConfig, Normalize, TrainConfig, read_config

PUBLISHED = {
    "b7": {"encoder": "tf_efficientnet_b7_ns", "batch_size": 12, "epochs": 40, "max_iter": 100500},
    "b5": {"encoder": "tf_efficientnet_b5_ns", "batch_size": 20, "epochs": 30, "max_iter": 75100},
}


@pytest.fixture
def read(tmp_path):
    """Reads what a config file with this content (text or JSON) says."""

    def call(content):
        path = tmp_path / "recipe.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_config(path)

    return call


@pytest.fixture
def refusal(read, tmp_path):
    """The message with which a config of this content is refused, without the file's name, which it begins with."""

    def call(content):
        with pytest.raises(UserError) as error:
            read(content)
        name, _, message = str(error.value).partition(": ")
        assert name == str(tmp_path / "recipe.json") and "\n" not in message
        return message

    return call


def with_field(name, value):
    """A config of one field; its name may lead through objects: "optimizer.schedule.mode"."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


OF_OTHER_FAMILIES = {"tracked", "tracks", "input", "frames", "cutmix", "gradient_clip", "sampling", "pairs"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_config_files_hold_the_published_recipe(repository, name):
    path, values = repository / "configs" / f"{name}.json", PUBLISHED[name]
    config = read_config(path)
    assert (config.network, config.encoder, config.size) == ("DeepFakeClassifier", values["encoder"], 380)
    assert (config.fp16, config.batches_per_epoch, config.losses) == (True, 2500, {"BinaryCrossentropy": 1})
    assert (config.normalize.mean, config.normalize.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    optimizer = config.optimizer
    assert (optimizer.type, optimizer.batch_size, optimizer.learning_rate) == ("SGD", values["batch_size"], 0.01)
    assert (optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == (0.9, True, 1e-4)
    assert optimizer.classifier_lr is None and config.ohem_samples is None
    schedule = optimizer.schedule
    assert (schedule.type, schedule.mode, schedule.epochs) == ("poly", "step", values["epochs"])
    assert (schedule.params.max_iter, schedule.params.power) == (values["max_iter"], 0.9)
    extra = config.augmentation.model_dump()
    assert (extra.pop("blending"), config.sampling) == ("published", "published") and set(extra.values()) == {0.0}
    # Nothing of the recipe is left to the defaults.
    stated = json.loads(path.read_text())
    assert set(stated) == set(TrainConfig.model_fields) - {"ohem_samples", "augmentation", *OF_OTHER_FAMILIES}
    assert (config.input, config.gradient_clip, config.cutmix) == ("frame", 1.0, False)
    assert set(stated["optimizer"]) == set(type(optimizer).model_fields) - {"classifier_lr"}
    assert stated["optimizer"]["schedule"]["params"] == {"max_iter": values["max_iter"]}


def test_unset_fields_are_the_published_b7(read, repository):
    assert read({}) == TrainConfig() == read_config(repository / "configs" / "b7.json")


def test_set_fields_leave_the_rest_at_its_defaults(read):
    config = read({"size": 224, "optimizer": {"batch_size": 4, "schedule": {"epochs": 3}}})
    assert (config.size, config.optimizer.batch_size, config.optimizer.schedule.epochs) == (224, 4, 3)
    assert (config.encoder, config.optimizer.learning_rate) == ("tf_efficientnet_b7_ns", 0.01)
    assert (config.optimizer.schedule.type, config.optimizer.schedule.params.max_iter) == ("poly", 100500)
    assert config.normalize == Normalize()


def test_every_field_can_be_set(read):
    config = read(
        {
            "network": "DeepFakeClassifierSRM",
            "fp16": False,
            "normalize": {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]},
            "optimizer": {
                "type": "AdamW",
                "classifier_lr": 0.1,
                "schedule": {"type": "multistep", "mode": "epoch", "params": {"milestones": [3, 5]}},
            },
            "losses": {"BinaryCrossentropy": 1, "FocalLoss": 0.5},
            "ohem_samples": 6,
            "augmentation": {"self_blending": 0.25},
        }
    )
    assert (config.network, config.fp16, config.normalize.std) == ("DeepFakeClassifierSRM", False, (1, 1, 1))
    assert (config.optimizer.type, config.optimizer.classifier_lr) == ("AdamW", 0.1)
    assert (config.optimizer.schedule.mode, config.optimizer.schedule.params.milestones) == ("epoch", [3, 5])
    assert config.losses == {"BinaryCrossentropy": 1, "FocalLoss": 0.5}
    assert (config.ohem_samples, config.augmentation.self_blending) == (6, 0.25)


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("encodr", "encoder"),
        ("normalize.men", "mean"),
        ("optimizer.momentun", "momentum"),
        ("optimizer.clasifier_lr", "classifier_lr"),
        ("optimizer.schedule.epoch", "epochs"),
        ("optimizer.schedule.params.max_itr", "max_iter"),
        ("augmentation.half_blackot", "half_blackout"),
    ],
)
def test_unknown_field_is_named_with_the_nearest_valid_one(refusal, field, meant):
    assert refusal(with_field(field, 1)) == f"{field}: unknown field, did you mean {meant}?"


def test_unknown_field_without_a_near_one_is_told_which_there_are(refusal):
    message = refusal(with_field("optimizer.xyz", 1))
    assert message.startswith("optimizer.xyz: unknown field, there are batch_size, classifier_lr, learning_rate,")


@pytest.mark.parametrize(
    ("schedule", "there"),
    [("poly", "max_iter, power"), ("linear", "max_iter, min_lr"), ("constant", "none")],
)
def test_parameters_of_other_schedules_are_not_proposed(refusal, schedule, there):
    content = {"optimizer": {"schedule": {"type": schedule, "params": {"gamma": 0.1, "max_iter": 9}}}}
    if schedule == "constant":
        del content["optimizer"]["schedule"]["params"]["max_iter"]
    assert refusal(content) == f"optimizer.schedule.params.gamma: unknown field, there are {there}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", "380"),
        ("size", 10),
        ("encoder", 5),
        ("fp16", "no"),
        ("fp16", 1),
        ("batches_per_epoch", 2.5),
        ("batches_per_epoch", 0),
        ("ohem_samples", -1),
        ("normalize.mean", [0.5, 0.5]),
        ("normalize.mean", [0.5, 0.5, float("nan")]),
        ("normalize.std", [1, 1, 0]),
        ("losses", ["FocalLoss"]),
        ("losses", {}),
        ("losses.FocalLoss", -1),
        ("losses.FocalLoss", "1"),
        ("optimizer", None),
        ("optimizer.batch_size", "12"),
        ("optimizer.batch_size", True),
        ("optimizer.learning_rate", 0),
        ("optimizer.learning_rate", float("nan")),
        ("optimizer.momentum", 1),
        ("optimizer.nesterov", "yes"),
        ("optimizer.weight_decay", -1e-4),
        ("optimizer.schedule", "poly"),
        ("optimizer.schedule.epochs", 0),
        ("optimizer.schedule.params.max_iter", "many"),
        ("augmentation.quarter_turns", 1.5),
    ],
)
def test_wrong_value_is_named_with_its_field(refusal, field, value):
    assert refusal(with_field(field, value)).startswith(field)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("optimizer.type", "sgd", "'SGD', 'Adam', 'AdamW', 'RmsProp', 'FusedSGD' or 'FusedAdam'"),
        ("optimizer.schedule.mode", "iteration", "'step' or 'epoch'"),
        (
            "optimizer.schedule.type",
            "cosine",
            "'constant', 'step', 'multistep', 'exponential', 'linear', 'poly', 'clr', 'one_cycle'",
        ),
        ("losses.BinaryCrossEntropy", 1, "'BinaryCrossentropy' or 'FocalLoss'"),
    ],
)
def test_wrong_choice_is_told_the_choices(refusal, field, value, named):
    message = refusal(with_field(field, value))
    assert message.startswith(f"{field}: ") and message.endswith(f"is not one of {named}")


@pytest.mark.parametrize(
    ("schedule", "missing"),
    [
        ("step", "step_size"),
        ("multistep", "milestones"),
        ("exponential", "gamma"),
        ("linear", "max_iter"),
        ("clr", "max_lr"),
    ],
)
def test_schedule_without_its_parameters_is_refused(refusal, schedule, missing):
    content = {"optimizer": {"schedule": {"type": schedule, "params": {}}}}
    assert refusal(content) == f"optimizer.schedule.params.{missing}: Field required, not {{}}"


@pytest.mark.parametrize("gamma", [0, 1.1])
def test_rates_that_do_not_fall_are_refused(refusal, gamma):
    content = {"optimizer": {"schedule": {"type": "exponential", "params": {"gamma": gamma}}}}
    assert refusal(content).startswith("optimizer.schedule.params.gamma: Input should be ")


def test_all_wrong_fields_are_named_at_once(refusal):
    message = refusal({"size": "wide", "optimizer": {"momentun": 1}, "losses": {"FocalLoss": 0}})
    assert all(part in message for part in ("size: ", "; optimizer.momentun: unknown", "; losses.FocalLoss: "))


def test_nesterov_without_momentum_is_refused(refusal, read):
    assert "nesterov needs a momentum above 0" in refusal(with_field("optimizer.momentum", 0))
    assert read({"optimizer": {"momentum": 0, "nesterov": False}}).optimizer.momentum == 0


def test_pairs_need_even_batches_of_frames_and_hulls(refusal, read):
    pairs = {"sampling": "pairs", "optimizer": {"batch_size": 8}}
    assert read(pairs).pairs.weights == (0.5, 0.25, 0.25)
    assert "needs an even optimizer.batch_size, not 7" in refusal({**pairs, "optimizer": {"batch_size": 7}})
    assert "is for networks of single frames" in refusal({**pairs, "input": "clip", "network": "mc3_18"})
    blended = {**pairs, "augmentation": {"self_blending": 0.5}}
    assert 'augmentation.blending must be "hull"' in refusal(blended)
    assert read({**blended, "augmentation": {"self_blending": 0.5, "blending": "hull"}}).sampling == "pairs"
    nothing = {"with_fakes": 0, "without_fakes": 0, "stills": 0}
    assert "cannot all be 0" in refusal({**pairs, "pairs": nothing})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            {"input": "clip", "network": "mc3_18", "losses": {"FocalLoss": 1}},
            "losses does nothing with networks of clip",
        ),
        ({"input": "clip", "network": "mc3_18", "ohem_samples": 4}, "ohem_samples does nothing"),
        ({"input": "clip", "network": "mc3_18", "augmentation": {"quarter_turns": 0.5}}, "augmentation.quarter_turns"),
        ({"input": "sequence", "frames": 10, "cutmix": True}, "cutmix does nothing with networks of sequences"),
        ({"input": "sequence", "frames": 10, "augmentation": {"half_blackout": 1}}, "augmentation.half_blackout"),
        ({"cutmix": True}, "cutmix does nothing with networks of frames"),
        ({"augmentation": {"shuffled_frames": 0.5}}, "augmentation.shuffled_frames"),
    ],
)
def test_fields_without_effect_are_refused(refusal, content, named):
    assert named in refusal(content)


@pytest.mark.parametrize("text", ["", "{", '{"size": 380,}', "\x00", "[" * 100_000, '{"size": 1' + "0" * 5000 + "}"])
def test_what_is_no_json_is_refused(refusal, text):
    assert refusal(text).startswith("not a readable JSON file: ")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"b7"'])
def test_what_is_no_object_is_refused(refusal, text):
    assert refusal(text).startswith("a config is a JSON object")


def test_other_encoding_is_refused(tmp_path):
    (tmp_path / "recipe.json").write_bytes(b'{"network": "\xff"}')
    with pytest.raises(UserError, match=r"recipe\.json: not a readable JSON file"):
        read_config(tmp_path / "recipe.json")


def test_missing_file_is_named_with_those_that_are_there(repository, monkeypatch):
    monkeypatch.chdir(repository)
    with pytest.raises(UserError, match=r"^b8\.json: no such config; there: configs/b5\.json, configs/b7\.json"):
        read_config("b8.json")


def test_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=f"^{tmp_path}: "):
        read_config(tmp_path)


def test_config_cannot_be_changed_by_those_who_read_it():
    with pytest.raises(ValueError, match="frozen"):
        TrainConfig().size = 224


@pytest.mark.parametrize(
    ("name", "family", "network", "frames", "size", "rate", "cutmix"),
    [
        ("i3d", "clip", "I3D", 64, 224, 1e-4, False),
        ("i3d_cutmix", "clip", "I3D", 64, 224, 1e-3, True),
        ("resnet34_3d", "clip", "ResNet34_3D", 32, 224, 1e-4, False),
        ("mc3_18_112", "clip", "mc3_18", 32, 112, 1e-4, False),
        ("mc3_18_224", "clip", "mc3_18", 32, 224, 1e-4, False),
        ("r2plus1d_18", "clip", "r2plus1d_18", 32, 112, 1e-4, False),
        ("r2plus1d_18_cutmix", "clip", "r2plus1d_18", 32, 112, 1e-3, True),
        ("mixnet_lstm", "sequence", "MixNetLSTM", 10, 160, 1e-3, False),
    ],
)
def test_configs_of_the_other_systems(repository, name, family, network, frames, size, rate, cutmix):
    config = read_config(repository / "configs" / f"{name}.json")
    assert (config.input, config.network, config.frames, config.size) == (family, network, frames, size)
    assert (config.optimizer.learning_rate, config.cutmix) == (rate, cutmix)
    if family == "clip":
        schedule = config.optimizer.schedule
        assert (schedule.type, schedule.epochs) == ("one_cycle", 10)
        assert schedule.params.max_iter == 10 * config.batches_per_epoch
    else:
        assert (config.encoder, config.optimizer.type, config.gradient_clip) == ("mixnet_m", "Adam", 0.5)


@pytest.mark.parametrize(
    ("name", "family", "network"), [("tiny_clip", "clip", "ResNet10_3D"), ("tiny_sequence", "sequence", "MixNetLSTM")]
)
def test_tiny_configs_end_with_their_schedules(repository, name, family, network):
    config = read_config(repository / "configs" / f"{name}.json")
    assert (config.input, config.network) == (family, network)
    assert config.optimizer.schedule.params.max_iter == config.optimizer.schedule.epochs * config.batches_per_epoch


def test_sequences_are_as_long_as_they_are_made():
    with pytest.raises(ValueError, match=f"a sequence has {clips.SEQUENCE_FRAMES} frames, not 9"):
        NetworkConfig(input="sequence", frames=9)
    NetworkConfig(input="sequence", frames=clips.SEQUENCE_FRAMES)
