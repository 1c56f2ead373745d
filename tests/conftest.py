"""What every test gets: one thread, one seed, and no network beyond this machine."""

import os

# Set before torch is first imported: two cores are shared by the suite, the lessons' kernels and a browser.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import ipaddress
import random
import socket

import hypothesis
import jaxtyping
import pytest
import torch

# A loaded machine must not fail a property by its deadline, and CI must see the examples a developer sees.
hypothesis.settings.register_profile("clexlab", deadline=None, derandomize=True)
hypothesis.settings.load_profile("clexlab")

LOOPBACK_NAMES = {"localhost", "", None}


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(host: object) -> None:
    if not _is_loopback(host):
        raise RuntimeError(f"a test tried to reach {host!r}; tests use no network beyond this machine")


@pytest.fixture(autouse=True, scope="session")
def loopback_only():
    """Connections and name look-ups may only name this machine; local sockets of the kernel and the browser pass."""
    patch = pytest.MonkeyPatch()
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def checked(original):
        def call(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6):
                _refuse(address[0])
            return original(self, address)

        return call

    def checked_getaddrinfo(host, *args, **kwargs):
        _refuse(host)
        return getaddrinfo(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", checked(connect))
    patch.setattr(socket.socket, "connect_ex", checked(connect_ex))
    patch.setattr(socket, "getaddrinfo", checked_getaddrinfo)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def seeded():
    """Global generators start equal in every test, so order does not matter; clexlab's samplers take their own."""
    import numpy

    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture
def generator() -> torch.Generator:
    """A fresh generator with a fixed seed."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def unchecked():
    """Without the suite's own type checks: what a user of the package meets when a value has the wrong type or shape."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
