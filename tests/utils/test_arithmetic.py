import pytest
import torch
from conftest import LEARNERS, serve
from torch import nn
from torch.nn import functional as F

from learners import build_learner, cwd
from learners.dreaming import mirrored, smoothness
from utils.arithmetic import exact, memory_format, set_deterministic, set_precision
from utils.settings import Settings
from utils.streams import Streams

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def as_before():
    yield
    set_precision("fp32")
    set_deterministic(False)


def products():
    return {torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision}


@pytest.mark.parametrize(("precision", "found"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_precision_of_float32_products(as_before, precision, found):
    set_precision(precision)
    assert products() == {found}


def test_what_is_measured_is_of_full_precision_and_training_goes_on_as_it_was(as_before, problem):
    learner, (task, _) = problem("NormalNN", precision="tf32")
    set_precision("tf32")
    seen = []
    with learner.evaluating():
        learner.model.last.register_forward_hook(lambda *_: seen.append(products()))
        learner.predict(torch.zeros(2, 3, 32, 32))
    assert seen == [{"ieee"}] and products() == {"tf32"}
    with pytest.raises(ZeroDivisionError), exact():
        raise ZeroDivisionError
    assert products() == {"tf32"}


def test_the_statistics_that_cwd_keeps_are_of_full_precision(as_before, problem, monkeypatch):
    learner, (task, _) = problem("CwD", precision="tf32")
    set_precision("tf32")
    seen, plain = [], cwd.class_statistics
    monkeypatch.setattr(cwd, "class_statistics", lambda *given: seen.append(products()) or plain(*given))
    learner.start_task(task)
    learner.keep_statistics(task)
    assert seen == [{"ieee"}]


@pytest.mark.parametrize(("asked", "precision", "device", "found"), [
    ("auto", "fp32", CPU, torch.channels_last), ("auto", "bf16", CPU, torch.channels_last),
    ("auto", "fp32", GPU, torch.contiguous_format), ("auto", "tf32", GPU, torch.contiguous_format), ("auto", "bf16", GPU, torch.channels_last),
    ("channels_last", "fp32", GPU, torch.channels_last), ("contiguous", "bf16", GPU, torch.contiguous_format),
    ("contiguous", "fp32", CPU, torch.contiguous_format)])
def test_the_memory_format(asked, precision, device, found):
    assert memory_format(Settings(memory_format=asked, precision=precision), device) is found


def layouts(learner, stage):
    """Of the maps that the learned networks' convolutions make in a step of the stage, whether they are channels_last; and the losses."""
    seen = set()
    hooks = [
        module.register_forward_hook(lambda module, given, out: seen.add(out.is_contiguous(memory_format=torch.channels_last)))
        for module in learner.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]
    terms = stage.loss(*next(serve(stage.batches)))
    for hook in hooks:
        hook.remove()
    return seen, torch.stack(list(terms.values())).detach()


@pytest.mark.parametrize("name", LEARNERS)
def test_losses_do_not_depend_on_the_memory_format_and_all_maps_have_it(problem, name):
    found = {}
    for asked in ("channels_last", "contiguous"):
        learner, tasks = problem(name, memory_format=asked, train_aug=True)
        learner.end_task(tasks[0])
        learner.begin_task(tasks[1])
        learner.start_task(tasks[1])
        for stage in learner.stages(tasks[1]):
            stage.trained.train()
            seen, losses = layouts(learner, stage)
            assert seen <= {asked == "channels_last"}, stage.name
            found.setdefault(stage.name, []).append(losses)
    for mine, other in found.values():
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_deterministic_asks_torch_for_it_and_not_asking_gives_it_up(as_before, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_deterministic(True)
    assert torch.are_deterministic_algorithms_enabled()
    set_deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("size", "width"), [((7, 9), 2), ((3, 3), 2), ((6, 5), 1)])
def test_images_are_mirrored_at_their_border_with_and_without_determinism(as_before, size, width):
    images = torch.randn(2, 3, *size, dtype=torch.double, requires_grad=True)
    plain = F.pad(images, (width,) * 4, mode="reflect")
    weight = torch.randn_like(plain)
    gradient, = torch.autograd.grad((plain * weight).sum(), images)
    for asked in (False, True):
        set_deterministic(asked)
        mine = mirrored(images, width)
        assert torch.equal(mine, plain)
        torch.testing.assert_close(torch.autograd.grad((mine * weight).sum(), images)[0], gradient)


def test_a_run_on_a_cpu_is_the_same_with_determinism_but_for_smoothness_in_the_last_digits(as_before):
    images = torch.randn(4, 3, 32, 32)
    plain = smoothness(images)
    set_deterministic(True)
    torch.testing.assert_close(smoothness(images), plain, rtol=1e-6, atol=0)


def test_the_weights_that_a_learner_begins_with_have_the_memory_format():
    for asked, form in (("channels_last", torch.channels_last), ("contiguous", torch.contiguous_format)):
        settings = Settings(dataset="Digits", model_name="resnet8", memory_format=asked)
        assert build_learner(settings, Streams(CPU), CPU, 0).model.layer2[0].conv1.weight.is_contiguous(memory_format=form)
