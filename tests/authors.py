"""The golden numbers of ABD's authors (tests/golden/README.md has the recipes), replayed through the real
learners. What a case is, is read from its name; each is replayed by a generator of deviations."""

from functools import partial

import numpy as np
import torch
from deviations import absolute, fingerprints, relative, shape_and_values
from recipes import BATCH, calibrate, dreams, enlarged, fill, fill_near, images, normal, state, whole
from steps import dream_params, dreaming, enter, generated, learner_with, parameters, stages_of, step, task_of

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.coreset import Coreset, herding, nearest_to_mean
from dataloaders.tasks import class_order
from learners import LEARNERS
from models import AUTOENCODERS, RESNETS, Autoencoder, ResNet

CLASSES = 100
TASK_SIZE = 20  # classes of every past task, for losses that see tasks

LEARNER_OF_CASE = {
    "base": "NormalNN", "upper_bound": "NormalNN", "naive_rehearsal": "NormalNN", "lwf": "LWF",
    "lwf_mc": "LWF_MC", "deep_inversion": "DeepInversionGenBN", "lwf_synthetic": "DeepInversionLWF",
    "abd": "AlwaysBeDreaming", "e2e": "ETE", "bic": "BIC"}
WITHOUT_CORESET = ("base", "upper_bound")


@torch.no_grad()
def set_teacher(teacher, seed, batch):
    fill(state(teacher), seed)
    features = calibrate(teacher, batch)
    teacher.last.weight.mul_(10)
    teacher.last.bias.sub_(teacher.last(features).mean(0))


def learner_of(name, recipe, batch, **more):
    """The learner with a recipe's settings, else the published ones; a batch calibrates its teacher."""
    learner = learner_with(
        name, model_name="resnet8", first_split_size=TASK_SIZE, other_split_size=TASK_SIZE,
        lr=recipe.get("learning_rate", 0.1), momentum=recipe.get("momentum", 0.9),
        mu=recipe.get("distillation_weight", 1.0), temp=recipe.get("temperature", 2.0),
        weight_decay=recipe.get("weight_decay", 2e-4), DW=recipe.get("DW", False), **more)
    set_teacher(learner.teacher, recipe["teacher"], batch)
    fill_near(state(learner.model), state(learner.teacher), recipe["model"])
    return learner


def task(recipe):
    old, seen = recipe["old_classes"], recipe["seen_classes"]
    return task_of(-(-old // TASK_SIZE), old, seen, recipe.get("images_per_class", ()))


def labels(recipe, k):
    low = recipe.get("labels_from", recipe["old_classes"])
    return whole(recipe["real_labels"] + 10 * k, low, recipe["seen_classes"])


def learner_case(case, recipe, expected):
    name = LEARNER_OF_CASE[case]
    coreset = LEARNERS[name].takes_coreset and case not in WITHOUT_CORESET  # --DW needs one
    learner = learner_of(name, recipe, images(recipe["calibration"]), memory=2000 if coreset else 0)
    set_bias_layers(learner, recipe)
    if balanced := recipe.get("trained"):
        learner.settings.lr *= 100  # the stage's is a hundredth of the settings'
    this = task(recipe)
    stage = stages_of(learner, this)["balance" if balanced else "learn"]
    enter(learner, stage)
    if learner.settings.DW and not balanced:
        learner.coreset.memory = 0  # the counts are of all that the task learns from
        assert len(stage.batches.data) == len(this.train)  # class weights are made when images are chosen
    for k in range(recipe["steps"]):
        learner.dream = lambda count, seed=recipe["dream"] + 10 * k: dreams(seed)
        losses = step(stage, images(recipe["real"] + 10 * k), labels(recipe, k))
        total = sum(losses.values())
        yield relative(total, expected["total"][k])
        if "distillation" in expected and name not in ("ETE", "LWF_MC"):
            kd = sum(value for name, value in losses.items() if "distillation" in name)
            yield relative(kd, expected["distillation"][k])
            yield relative(total - kd, expected["classification"][k])
    yield fingerprints(learner.model.state_dict(), expected["state"])
    if "stage_two" in recipe:
        yield from bias_stage(learner, this, recipe["stage_two"], expected)


@torch.no_grad()
def set_bias_layers(learner, recipe):
    """bias_of_classes_20_to_39: {"alpha", "beta"} of the task of those classes."""
    for name in recipe:
        if name.startswith("bias_of_classes_"):
            index = int(name.split("_")[3]) // TASK_SIZE
            learner.bias.alpha[index].fill_(recipe[name]["alpha"])
            learner.bias.beta[index].fill_(recipe[name]["beta"])


def bias_stage(learner, this, recipe, expected):
    learner.settings.lr = 100 * recipe["learning_rate"]  # the stage's is a hundredth of the settings'
    stage = stages_of(learner, this)["bias"]
    enter(learner, stage)
    for k in range(recipe["steps"]):
        y = whole(recipe["real_labels"] + 10 * k, 0, this.seen)
        losses = step(stage, images(recipe["real"] + 10 * k), y)
        yield relative(sum(losses.values()), expected["stage_two_loss"][k])
    yield absolute(learner.bias.alpha[this.index], expected["stage_two_alpha"])
    yield absolute(learner.bias.beta[this.index], expected["stage_two_beta"])


def uniform(seed, count, size):
    return torch.from_numpy(np.random.RandomState(seed).uniform(0, 1, (count, 3, size, size)))


def dgr_case(recipe, expected):
    replayed = Autoencoder(*AUTOENCODERS["CIFAR_GEN"])
    fill(state(replayed), recipe["old_generator"])
    with torch.no_grad():
        batch = replayed.decode(normal(recipe["calibration_noise"], BATCH, replayed.latent))
    learner = learner_of("Generative_Replay", recipe, batch, gen_model_name="CIFAR_GEN")
    fill(state(learner.generator), recipe["generator"])
    learner.old_generator.load_state_dict(replayed.state_dict())
    stage = stages_of(learner, task(recipe))["learn"]
    enter(learner, stage)
    for k in range(recipe["steps"]):
        count, draws = BATCH, []
        if recipe["old_classes"]:
            count, draws = 2 * BATCH, [normal(recipe["replay_noise"] + 10 * k, BATCH, replayed.latent)]
            predicted = learner.teach(replayed.decode(draws[0])).argmax(1)
            yield absolute(predicted, expected["replay_labels"][k])
        draws.append(normal(recipe["reparameterisation_noise"] + 10 * k, count, replayed.latent))
        learner.noise = lambda count, draws=draws: draws.pop(0)  # for images, then for their codes
        losses = step(stage, enlarged(uniform(recipe["real"] + 10 * k, BATCH, 4)), labels(recipe, k))
        of_generator = losses["reconstruction"] + losses["divergence"]
        yield relative(of_generator, expected["generator_loss"][k])
        yield relative(sum(losses.values()) - of_generator, expected["total"][k])
    yield fingerprints(learner.model.state_dict(), expected["state"])
    yield fingerprints(learner.generator.state_dict(), expected["generator"])


CHOICES = {"nearest_to_mean": nearest_to_mean, "herding": herding}


def coreset_case(recipe, expected):
    count = recipe["images"]
    y = whole(recipe["dataset_seed"], 0, recipe["classes"], count)
    features = normal(recipe["features_seed"], count, recipe["feature_dim"])
    source = InMemory(torch.zeros(count, 3, 1, 1, dtype=torch.uint8), y, Pixels((0.0,) * 3, (1.0,) * 3))
    for name in expected:
        coreset = Coreset(recipe["memory"])
        for classes, kept in zip(recipe["tasks"], expected[name], strict=True):
            new = Images(source, torch.isin(y, torch.tensor(classes)).nonzero().flatten())
            coreset.rank(new, max(classes) + 1, lambda images: features[images.rows], CHOICES[name])
            yield absolute(coreset.images(source).rows, kept)


def inversion_case(recipe, expected):
    learner = learner_with(
        "AlwaysBeDreaming", model_name="resnet8", gen_model_name="CIFAR_GEN", batch_size=recipe["batch"],
        deep_inv_params=dream_params(recipe, "batch_norm", "class_balance"))
    learner.balance_weight = recipe["weights"]["class_balance"]
    set_teacher(learner.teacher, recipe["teacher"], images(recipe["calibration"]))
    fill(state(learner.generator), recipe["generator"])
    old = recipe["known_classes"]
    stage = stages_of(learner, task_of(-(-old // TASK_SIZE), old, CLASSES))["dream"]

    def take(k):
        yield relative(sum(step(stage).values()), expected["losses"][k])

    yield from dreaming(learner, stage, recipe, expected, take)


@torch.no_grad()
def forward_case(recipe, expected):
    model, autoencoder = ResNet(RESNETS["resnet32"], CLASSES), Autoencoder(*AUTOENCODERS["CIFAR_GEN"])
    fill(state(model.eval()), recipe["model"])
    fill(state(autoencoder.eval()), recipe["autoencoder"])
    x = images(recipe["images"])[:8]
    yield absolute(model.features(x)[0, :8], expected["resnet32_features"])
    yield absolute(model(x)[0, :8], expected["resnet32_logits"])
    counts = {"resnet32": parameters(model), "autoencoder": parameters(autoencoder)}
    for name in ("CIFAR_GEN", "TINYIMNET_GEN", "IMNET_GEN"):
        count, made = generated(name, recipe["generator"], recipe["noise"])
        counts.setdefault("generator", count)  # CIFAR_GEN's
        for mode, got in made.items():
            yield from shape_and_values(got, expected[f"{name}_{mode}"])
    for name, count in expected["parameters"].items():
        yield absolute(counts[name], count)
    mean, logvar = autoencoder.encode(uniform(recipe["images"], 4, 32))
    want = expected["autoencoder"]
    yield relative(autoencoder.decode(mean).norm(), want["recon"])
    yield relative(mean.norm(), want["mu"])
    yield relative(logvar.norm(), want["logvar"])


def class_order_case(recipe, expected):
    for name in expected:
        order, (dataset, _, which) = expected[name], name.partition("/")
        classes = 1000 if dataset == "ImageNet" else len(order)
        for repeat in [int(which.removeprefix("seed"))] if which.startswith("seed") else range(3):
            yield absolute(class_order(dataset, classes, repeat)[: len(order)], order)


CASES = {
    **{name: partial(learner_case, name) for name in LEARNER_OF_CASE},
    "forward": forward_case, "class_order": class_order_case, "inversion": inversion_case, "dgr": dgr_case,
    "coreset": coreset_case}


def case_of(name):
    """What replays the case ``name``: one of CASES, the longest that it is or begins with before a "_"."""
    fitting = [known for known in CASES if f"{name}_".startswith(f"{known}_")]
    return CASES[max(fitting, key=len)] if fitting else None
