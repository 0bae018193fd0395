"""What a jobs file names on this computer and in the bucket: the preflight, the definition of a batch, its input files.

The meaning of the file is defined in ``model.batch``. No VM and no stack is touched here.
"""

from runner.jobsfile.definition import Definition, load_definition, open_batches, save_definition
from runner.jobsfile.input_files import forget_inputs, forget_inputs_of_gone
from runner.jobsfile.preflight import CheckedBatch, JobInputs, check_batch

__all__ = [
    "CheckedBatch",
    "Definition",
    "JobInputs",
    "check_batch",
    "forget_inputs",
    "forget_inputs_of_gone",
    "load_definition",
    "open_batches",
    "save_definition",
]
