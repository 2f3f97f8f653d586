"""The simulated directory, under the name that the tests of the storage know it by."""

from harness.sim.disk import POLICIES, SECTOR, Inode, PowerLoss, SimDirectory, SimFile

__all__ = ["POLICIES", "SECTOR", "Inode", "PowerLoss", "SimDirectory", "SimFile"]
