"""Node: one process's place in the network, where the rooms are joined."""

from labc.node.details import FunctionInfo, NodeInfo, TopicDetails
from labc.node.faces import Face, Verbs
from labc.node.node import Node
from labc.node.process import process
from labc.node.runtime import Runtime
from labc.node.verbs import AsyncVerbs, Operation, Registering, run_operation

__all__ = [
    "AsyncVerbs",
    "Face",
    "FunctionInfo",
    "Node",
    "NodeInfo",
    "Operation",
    "Registering",
    "Runtime",
    "TopicDetails",
    "Verbs",
    "process",
    "run_operation",
]
