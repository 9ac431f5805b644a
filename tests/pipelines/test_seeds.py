import torch

from pipelines.seeds import kept_generators


def test_draws_are_undone_on_the_host_and_on_the_gpu_that_draws(monkeypatch):
    asked, restored = [], []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: asked.append(device) or "state")
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: restored.append((state, device)))
    gpu = torch.device("cuda", 1)
    for device in (torch.device("cpu"), gpu):
        before = torch.get_rng_state()
        with kept_generators(device):
            torch.rand(3)
        assert torch.equal(torch.get_rng_state(), before)
    assert asked == [gpu]
    assert restored == [("state", gpu)]
