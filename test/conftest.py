"""Settings that all tests share."""
from hypothesis import settings

# The same examples everywhere, and no time limit on a busy robot.
settings.register_profile('package', deadline=None, derandomize=True)
settings.load_profile('package')
