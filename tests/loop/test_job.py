import json
import re
import sys
import tracemalloc

import pytest
import yaml

from l2l_snn.checks import common as checks
from l2l_snn.loop import job as jobs
from l2l_snn.loop.job import JobError
from l2l_snn.search.step_rules import StepRule
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


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("population: 8", "populaton: 8", ":7: optimizer.populaton: unknown key, did you mean 'population'?"),
        ("generations: 5", "generatoins: 5", ":9: generatoins: unknown key, did you mean 'generations'?"),
        ("fitness: -0.1", "fitnes: -0.1", ":10: stop.fitnes: unknown key, did you mean 'fitness'?"),
        ("generations: 5", "generations: many", ":9: generations: input should be a valid integer"),
        ("generations: 5", "generations: 0", ":9: generations: input should be greater than or equal to 1, got 0"),
        ("population: 8", "population: [8]", ":7: optimizer.population: input should be a valid integer"),
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
        ("timeout: 0", "timeout: input should be greater than 0, got 0"),
        ("resources: {cpu: 2}", "resources.cpu: unknown key, did you mean 'cpus'?"),
        ("resources: {cpus: 0}", "resources.cpus: input should be greater than 0, got 0"),
        ("resources: {gpus: 1.5}", "resources.gpus: expected a whole number above 1: a worker shares a GPU or has"),
        ("resources: {memory: lots}", "resources.memory: could not parse value and unit from byte string"),
        ("resources: {memory: -1}", "resources.memory: could not parse value and unit from byte string, got -1"),
        ("resources: {custom: {GPU: 1}}", "resources.custom: expected names of your own, not GPU; there are the keys"),
        ("resources: {custom: {loihi: 0}}", "resources.custom.loihi: input should be greater than 0, got 0"),
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
        ("generations.a=3", "--set: generations.a: 'generations' is a value"),
        ("generations=-1", "--set: generations: input should be greater"),
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
        ("  body:\n    motor: [3]\n", ":5: optimizee.body.motor: input should be a valid integer, got [3]"),
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
        (GOOD.replace("ackley", "<script>alert(1)</script>"), "name: input should be"),
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
