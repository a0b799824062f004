"""Why two computers do not find each other, or not as they should: examined, and told with what to do."""

from labc.doctor.diagnosis import Diagnosis, diagnose
from labc.doctor.examination import examine
from labc.doctor.report import Computer, Here, Report, Target

__all__ = ["Computer", "Diagnosis", "Here", "Report", "Target", "diagnose", "examine"]
