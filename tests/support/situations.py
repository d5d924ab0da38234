"""Every situation that the operator decides about, as a sentence with what is to be said of it."""

from tests.support.situation import Situations
from tests.support.situations_before import BEFORE
from tests.support.situations_running import RUNNING

SITUATIONS: Situations = {**RUNNING, **BEFORE}
