"""The systems that can be tested: how to install, start and speak to each."""
