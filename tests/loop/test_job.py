import json
import os
import re
import sys
import tracemalloc

import pytest
import yaml

from l2l_snn.checks import common as checks
from l2l_snn.loop import job as jobs
from l2l_snn.loop.job import JobError
from l2l_snn.loop.replay import replay
from l2l_snn.loop.run import run
from l2l_snn.search.step_rules import StepRule
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline
from optimizees.functions import Function
from optimizers.ga import GeneticAlgorithm

GOOD = """\
optimizee:
  class: optimizees.functions:Function
  name: ackley
  dimension: 3
optimizer:
  class: optimizers.ga:GeneticAlgorithm
  population: 8
  mutation_std: 1e-1
generations: 5
stop: {fitness: -0.1, hours: 2}
"""


def write(tmp_path, text, name="x.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_job_file_gives_its_objects_and_all_defaults(tmp_path):
    job, optimizee, optimizer = jobs.load(write(tmp_path, GOOD))
    assert optimizee == Function("ackley", 3)
    assert optimizer == GeneticAlgorithm(population=8, mutation_std=0.1)
    assert job.optimizer["tournament"] == 4  # filled in, so that a stored run doesn't change with a default
    assert (job.generations, job.seed, job.stop.hours, job.stop.stagnation) == (5, 1, 2.0, None)


def test_a_stored_job_comes_back_the_same(tmp_path):
    job, _, _ = jobs.load(write(tmp_path, GOOD))
    assert jobs.Job.model_validate(job.model_dump(mode="json")) == job


def test_settings_change_any_entry(tmp_path):
    settings = ["optimizer.population=64", "stop.fitness=null", "seed=7", "optimizee.name=sphere", "stop.stagnation=4"]
    job, _, _ = jobs.load(write(tmp_path, GOOD), settings)
    assert job.optimizer["population"] == 64
    assert job.optimizee["name"] == "sphere"
    assert (job.seed, job.stop.fitness, job.stop.stagnation) == (7, None, 4)


def test_what_is_wrong_in_a_users_module_is_told_with_its_own_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "from l2l_snn import Real\n\nX = Real(1, 0)\n", "upside_down.py")
    with pytest.raises(
        JobError, match=rf"importing 'upside_down' failed: ValueError: .*, at {tmp_path}/upside_down.py:3"
    ):
        jobs.load(write(tmp_path, GOOD.replace("optimizees.functions:Function", "upside_down:Thing")))


def test_a_run_without_a_job_file_lets_no_relative_folder_be_searched(tmp_path, monkeypatch):
    before = [place for place in sys.path if os.path.isabs(place)]
    monkeypatch.setattr(sys, "path", [*before])
    monkeypatch.chdir(tmp_path)
    with Store(f"sqlite:///{tmp_path}/l2l.db") as store:
        store.create("f", "job", {"job": yaml.safe_load(GOOD)}, Function().space)
        jobs.read_stored(store.load("f"))
    assert sys.path == [*before, str(tmp_path)]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("population: 8", "populaton: 8", ":7: optimizer.populaton: unknown key, did you mean 'population'?"),
        ("generations: 5", "generatoins: 5", ":9: generatoins: unknown key, did you mean 'generations'?"),
        ("fitness: -0.1", "fitnes: -0.1", ":10: stop.fitnes: unknown key, did you mean 'fitness'?"),
        ("generations: 5", "generations: many", ":9: generations: expected an integer, got 'many'"),
        ("generations: 5", "generations: 0", ":9: generations: expected a number >= 1, got 0"),
        ("population: 8", "population: [8]", ":7: optimizer.population: expected an integer, got [8]"),
        ("population: 8", "population: 0", ":7: optimizer.population: expected an integer >= 2, got 0"),
        ("name: ackley", "name: akley", ":3: optimizee.name: "),
        ("functions:Function", "functions:Functoin", ":2: optimizee.class: module 'optimizees.functions' has no class"),
        ("functions:Function", "funktions:Function", ":2: optimizee.class: no module 'optimizees.funktions' here"),
        ("optimizees.functions:Function", "nowhere", ":2: optimizee.class: expected module:Class, got 'nowhere'"),
        ("optimizees.functions:Function", "json:JSONDecoder", ":2: optimizee.class: expected a subclass of Optimizee"),
        (
            "optimizees.functions:Function",
            "broken:Thing",
            ":2: optimizee.class: importing 'broken' failed: ZeroDivision",
        ),
        ("  class: optimizers.ga:GeneticAlgorithm\n", "", ":5: optimizer: missing 'class: module:Class'"),
        ("optimizer:", "optimiser:", "optimizer: missing"),
        ("generations: 5", "generations: 5\ngenerations: 6", ":10: generations: stands twice, first on line 9"),
        ("generations: 5", "generations: [5", ":10: not YAML: "),
        (GOOD, "- 1", ":1: expected a mapping with 'optimizee' and 'optimizer', got list"),
        (GOOD, "", ":1: expected a mapping"),
        (
            "name: ackley",
            "name: !!python/object/apply:os.system ['true']",
            ":3: not YAML: could not determine a constr",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_file_line_and_key(tmp_path, monkeypatch, old, new, complaint):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "1 / 0", "broken.py")
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(JobError) as caught:
        jobs.load(path)
    text = str(caught.value)
    assert f"{path}{complaint}" in text or (complaint.startswith("optimizer:") and f"{path}: {complaint}" in text)
    assert all(line.startswith(str(path)) for line in text.splitlines())


def test_resources_and_a_timeout_are_read_and_come_back(tmp_path):
    group = 'resources: {cpus: 2, gpus: 0.5, memory: "2 GiB", custom: {loihi: 1}}\ntimeout: 1.5\n'
    job, _, _ = jobs.load(write(tmp_path, GOOD + group))
    need = job.resources
    assert (need.cpus, need.gpus, need.memory, need.custom, job.timeout) == (2, 0.5, 2 * 2**30, {"loihi": 1}, 1.5)
    assert jobs.Job.model_validate(job.model_dump(mode="json")) == job
    plain, _, _ = jobs.load(write(tmp_path, GOOD))
    assert (plain.resources, plain.timeout) == (jobs.Resources(cpus=1, gpus=0, memory=0, custom={}), None)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("timeout: 0", "timeout: expected a number > 0, got 0"),
        ("resources: {cpu: 2}", "resources.cpu: unknown key, did you mean 'cpus'?"),
        ("resources: {cpus: 0}", "resources.cpus: expected a number > 0, got 0"),
        ("resources: {gpus: 1.5}", "resources.gpus: expected a whole number above 1: a worker shares a GPU or has"),
        ("resources: {memory: lots}", "resources.memory: expected a number of bytes, e.g. 2 GiB, got"),
        ("resources: {memory: -1}", "resources.memory: expected a number of bytes, e.g. 2 GiB, got -1"),
        ("resources: {custom: {GPU: 1}}", "resources.custom: expected names of your own, not GPU; there are the keys"),
        ("resources: {custom: {loihi: 0}}", "resources.custom.loihi: expected a number > 0, got 0"),
    ],
)
def test_resources_that_no_worker_can_have_are_refused(tmp_path, line, complaint):
    path = write(tmp_path, f"{GOOD}{line}\n")
    with pytest.raises(JobError) as caught:
        jobs.load(path)
    assert str(caught.value).startswith(f"{path}:11: {complaint}"), caught.value


def test_all_wrong_keys_are_said_at_once(tmp_path):
    path = write(tmp_path, GOOD.replace("generations", "generatoins").replace("fitness", "fitnes"))
    with pytest.raises(JobError) as caught:
        jobs.load(path)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("optimizer.sigam=3", "--set: optimizer.sigam: unknown key"),
        ("generations", "--set: expected key=value, got 'generations'"),
        ("generations=null", "--set: generations: expected an integer, got null"),
        ("asynchronous=maybe", "--set: asynchronous: expected true or false, got 'maybe'"),
        ("stop=3", "--set: stop: expected a mapping, got 3"),
        ("generations.a=3", "--set: generations.a: 'generations' is a value"),
        ("generations=true", "--set: generations: expected a number, got true"),
        ("stop.fitness=true", "--set: stop.fitness: expected a number, got true"),
        ("optimizer.population=true", "--set: optimizer.population: expected a number, got true"),
        ("generations=-1", "--set: generations: expected a number >= 1, got -1"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, setting, complaint):
    with pytest.raises(JobError, match=complaint):
        jobs.load(write(tmp_path, GOOD), [setting])


def test_a_file_that_can_not_be_read_is_said(tmp_path):
    with pytest.raises(JobError, match=r"missing\.yaml: can't be read: No such file"):
        jobs.load(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JobError, match="can't be read"):
        jobs.load(tmp_path / "binary.yaml")


def test_a_class_beside_the_job_file_is_found(tmp_path):
    write(
        tmp_path,
        "from dataclasses import dataclass\nfrom l2l_snn import Optimizee, Real, Space\n"
        "@dataclass(frozen=True)\nclass Mine(Optimizee):\n    space = Space(x=Real(0, 1))\n"
        "    def evaluate(self, params, seed):\n        return params['x']\n",
        "my_own_optimizee.py",
    )
    data = yaml.safe_load(GOOD)
    data["optimizee"] = {"class": "my_own_optimizee:Mine"}
    _, optimizee, _ = jobs.load(write(tmp_path, yaml.safe_dump(data)))
    assert optimizee.space.size == 1


@pytest.mark.parametrize(
    ("space", "text"),
    [
        ("", "class Mine: expected a search space, got none; write space = Space"),
        ("    space = {'x': (0, 1)}\n", "class Mine: space: expected a Space, got {'x': .0, 1.} .dict."),
        ("    def make_space(self): return Space(x=Real(1, 0))\n", "Real: expected low < high, got low 1, high 0"),
        ("    def make_space(self): pass\n", "class Mine: space: expected a Space, got None"),
        ("    space: Space = Space(x=Real(0, 1))\n", "expected numbers, .*, got .*; without an annotation, `space = "),
    ],
)
def test_a_class_without_a_space_is_refused_with_its_line(tmp_path, monkeypatch, space, text):
    monkeypatch.delitem(sys.modules, "spaceless", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    write(
        tmp_path,
        "from dataclasses import dataclass\nfrom l2l_snn import Optimizee, Real, Space\n"
        f"@dataclass(frozen=True)\nclass Mine(Optimizee):\n{space}"
        "    def evaluate(self, params, seed):\n        return 0.0\n",
        "spaceless.py",
    )
    path = write(tmp_path, "optimizer: {class: optimizers.ga:GeneticAlgorithm}\noptimizee:\n  class: spaceless:Mine\n")
    with pytest.raises(JobError) as caught:
        jobs.load(path)
    line, key = (":2", "space") if "an annotation" in text else (":3", "class")
    assert re.match(re.escape(f"{path}{line}: optimizee.{key}: ") + text, str(caught.value)), caught.value


NESTED = """\
from dataclasses import dataclass
from l2l_snn import Optimizee, Real, Space

@dataclass(frozen=True)
class Plan:
    trials: int = 2

@dataclass(frozen=True)
class Body:
    motor: int
    size: float = 1.0
    plan: Plan = Plan()
    def __post_init__(self):
        if self.motor < 1:
            raise ValueError(f"motor: expected at least 1, got {self.motor}")

@dataclass(frozen=True)
class Walker(Optimizee):
    body: Body = Body(2, size=0.5)
    spare: Body | None = None
    space = Space(x=Real(0, 1))
    def cross_check(self):
        if self.body.plan.trials > 9:
            raise ValueError(f"body.plan.trials: expected at most 9, got {self.body.plan.trials}")
    def evaluate(self, params, seed):
        return params["x"]
"""


@pytest.fixture
def walker(tmp_path, monkeypatch):
    """Return a function that writes a job of an optimizee whose fields are dataclasses, with these lines."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "walker", raising=False)
    write(tmp_path, NESTED, "walker.py")

    def job_with(lines):
        return write(tmp_path, f"optimizer: {{class: optimizers.ga:GeneticAlgorithm}}\noptimizee:\n{lines}")

    return job_with


def test_a_field_that_is_a_dataclass_takes_a_mapping_and_keeps_its_other_defaults(walker):
    path = walker("  class: walker:Walker\n  body: {motor: 3}\n")
    job, optimizee, _ = jobs.load(path, ["optimizee.body.plan.trials=5"])
    body = {"motor": 3, "size": 0.5, "plan": {"trials": 5}}  # the size of the field's default, not of the class
    assert job.optimizee == {"class": "walker:Walker", "body": body, "spare": None}
    assert optimizee.body.plan.trials == 5
    assert jobs.load(path, ["optimizee.body.motor=4"])[1].body.motor == 4
    assert jobs.load(path, ["optimizee.spare.motor=4"])[1].spare.motor == 4


def test_a_stored_job_with_nested_fields_builds_the_same_objects(walker):
    job, optimizee, optimizer = jobs.load(walker("  class: walker:Walker\n  spare: {motor: 7}\n"))
    stored = jobs.Job.model_validate(json.loads(json.dumps(job.model_dump(mode="json"))))
    assert stored.build() == (optimizee, optimizer)
    assert jobs.change(stored, ["optimizee.body.motor=9"])[1].body.motor == 9
    assert checks.frozen_json(optimizee) == ""


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("  body:\n    motr: 3\n", ":5: optimizee.body.motr: unknown key, did you mean 'motor'?"),
        ("  body:\n    plan: {trails: 3}\n", ":5: optimizee.body.plan.trails: unknown key, did you mean 'trials'?"),
        ("  spare:\n    size: 2\n", ":4: optimizee.spare.motor: missing; Body has no default for it"),
        ("  body:\n    motor: [3]\n", ":5: optimizee.body.motor: expected an integer, got [3]"),
        ("  body: 3\n", ":4: optimizee.body: expected a mapping of Body's fields (motor, size, plan), got 3"),
        ("  body:\n    motor: 0\n", ":5: optimizee.body.motor: expected at least 1, got 0"),
        ("  body:\n    plan: {trials: 10}\n", ":5: optimizee.body.plan.trials: expected at most 9, got 10"),
    ],
)
def test_what_is_wrong_in_a_nested_field_is_said_with_its_whole_key(walker, lines, complaint):
    path = walker(f"  class: walker:Walker\n{lines}")
    with pytest.raises(JobError) as caught:
        jobs.load(path)
    assert str(caught.value) == f"{path}{complaint}"


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("optimizee.body.motor.x=4", "--set: optimizee.body.motor: expected an integer, got {'x': 4}"),
        ("optimizee.spare.size=2", "--set: optimizee.spare.motor: missing; Body has no default for it"),
        (
            "optimizee.body=null",
            "--set: optimizee.body: expected a mapping of Body's fields (motor, size, plan), got null",
        ),
    ],
)
def test_what_a_setting_did_is_told_as_such(walker, setting, complaint):
    with pytest.raises(JobError) as caught:
        jobs.load(walker("  class: walker:Walker\n"), [setting])
    assert str(caught.value).startswith(complaint)


def test_a_class_that_is_set_keeps_of_the_files_entries_what_it_has_fields_for(tmp_path):
    path = write(tmp_path, GOOD)
    optimizer = ["optimizer.class=optimizers.cma_es:CMAES", "optimizer.sigma=0.5"]
    job, _, made = jobs.load(path, optimizer)
    assert (made.population, made.sigma) == (8, 0.5)  # mutation_std is none of its fields
    assert jobs.change(job, ["optimizer.class=optimizers.ga:GeneticAlgorithm"])[2] == GeneticAlgorithm(population=8)
    with pytest.raises(JobError, match=r"--set: optimizer.mutation_std: unknown key"):
        jobs.load(path, [*optimizer, "optimizer.mutation_std=0.2"])
    misprint = write(tmp_path, GOOD.replace("population", "populaton"))
    with pytest.raises(JobError, match=r":7: optimizer.populaton: unknown key"):  # the class is the same
        jobs.load(misprint, ["optimizer.class=optimizers.ga:GeneticAlgorithm"])


def test_a_population_that_no_memory_holds_is_refused_with_the_figure(tmp_path):
    _, optimizee, optimizer = jobs.load(write(tmp_path, GOOD), ["optimizer.population=10000000000"])
    text = r"optimizer.population: expected individuals that fit into memory, got 10,000,000,000 of 3 .* 10,480 GB; "
    text += f"this machine has {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:,.0f} GB"
    with pytest.raises(JobError, match=text):
        jobs.check_before_run(optimizee, optimizer)
    jobs.check_before_run(optimizee, GeneticAlgorithm())


def test_settings_of_a_resumed_run_are_remembered_and_its_genomes_keep_their_length(tmp_path):
    path = write(tmp_path, GOOD)
    job, optimizee, optimizer = jobs.load(path, ["generations=2", "stop.fitness=null"])
    with Store(f"sqlite:///{tmp_path}/x.db", create=True) as store:
        store.create("x", "x", jobs.manifest(job, path), optimizee.space)
        run(store, "x", job, optimizer, Inline(optimizee))
        longer, _, _ = jobs.stored_job(store, "x", ["generations=4", "stop.evaluations=24"])
        assert run(store, "x", longer, optimizer, Inline(optimizee)).generation == 3
        assert jobs.stored_job(store, "x")[0] == longer
        with pytest.raises(JobError, match=r"--set: optimizee: expected a search space of 3 coordinates, .*, got 5; "):
            replay(store, "x", ["optimizee.dimension=5"])
        assert not replay(store, "x", ["optimizee.name=sphere"]).same


def test_a_key_that_belongs_to_a_nested_field_is_told_where_it_is(tmp_path):
    text = GOOD.replace("ga:GeneticAlgorithm", "openai_es:OpenES").replace("  mutation_std: 1e-1\n", "")
    job, _, optimizer = jobs.load(write(tmp_path, text), ["optimizer.step.learning_rate=0.1"])
    assert optimizer.step == StepRule(learning_rate=0.1, momentum=0.9)
    with pytest.raises(JobError, match=r"learning_rate: unknown key, did you mean 'step\.learning_rate'\?"):
        jobs.change(job, ["optimizer.learning_rate=0.1"])


def test_an_optimizer_that_needs_a_gradient_is_refused_without_one(tmp_path):
    write(
        tmp_path,
        "from dataclasses import dataclass\nfrom optimizers.random_search import RandomSearch\n"
        "from l2l_snn import Optimizer\n"
        "@dataclass(frozen=True)\nclass Ascent(Optimizer):\n    needs_grad = True\n"
        "    def init(self, space, seed): ...\n    def ask(self, space, state): ...\n"
        "    def learn(self, space, state, z, fitness, evaluation): ...\n    def recommend(self, space, state): ...\n",
        "ascent.py",
    )
    data = yaml.safe_load(GOOD)
    data["optimizer"] = {"class": "ascent:Ascent"}
    assert jobs.load(write(tmp_path, yaml.safe_dump(data)))[2].needs_grad
    data["optimizee"] = {"class": "optimizees.mountain_car:MountainCar"}
    with pytest.raises(
        JobError, match=r"optimizer.class: Ascent needs a gradient and MountainCar has none; subclass Jax"
    ):
        jobs.load(write(tmp_path, yaml.safe_dump(data)))


def test_shards_that_would_all_draw_the_same_tasks_are_refused(tmp_path):
    data = yaml.safe_load(GOOD)
    data["optimizer"] = {"class": "optimizers.gradient_ascent:GradientAscent", "evaluations": 4}
    jobs.load(write(tmp_path, yaml.safe_dump(data)))
    for seeds in ("generation", "run"):
        path = write(tmp_path, yaml.safe_dump(data | {"seeds": seeds}))
        with pytest.raises(JobError, match=f"seeds: .* with '{seeds}' they'd all be the same; expected 'individual'"):
            jobs.load(path)
        jobs.load(path, ["optimizer.evaluations=1"])


BOMB = (
    "a: &a ["
    + ", ".join(["x"] * 9)
    + "]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (GOOD + "x: !!python/object/apply:os.system ['touch hacked']\n", "could not determine a constructor"),
        (GOOD + "x: !!python/name:os.system\n", "could not determine a constructor"),
        (BOMB, "expected at most 20000 entries, got more"),
        ("optimizee: &a {b: *a}\n", "the anchor on line 1 contains itself"),
        ("[" * 50_000, "not YAML: "),
        (GOOD + "#" * 200_000, "at most 200000 characters, got more"),
        (
            GOOD.replace("optimizees.functions:Function", "../../hacked:Function"),
            "expected module:Class, got '../../hacked:",
        ),
        (
            GOOD.replace("optimizees.functions:Function", "/tmp/hacked:Function"),
            "expected module:Class, got '/tmp/hacked:",
        ),
        (GOOD.replace("optimizees.functions:Function", "..:Function"), "expected module:Class, got '..:"),
        (GOOD.replace("optimizees.functions:Function", "os:system"), "module 'os' has no class 'system'"),
        (GOOD.replace("optimizees.functions:Function", "subprocess:Popen"), "expected a subclass of Optimizee"),
        (GOOD.replace("ackley", "<script>alert(1)</script>"), "name: expected one of"),
        (GOOD.replace("ackley", "x'; DROP TABLE runs; --"), "name: "),
    ],
)
def test_a_hostile_job_file_is_refused_in_lines_of_words(tmp_path, monkeypatch, text, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobError, match=re.escape(complaint)) as refused:
        jobs.load(write(tmp_path, text))
    assert len(str(refused.value)) < 1000
    assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"]


def test_a_job_file_of_100_megabytes_is_refused_without_being_read(tmp_path):
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    tracemalloc.start()
    with pytest.raises(JobError, match="at most 200000 characters"):
        jobs.load(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6  # bytes
    tracemalloc.stop()


def test_anchors_may_be_used(tmp_path):
    text = GOOD.replace("optimizer:", "optimizer: &o").replace("generations: 5", "generations: 5\nseed: 3")
    assert jobs.load(write(tmp_path, text))[0].seed == 3
