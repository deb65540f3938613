"""Spinning, in one place because the executors differ between ROS distributions."""

import threading

import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node

# Python runs its signal handlers only between two calls, so this bounds the reaction to a signal.
SPIN_SECS = 0.2


def make_executor() -> Executor:
    """The executor that costs the least: events where rclpy has it (Jazzy and newer)."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def spin(node: Node, stop: threading.Event) -> None:
    """Serve a node until ``stop`` is set or rclpy is shut down."""
    executor = make_executor()
    executor.add_node(node)
    while rclpy.ok() and not stop.is_set():
        # Never without a time limit: some builds of EventsExecutor would not wake up.
        executor.spin_once(timeout_sec=SPIN_SECS)
    executor.remove_node(node)
