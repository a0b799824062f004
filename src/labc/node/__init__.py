"""Node: one process's place in the network, where the rooms are joined."""

from labc.node.details import FunctionInfo, NodeInfo, TopicDetails
from labc.node.faces import Face, OnEnd, OnItem, Verbs
from labc.node.files import (
    CONNECTIONS,
    AsyncFiles,
    DiskUsage,
    FileInfo,
    Files,
    FileWork,
    Paths,
    ShareInfo,
    file_checksum,
)
from labc.node.maps import Map, MapWish
from labc.node.node import Node
from labc.node.process import process
from labc.node.runtime import Runtime
from labc.node.streams import Stream, StreamWatch, StreamWish, check_callbacks
from labc.node.values import Wish
from labc.node.verbs import AsyncAt, AsyncVerbs, Operation, Registering, RemoteFunction, run_operation
from labc.node.watching import Callback, NodeEvents, NodeWatch, check_callback

__all__ = [
    "CONNECTIONS",
    "AsyncAt",
    "AsyncFiles",
    "AsyncVerbs",
    "Callback",
    "DiskUsage",
    "Face",
    "FileInfo",
    "FileWork",
    "Files",
    "FunctionInfo",
    "Map",
    "MapWish",
    "Node",
    "NodeEvents",
    "NodeInfo",
    "NodeWatch",
    "OnEnd",
    "OnItem",
    "Operation",
    "Paths",
    "Registering",
    "RemoteFunction",
    "Runtime",
    "ShareInfo",
    "Stream",
    "StreamWatch",
    "StreamWish",
    "TopicDetails",
    "Verbs",
    "Wish",
    "check_callback",
    "check_callbacks",
    "file_checksum",
    "process",
    "run_operation",
]
