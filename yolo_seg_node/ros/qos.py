"""Quality of service: what we offer, and what we ask of cameras."""

from typing import List, Sequence

from rclpy.qos import (
    DurabilityPolicy, HistoryPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy,
    qos_check_compatible)
from rclpy.topic_endpoint_info import TopicEndpointInfo

# Reliable, because that suits every subscriber; a few deep, so that an array and its masks are
# still there together for one that is late.
RESULTS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
LABELS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                    durability=DurabilityPolicy.TRANSIENT_LOCAL)


def following(publishers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """Ask for the best that all publishers offer, and only for the newest picture.

    With no publisher yet it is sensor data: best effort and volatile, which suits every publisher.
    """
    offers = [publisher.qos_profile for publisher in publishers]
    reliable = offers and all(o.reliability == ReliabilityPolicy.RELIABLE for o in offers)
    kept = offers and all(o.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE)


def incompatible(publishers: Sequence[TopicEndpointInfo],
                 wanted: QoSProfile) -> List[TopicEndpointInfo]:
    """The publishers from which a subscription with ``wanted`` gets nothing."""
    return [publisher for publisher in publishers
            if qos_check_compatible(publisher.qos_profile, wanted)[0] == QoSCompatibility.ERROR]
