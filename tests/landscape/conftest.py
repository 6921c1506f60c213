import pytest
from closed_forms import TABLE


@pytest.fixture(scope="session")
def seed():
    """The seed of every random test."""
    return 20_240


@pytest.fixture(scope="session", params=TABLE)
def closed_form(request):
    """Each posterior of the table whose modes and Hessian are known."""
    return TABLE[request.param]


@pytest.fixture(scope="session")
def found(closed_form):
    """Its modes, by 300 samples."""
    import lanternfish as lf

    return lf.landscape.modes(closed_form, samples=300, seed=1)
