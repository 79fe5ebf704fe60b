"""What a module holds between calls: all of it is listed here, with what it is keyed by and why that is safe.

A notebook defines a class anew under the same name, a thread evaluates beside another, a forked worker begins with
what its parent held. A frozen dataclass equals only one of the same class with equal fields, so that a cache keyed by
it gives a class that was defined anew its own entry; and evaluations in one process take turns (`workers/chunks.py`).
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

COMPILED = "compiled by JAX, keyed by all that it depends on"
COMPUTED = "numbers, keyed by all that they depend on"
READ = "arrays of a file or folder, keyed by its path; nobody writes into them"
STATE = {
    "l2l_snn.body.dynamics": {"_mjx": COMPUTED},
    "l2l_snn.body.mjcf": {"read_mjcf": "a file of this installation, or the user's as it was when first read"},
    "l2l_snn.checks.common": {"_WATCH": "who is told of claims; a context variable, each thread's own"},
    "l2l_snn.data.events": {"read_spikes": READ},
    "l2l_snn.data.images": {"_read_part": READ},
    "l2l_snn.data.moving": {"_make_part": READ},
    "l2l_snn.data.speech": dict.fromkeys(
        ("_make_frames", "_measure_features", "_read_part"),
        "arrays made of a folder, keyed by it; nobody writes into them",
    ),
    "l2l_snn.evaluation": {"_is_users_file": "of a file name"},
    "l2l_snn.optimizee": {"_compile_evaluation": COMPILED},
    "l2l_snn.search.cma": {"constants": COMPUTED},
    "l2l_snn.search.evosax_algorithms": {"adjusted": COMPUTED, "compile_algorithm": COMPILED},
    "l2l_snn.search.shaping": {"utilities": COMPUTED},
    "l2l_snn.search.step_rules": {"_compile_rule": COMPILED},
    "l2l_snn.snn.nest.feed_forward": {"_kept": "the network that NEST's kernel holds, if it still does"},
    "l2l_snn.snn.nest.kernel": {"_networks": "how many NEST's kernel, one in a process, has held"},
    "l2l_snn.storage.database": {"_warn_of_network": "the databases of which a warning was given"},
    "l2l_snn.storage.lease": {"_this_machine": "of this machine since it started"},
    "l2l_snn.validate": {"_field_hints": "of a class"},
    "l2l_snn.workers.children": {"_reset_forked_children": "once in a process"},
    "l2l_snn.workers.chunks": {"_TURN": "which thread evaluates"},
    "optimizees.agent.lives": {"compiled_study": COMPILED},
    "optimizees.arm.optimizee": {"_compile_lives": COMPILED},
    "optimizees.classify.classifier": {"_compile_objective": COMPILED},
    "optimizees.gym.environment": {
        "describe": "of an environment's name",
        "side_by_side": "environments, reset by whoever takes them; evaluations in a process take turns",
    },
    "optimizees.gym.lsnn": {"_draw_signs": COMPUTED},
    "optimizees.gym.rollout": {"_compile_action": COMPILED},
    "optimizees.gym.twin": {"_compile_rollout": COMPILED},
    "optimizees.hybrid.network": {"_compile_objective": COMPILED, "_compile_step": COMPILED},
    "optimizees.hybrid.scenes": {"make_questions": "arrays, keyed by all that they depend on; nobody writes into them"},
    "optimizees.l2l_adapter": {"_make_optimizee": "the user's object, as the L2L framework keeps one in a process"},
    "optimizees.mountain_car.on_nest": {"_kept_cars": "environments, reset by whoever takes them"},
    "optimizees.nest_script": {"_BUILT": "the network that NEST's kernel holds, if it still does"},
    "optimizees.vehicle.env": {"_compile_world": COMPILED},
    "optimizees.vehicle.life": {"compiled_life": COMPILED},
    "optimizers.cma_es": {"rank_weights": COMPUTED},
    "optimizers.dqn": {"_compile_update": COMPILED},
    "optimizers.parallel_tempering": {"geometric_ladder": COMPUTED},
    "optimizers.ppo": {"_compile_update": COMPILED},
}
MUTATORS = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}
HOLDERS = {"ContextVar", "Lock", "RLock", "defaultdict", "local", "OrderedDict", "WeakKeyDictionary"}


def files() -> Iterator[tuple[str, Path]]:
    for package in ("l2l_snn", "optimizees", "optimizers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path


def find_state(tree: ast.Module) -> set[str]:
    """Return the names of what a module holds: caches, names that functions write to, locks and the like."""
    found: set[str] = set()
    top: dict[str, ast.expr | None] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            top |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
    for name, value in top.items():
        if isinstance(value, ast.Call) and last_part(value.func) in HOLDERS:
            found.add(name)
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
        if any(last_part(decorator) in {"cache", "lru_cache"} for decorator in function.decorator_list):
            found.add(function.name)
        arguments = {argument.arg for argument in function.args.args}
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                found |= set(node.names)
            elif isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
                targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
                written = {first_name(one) for one in targets if isinstance(one, ast.Subscript | ast.Attribute)}
                found |= written & set(top) - arguments
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
                found |= {first_name(node.func.value)} & set(top) - arguments
    return found


def last_part(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]


def first_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def test_whatever_holds_state_is_listed():
    found = {name: find_state(ast.parse(path.read_text())) for name, path in files()}
    assert {name: held for name, held in found.items() if held} == {name: set(held) for name, held in STATE.items()}


@pytest.mark.parametrize(
    "code",
    [
        "@lru_cache(maxsize=4)\ndef held(): pass",
        "held = None\ndef f():\n    global held\n    held = 1",
        "held = {}\ndef f():\n    held['a'] = 1",
        "held = []\ndef f():\n    held.append(1)",
        "held = threading.Lock()",
    ],
)
def test_each_kind_of_state_is_found(code):
    assert find_state(ast.parse(code)) == {"held"}


def test_no_cache_grows_without_bound():
    for name, path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and last_part(node) == "lru_cache":
                (size,) = [keyword.value for keyword in node.keywords if keyword.arg == "maxsize"]
                assert isinstance(ast.literal_eval(size), int), name
            if isinstance(node, ast.FunctionDef) and "cache" in map(last_part, node.decorator_list):
                assert not node.args.args, name  # it holds one value
