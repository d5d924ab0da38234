"""Every situation that the operator decides about, as a sentence with the expected report."""

from tests.support.operator.situation import Situations
from tests.support.operator.situations_before import BEFORE
from tests.support.operator.situations_running import RUNNING

SITUATIONS: Situations = {**RUNNING, **BEFORE}
