"""Which row of which published table a run is, and where it departs from what was published."""

from dataclasses import dataclass
from typing import Any

from dataloaders.datasets import DATASETS
from dataloaders.orders import order_name
from dataloaders.tasks import split_classes
from learners import LEARNERS
from utils.reports.paper import DREAM_LOSS, METHODS, PAPER, STUDIES, TABLES, UB, Method, Study

SPLIT = ("first_split_size", "other_split_size", "task_sizes")
LENGTH = ("schedule", "power_iters")
# Names of lengths that are so many times shorter than published.
LENGTHS = {
    2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 10: "a tenth", 20: "a twentieth", 50: "a fiftieth",
    100: "a hundredth",
}


@dataclass(eq=False)
class Place:
    """The place of a run in the published tables.

    Attributes:
        columns: of the table; all of them for UB on all classes at once.
        protocol: where the run departs from the study's protocol, as "setting value".
        own: where it departs from its method's own published settings.
        shorter: how many times shorter than published (LENGTHS); only if the run departs in nothing else.
    """

    study: Study
    columns: list[int]
    method: Method
    protocol: list[str]
    own: list[str]
    shorter: int

    @property
    def tables(self) -> list[int]:
        """The numbers of the tables; a learner without published numbers stands with those that have a
        coreset or not."""
        numbers = [number for number, table in TABLES.items() if table.study is self.study]
        listed = [number for number in numbers if self.method in TABLES[number].rows]
        return listed or [numbers[-1] if self.method.memory else numbers[0]]

    @property
    def label(self) -> str:
        """The protocol in headings."""
        if self.shorter > 1:
            return f"{self.study.name} at {LENGTHS[self.shorter]} of its length"
        if not self.protocol + self.own:
            return self.study.name
        changed = f"scaled down or changed: {', '.join(self.protocol) or 'settings of methods'}"
        return changed if self.study is PAPER else f"{self.study.name}, {changed}"


def show_setting(value: Any) -> str:
    """A setting in a few words; of a long list, such as a class order, how it begins and a digest."""
    if isinstance(value, list):
        return order_name(value) if len(value) > 9 else " ".join(map(str, value))
    return str(value)


def task_sizes(settings: dict[str, Any]) -> list[int]:
    """The number of classes of each task, regardless of ``--max_task``."""
    known = DATASETS.get(settings["dataset"])
    classes = len(settings.get("imagenet_classes") or ()) or (known.classes if known else 0)
    first, other, sizes = (settings[name] for name in SPLIT)
    return [len(task) for task in split_classes(classes, first, other, sizes=sizes)]


def method_of(study: Study, settings: dict[str, Any], at_once: bool) -> Method:
    """The published row of exactly this learner, or one under the learner's name."""
    learner, coreset = settings["learner_name"], settings["memory"] > 0
    if study is PAPER and learner == UB.learner and not coreset and (at_once or settings["oracle_flag"]):
        return UB
    for method in (method for table in TABLES.values() if table.study is study for method in table.rows):
        if method is not UB and (method.learner, method.memory > 0) == (learner, coreset):
            return method
    if learner in LEARNERS:
        dreams = LEARNERS[learner].generator_type == "generator"
    else:  # its file is gone
        dreams = settings["learner_type"] == "datafree"
    taken = learner in METHODS and METHODS[learner].learner != learner  # such as a class named BiC
    name = learner + " (own class)" * taken + " (coreset)" * coreset
    return Method(name, learner, DREAM_LOSS if dreams else {}, 2000 * coreset)


def place(settings: dict[str, Any], other_first_task: bool = False) -> Place | None:
    """The place of a run; None if no table has its data set and split.

    Args:
        other_first_task: it took over a first task that it would not have learned itself.
    """
    sizes = task_sizes(settings)
    for study in (study for study in STUDIES if study.dataset == settings["dataset"]):
        at_once = study is PAPER and sizes == [study.classes]
        columns = [column for column in study.columns if at_once or sizes == study.sizes(column)]
        method = method_of(study, settings, at_once)
        if columns and (method is UB or not at_once):
            return placed(study, columns, method, dict(settings), other_first_task)
    return None


def placed(
    study: Study, columns: list[int], method: Method, settings: dict[str, Any], other_first_task: bool,
) -> Place:
    learner = LEARNERS.get(method.learner)
    settings["DW"] = settings["DW"] and (learner is None or learner.reads_DW(settings["memory"]))
    settings["oracle_flag"] = settings["oracle_flag"] and method is not UB
    dreams = study.dreams if "deep_inv_params" in method.settings else {}
    own = {"memory": method.memory, **method.settings, **dreams}
    published = {**study.protocol, **own}
    changed = {
        name: f"{name} {show_setting(settings.get(name))}" for name in published
        if settings.get(name) != published[name]}
    if other_first_task:
        forced = " (load_any 1)" * bool(settings["load_any"])
        changed["load_model_dir"] = f"load_model_dir {settings['load_model_dir']}{forced}"
    lengths = {name: published[name] for name in LENGTH if name in published}
    shorter = [
        times for times in LENGTHS if changed and changed.keys() <= lengths.keys()
        and all(settings[name] == divided(length, times) for name, length in lengths.items())]
    protocol = [text for name, text in changed.items() if name not in own and not shorter]
    own_changed = [changed[name] for name in own if name in changed and not shorter]
    return Place(study, columns, method, protocol, own_changed, shorter[0] if shorter else 1)


def divided(length: Any, times: int) -> Any:
    return [number / times for number in length] if isinstance(length, list) else length / times
