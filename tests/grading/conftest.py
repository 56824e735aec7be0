import numpy as np
import pytest

from itm.grading import fit_calibrator


class World:
    """Images and captions of which it is known which are true: s = T x true + noise, d = -log q + noise.

    q, the share of images that a caption fits, runs from 1/2 to 1/100; a caption's own image is a random one of those.
    """

    def __init__(self, images=300, captions=5, separation=4.0, seed=0):
        rng = np.random.default_rng(seed)
        count = images * captions
        self.q = np.exp(rng.uniform(np.log(0.01), np.log(0.5), count))
        self.truth = rng.random((images, count)) < self.q
        self.truth[rng.integers(images, size=count), np.arange(count)] = True
        self.owners = np.array([rng.choice(np.flatnonzero(column)) for column in self.truth.T])
        self.s = 0.1 * (separation * self.truth + rng.standard_normal(self.truth.shape))
        self.d = -np.log(self.q) + 0.5 * rng.standard_normal(count)
        self.calibrator = fit_calibrator(self.s, self.owners, self.d, model="a model", idf="an idf")


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture(scope="session")
def make_world():
    return World
