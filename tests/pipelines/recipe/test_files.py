import re
from itertools import permutations

import pytest
import yaml

from pipelines import recipe
from pipelines.recipe import RecipeError, files

BASE = """
title: "a base"
data: {name: digits}
target: 0.9
epochs: 2
batch_size: 64
model: {name: convnet, widths: [8, 16]}
optimizer: {name: sgd, lr: 0.1, weight_decay: 5e-4}
techniques: {ema: {momentum: 0.9}}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes recipe files into a folder that takes the place of configs/; a base is there already."""
    folder = (tmp_path / "configs").resolve()
    monkeypatch.setattr(files, "CONFIGS", folder)

    def to(name, text):
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    to("a/base", BASE)
    return to


def refused(name, overrides=()):
    """The lines of what is said when a recipe is refused."""
    with pytest.raises(RecipeError) as caught:
        recipe.load(name, overrides)
    return str(caught.value).splitlines()


def test_names_are_sorted_and_leave_out_what_is_no_recipe(write):
    for name in ("b/two", "b/one", "suites/nightly", "launch/two_gpus"):
        write(name, BASE)
    assert recipe.names() == ["a/base", "b/one", "b/two"]


def test_patterns_choose_recipes_each_once(write):
    write("b/two", BASE)
    write("b/one", BASE)
    assert recipe.select(["b/*", "a/base", "b/two"]) == ["b/one", "b/two", "a/base"]
    assert recipe.select(["elsewhere/mine.yaml"]) == ["elsewhere/mine.yaml"]
    with pytest.raises(RecipeError, match=r"no recipe is called 'b/tow' \(did you mean b/two"):
        recipe.select(["b/tow"])


def test_a_recipe_says_what_it_changes_against_its_base(write):
    write("a/second", "base: a/base\ntitle: second\nepochs: 3\nmodel: {widths: [4]}\n")
    write("b/third", "base: a/second\noptimizer: {lr: 0.5}\ntechniques: {ema: null}\n")
    third = recipe.load("b/third")
    assert (third.title, third.epochs, third.batch_size) == ("second", 3, 64)
    assert (third.model.widths, third.optimizer.lr, third.optimizer.weight_decay) == ((4,), 0.5, 5e-4)
    assert third.techniques.ema is None
    assert recipe.load("a/base").techniques.ema.momentum == 0.9


def test_another_name_starts_from_nothing(write):
    write(
        "a/adam",
        "base: a/base\noptimizer: {name: adamw}\nschedule: {name: piecewise_linear, epochs: [0], values: [1]}\n",
    )
    write("a/again", "base: a/adam\nschedule: {name: constant}\n")
    adam = recipe.load("a/adam").optimizer
    assert (adam.name, adam.lr, adam.weight_decay) == ("adamw", 1e-3, 1e-2)
    assert recipe.load("a/again").schedule.name == "constant"
    assert recipe.load("a/base", ["optimizer.name=adamw"]).optimizer == adam
    assert recipe.load("a/base", ["optimizer.name=sgd"]).optimizer.weight_decay == 5e-4


@pytest.mark.parametrize("overrides", list(permutations(["optimizer.name=adamw", "optimizer.weight_decay=0.3"])))
def test_the_order_of_overrides_does_not_matter(write, overrides):
    optimizer = recipe.load("a/base", overrides).optimizer
    assert (optimizer.name, optimizer.weight_decay) == ("adamw", 0.3)


def test_of_two_values_of_an_option_the_last_counts(write):
    assert recipe.load("a/base", ["optimizer.lr=1", "optimizer={lr: 2}", "epochs=3", "epochs=4"]).optimizer.lr == 2


@pytest.mark.parametrize("overrides", [["augment={crop: 2}"], ["augment.crop=1", "augment.crop=2"]])
def test_a_group_that_is_set_to_null_first_starts_from_nothing(write, overrides):
    write("a/cut", "base: a/base\naugment: {crop: 4, cutout: 8}\n")
    for first, cutout in (([], 8), (["augment=null"], 0)):
        augment = recipe.load("a/cut", [*first, *overrides]).augment
        assert (augment.crop, augment.cutout) == (2, cutout)


def test_an_argument_called_name_is_like_any_other(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("entry: a.py:train\ntarget: 0.9\narguments: {name: resnet, lr: 0.3}\n")
    assert recipe.load_any(str(path), ["name=vit"]).arguments == {"name": "vit", "lr": 0.3}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_circle_of_bases_is_refused_naming_its_files(write, length):
    for number in range(length):
        write(f"round/{number}", f"base: round/{(number + 1) % length}\n")
    (line,) = refused("round/0")
    assert "goes round in a circle" in line
    for number in range(length):
        assert f"round/{number}" in line


def test_a_base_that_is_not_there_is_named_with_who_asked_for_it(write):
    write("a/lost", "base: a/nowhere\n")
    (line,) = refused("a/lost")
    assert "lost.yaml: base=a/nowhere" in line
    assert "no recipe is called 'a/nowhere'" in line
    write("a/many", "base: [a/base, a/lost]\n")
    (line,) = refused("a/many")
    assert "must be the name of one recipe" in line


def test_the_title_is_the_nearest_one(write):
    write("a/second", "base: a/base\n")
    write("a/third", "base: a/second\ntitle: its own\n")
    assert [recipe.title(name) for name in ("a/second", "a/third")] == ["a base", "its own"]


def test_the_bases_of_a_file_with_a_title_are_not_read_for_it(write):
    write("a/broken", "epochs: [1\n")
    write("a/own", "base: a/broken\ntitle: its own\n")
    assert recipe.title("a/own") == "its own"


@pytest.mark.parametrize("read", [recipe.load, recipe.title])
@pytest.mark.parametrize("is_path", [True, False])
def test_a_loop_of_symbolic_links_cannot_be_read(write, read, is_path):
    path = write("a/loop", "")
    path.unlink()
    path.symlink_to("loop.yaml")
    with pytest.raises(RecipeError, match=r"a/loop.yaml: cannot be read: .*symbolic links"):
        read(str(path) if is_path else "a/loop")


def test_the_title_of_a_circle_is_an_error_and_not_a_crash(write):
    write("round/0", "base: round/1\n")
    write("round/1", "base: round/0\n")
    with pytest.raises(RecipeError):
        recipe.title("round/0")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("epohcs=3", ["epohcs: there is no such option (did you mean epochs?)"]),
        ("optimizer.momentun=0.9", ["option (did you mean optimizer.momentum?); bench/run.py --help optimizer lists"]),
        ("weight_decay=0.9", ["weight_decay: there is no such option (did you mean optimizer.weight_decay?)"]),
        ("model.depth=3", ["model.depth", "there is no such option"]),
        ("techniques.emma={}", ["techniques.emma: there is no such option (did you mean techniques.ema?)"]),
        ("optimizer.lr=fast", ["optimizer.lr='fast'", "a number"]),
        ("optimizer.lr='0.1'", ["optimizer.lr='0.1'", "a number"]),
        ("optimizer.lr=-1", ["optimizer.lr=-1", "greater than 0"]),
        ("optimizer.lr=.nan", ["optimizer.lr", "finite"]),
        ("optimizer.lr=.inf", ["optimizer.lr", "finite"]),
        ("batch_size=1.5", ["batch_size=1.5", "integer"]),
        ("batch_size=true", ["batch_size=true", "integer"]),
        ("batch_size=null", ["batch_size=null", "integer"]),
        ("drop_last=1", ["drop_last=1", "true or false"]),
        ("target=94", ["target=94", "less than 1"]),
        (
            "data.name=imagenet",
            ["data.name='imagenet'", "svhn, folder, idx, arrays, made-up or made-up-tokens"],
        ),
        ("precision=fp8", ["precision='fp8'", "float32, autocast or half"]),
        (
            "model.name=vgg16",
            ["model.name='vgg16': it should be one of davidnet, airnet, resnet18, wide_resnet, alexnet, convnet"],
        ),
        ("model.widths=[8,x]", ["model.widths.1='x'", "integer"]),
        ("model.widths=[]", ["model.widths=[]: it should be a longer list"]),
        ("model.name=null", ["model.name=null: it should be one of davidnet, airnet"]),
        ("model=convnet", ["model='convnet': it should be a group of options"]),
        ("compile=autto", ["compile='autto': it should be true or false or auto (did you mean auto?)"]),
        ("techniques.ema=3", ["techniques.ema=3: it should be a group of options"]),
        ("techniques.distillation.teacher={}", ["teacher.name: is missing; it should be one of davidnet, airnet"]),
        ("techniques.distillation.teacher={name: davidnet, width: [1]}", ["teacher.width: there", "teacher.widths?"]),
        ("schedule={name: piecewise_linear, epochs: [0, 1], values: [1]}", ["schedule", "2 epochs but 1 values"]),
        ("schedule={name: piecewise_linear, epochs: [0, 0], values: [1, 1]}", ["schedule", "must rise", "[0.0, 0.0]"]),
        ("schedule={name: piecewise_linear, epochs: [0]}", ["schedule.values", "is missing"]),
        (
            "optimizer={name: adamw, lr: 1e-3, momentum: 0.9}",
            ["optimizer.momentum: there is no such option of optimizer.name=adamw; bench/run.py --help optimizer"],
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_recipe_key_and_value(write, override, parts):
    (line,) = refused("a/base", [override])
    assert line.startswith("a/base: ")
    for part in parts:
        assert part in line


def test_everything_that_is_wrong_is_named_in_one_line(write):
    (line,) = refused("a/base", ["epohcs=3", "optimizer.lr=fast", "batch_size=0"])
    assert line.startswith("a/base: ")
    assert all(part in line for part in ("batch_size=0: ", "; optimizer.lr='fast': ", "; epohcs: "))


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("entry: train.py:main", "an argument of the function goes under `arguments:`"),
        ("command: ./train", "an argument of the program goes into `command:`"),
    ],
)
def test_an_option_that_a_training_of_your_own_has_not_is_told_where_it_goes(write, kind, remedy):
    write("a/own", f"{kind}\ntarget: 0.9\nbatch_size: 64\n")
    with pytest.raises(RecipeError) as caught:
        recipe.load_any("a/own")
    assert str(caught.value) == f"a/own: batch_size: there is no such option; {remedy}"
    with pytest.raises(RecipeError, match=r"tilte: there is no such option \(did you mean title\?\)"):
        recipe.load_own({**yaml.safe_load(kind), "target": 0.9, "tilte": "mine"}, "mine")
    with pytest.raises(RecipeError, match=r"data.nmae: .*did you mean data.name\?\); bench/run.py --help data lists"):
        recipe.load_own({**yaml.safe_load(kind), "target": 0.9, "data": {"name": "digits", "nmae": 1}}, "mine")


@pytest.mark.parametrize("key", ["title", "data", "target", "epochs", "batch_size", "model", "optimizer"])
def test_a_missing_key_is_named(write, key):
    settings = {name: value for name, value in yaml.safe_load(BASE).items() if name != key}
    write("a/part", yaml.safe_dump(settings))
    assert refused("a/part") == [f"a/part: {key}: is missing"]


def test_overrides_are_yaml_values_of_nested_keys(write):
    chosen = recipe.load(
        "a/base",
        [
            "model.widths=[4,5,6]",
            "optimizer.lr=1e-3",
            "optimizer.weight_decay=1E2",
            "techniques.ema=null",
            "augment={crop: 2, flip: random}",
            "augment.crop=3",
            "drop_last=false",
            "epochs=0.5",
            "source=a=b",
        ],
    )
    assert (chosen.model.widths, chosen.optimizer.lr, chosen.optimizer.weight_decay) == ((4, 5, 6), 0.001, 100)
    assert chosen.techniques.ema is None
    assert (chosen.augment.crop, chosen.augment.flip, chosen.drop_last) == (3, "random", False)
    assert (chosen.epochs, chosen.source) == (0.5, "a=b")


@pytest.mark.parametrize(
    "override",
    ["epochs", "=3", "a b=3", "optimizer..lr=1", "--epochs=3", "1x=2", "epochs=[1", "epochs=!x {", 'epochs=!!int ""'],
)
def test_an_override_that_is_none_is_refused(write, override):
    (line,) = refused("a/base", [override])
    assert override in line


@pytest.mark.parametrize("text", ["1e-3", "+1e-3", "1.0e-3", "1.e-3", "0.001", "1E-3", "10e-4"])
def test_numbers_are_read_as_in_yaml_1_2(write, text):
    assert recipe.load("a/base", [f"optimizer.lr={text}"]).optimizer.lr == pytest.approx(0.001)


@pytest.mark.parametrize("text", ["1e", "e3", "1e-3x", "v1e3", "1e3.5"])
def test_what_only_looks_like_a_number_is_a_string(write, text):
    assert recipe.load("a/base", [f"source={text}"]).source == text


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {flag}']",
        "!!python/object/new:os.system ['touch {flag}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!mine x",
    ],
)
@pytest.mark.parametrize("in_file", [True, False])
def test_a_hostile_tag_is_refused_and_runs_nothing(write, tmp_path, tag, in_file):
    flag = tmp_path / "executed"
    hostile = tag.format(flag=flag)
    if in_file:
        write("a/hostile", f"base: a/base\nsource: {hostile}\n")
        (line,) = refused("a/hostile")
        assert "hostile.yaml: is not YAML" in line
    else:
        (line,) = refused("a/base", [f"source={hostile}"])
        assert "is not a YAML value" in line
    assert not flag.exists()


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/passwd", "a/../../configs/../secret"])
def test_names_stay_inside_the_folder(write, tmp_path, name):
    (tmp_path / "secret.yaml").write_text(BASE)
    (line,) = refused(name)
    assert "is not the name of a recipe" in line
    write("a/hostile", f"base: {name}\n")
    (line,) = refused("a/hostile")
    assert "is not the name of a recipe" in line


def test_a_path_is_a_recipe_too(write, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: a/base\ntitle: mine\n")
    assert recipe.load(str(path)).title == "mine"
    assert recipe.title(str(path)) == "mine"


def test_the_path_of_a_base_starts_from_the_folder_of_the_file(write, tmp_path, monkeypatch):
    """As that of an entry does. A file of the same name in the working directory is another one."""
    for folder, title in (("shared", "of shared"), ("elsewhere/shared", "of elsewhere")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mine.yaml").write_text(f"base: a/base\ntitle: {title}\n")
    (tmp_path / "top.yaml").write_text("base: shared/mine.yaml\nepochs: 3\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert recipe.load("../top.yaml").title == recipe.title("../top.yaml") == "of shared"
    absolute = tmp_path / "absolute.yaml"
    absolute.write_text(f"base: {tmp_path}/shared/mine.yaml\n")
    assert recipe.load(str(absolute)).title == "of shared"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a recipe is a mapping"),
        ("- 1\n- 2\n", "a recipe is a mapping"),
        ("3: 4\n", "line 1: a key is of the type int, and keys are texts: write it in quotes"),
        ("a: 1\nschedule: {2020-01-01: 1}\n", "line 2: a key is of the type timestamp"),
        ("a: {on: 1}\n", "line 1: a key is of the type bool"),
        ("a: {[1]: 1}\n", "line 1: a key is of the type seq"),
        ("<<: {a: 1}\n", "line 1: a key is of the type merge"),
        ("a: 1\nb: !!bool maybe\n", "line 2: tags such as !!bool are not read; write the value alone"),
        ("a: [1\n", "is not YAML"),
        ("a: 1\n\tb: 2\n", "is not YAML"),
        ("---\na: 1\n---\nb: 2\n", "is not YAML"),
    ],
)
def test_a_broken_file_is_named(write, text, message):
    write("a/broken", text)
    (line,) = refused("a/broken")
    assert "broken.yaml" in line
    assert message in line


def test_a_file_that_is_no_text_is_named(write):
    write("a/binary", "").write_bytes(b"\xff\xfe\x00")
    (line,) = refused("a/binary")
    assert "binary.yaml: cannot be read" in line
    (line,) = refused("a/missing")
    assert "no recipe is called 'a/missing'" in line


@pytest.mark.parametrize(("accumulation", "batch_size"), [(10, 500), (4, 2048), (1, 512), (3, 48)])
def test_a_sample_accumulates_what_divides_its_batch(accumulation, batch_size):
    chosen = recipe.load("digits/quick", [f"accumulation={accumulation}", f"batch_size={batch_size}"])
    smaller = recipe.smoke_test(chosen)
    assert smaller.batch_size % smaller.accumulation == 0
    assert accumulation % smaller.accumulation == 0


def test_a_sample_is_small_and_still_a_recipe(write):
    chosen = recipe.load("a/base", ["epochs=30", "batch_size=512"])
    small = recipe.smoke_test(chosen)
    assert (small.data.limit, small.batch_size, small.epochs) == (128, 32, 2)
    assert small.steps(128) == 8
    tiny = recipe.smoke_test(recipe.load("a/base", ["epochs=0.5", "batch_size=8", "data.limit=20"]))
    assert (tiny.data.limit, tiny.batch_size, tiny.epochs) == (20, 8, 0.5)
    assert type(small).model_validate_json(small.model_dump_json()) == small


def test_a_smoke_test_of_throughput_has_one_small_batch_an_epoch():
    small = recipe.smoke_test(recipe.load("throughput/resnet50", []))
    assert (small.data.made_up.images, small.data.made_up.size, small.batch_size) == (8, 64, 8)
    assert small.steps(small.data.made_up.images) == 2
    assert small.model == recipe.load("throughput/resnet50", []).model


def test_a_star_stays_within_its_folder():
    chosen = recipe.select(["cifar10/*"])
    assert "cifar10/davidnet-10" in chosen
    assert all(name.count("/") == 1 for name in chosen)
    assert recipe.select(["cifar10/ladder/2*"])[0] == "cifar10/ladder/20-davidnet-on-device"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trick=shorter", "change=shorter"),
        ("parallel.engine=fsdp2", "parallel.strategy=fsdp2"),
        ("parallel={exchange: false, bucket_mb: 1}", "parallel={sync_gradients: false, bucket_mb: 1}"),
    ],
)
def test_an_old_name_is_read_with_one_line_that_says_the_new_one(old, new):
    with pytest.warns(FutureWarning, match=f"{re.escape(old)}: the option .* is now called ") as warned:
        read = recipe.load("digits/quick", [old])
    assert len(warned) == 1
    assert read == recipe.load("digits/quick", [new])
    assert read.hash == recipe.load("digits/quick", [new]).hash


@pytest.mark.filterwarnings("error::FutureWarning")
def test_an_argument_of_a_function_may_be_called_like_an_old_option():
    chosen = recipe.load_any("train.py:main", ["target=0.9", "trick=1", "parallel.engine=2"])
    assert chosen.arguments == {"trick": 1, "parallel": {"engine": 2}}
    assert chosen.change is None


def test_an_old_name_is_read_for_a_command_too():
    with pytest.warns(FutureWarning, match="trick=shorter: the option trick is now called change"):
        chosen = recipe.load_own({"command": "./train", "target": 0.9}, "./train", ["trick=shorter"])
    assert chosen.change == "shorter"


def test_an_old_name_in_a_base_and_the_new_one_in_a_recipe_upon_it_are_the_same_option(write):
    write("c/old", "base: a/base\nparallel: {engine: fsdp2}\n")
    write("c/new", "base: c/old\nparallel: {strategy: ddp}\n")
    with pytest.warns(FutureWarning, match="old.yaml: the option parallel.engine is now called parallel.strategy"):
        assert recipe.load("c/new").parallel.strategy == "ddp"


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_both_names_of_an_option_are_refused(write):
    write("c/both", "base: a/base\nparallel: {engine: fsdp2, strategy: ddp}\n")
    with pytest.raises(recipe.RecipeError, match="parallel.engine and parallel.strategy are names of one option"):
        recipe.load("c/both")


def test_another_data_set_keeps_the_share_that_the_recipe_trains_on() -> None:
    data = recipe.load("mnist/base", ["data.name=fashion-mnist"]).data
    assert (data.name, data.fraction) == ("fashion-mnist", 0.1)
