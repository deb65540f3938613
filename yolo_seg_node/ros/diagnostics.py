"""The state of the node on ``/diagnostics``, once a second."""

import time
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from ..scheduler import Counts
from .session import CameraReport, Session

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
Verdict = Tuple[bytes, str]


class _Rates(NamedTuple):
    """Pictures per second since the last report."""

    received: float
    published: float
    refused: float


class Diagnostics:
    """Publishes the reports of a session, or why there is none."""

    def __init__(self, node: Node) -> None:
        self._node = node
        # "node: part" by convention; the namespace tells the nodes of several robots apart.
        self._prefix = node.get_fully_qualified_name().strip('/').removesuffix('_node') + ': '
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._last: Dict[str, Counts] = {}
        self._last_secs = time.monotonic()

    def publish(self, session: Optional[Session], verdict: Verdict) -> None:
        """Send the state.

        :param verdict: level and sentence about the node as a whole.
        """
        now_secs = time.monotonic()
        elapsed_secs, self._last_secs = max(now_secs - self._last_secs, 1e-3), now_secs
        reports = session.reports() if session else []
        stall = session.stall(reports) if session else None
        if stall:
            verdict = (WARN, stall)
        message = DiagnosticArray(status=[_runtime_status(session, verdict)])
        message.header.stamp = self._node.get_clock().now().to_msg()
        for report in reports:
            message.status.append(_camera_status(report, self._rates(report, elapsed_secs)))
        for status in message.status:
            status.name = self._prefix + status.name
        self._last = {report.name: report.counts for report in reports}
        self._publisher.publish(message)

    def _rates(self, report: CameraReport, elapsed_secs: float) -> _Rates:
        last = self._last.get(report.name) or Counts(0, 0, 0, {}, 0)
        new = report.counts
        return _Rates((new.received - last.received) / elapsed_secs,
                      (new.published - last.published) / elapsed_secs,
                      (sum(new.refused.values()) - sum(last.refused.values())) / elapsed_secs)


def _runtime_status(session: Optional[Session], verdict: Verdict) -> DiagnosticStatus:
    values = session.describe() if session else {}
    return _status('runtime', verdict, values.get('runtime', ''), values)


def _camera_status(report: CameraReport, rates: _Rates) -> DiagnosticStatus:
    counts, window = report.counts, report.window
    values = {
        'topic': report.topic,
        'input_rate_hz': f'{rates.received:.1f}',
        'output_rate_hz': f'{rates.published:.1f}',
        'received': counts.received,
        'published': counts.published,
        'dropped': counts.dropped,
        'refused': sum(counts.refused.values()),
        **{f'refused_{cause}': count for cause, count in counts.refused.items()},
        'in_flight': counts.in_flight,
    }
    if window.age_ns:
        values['age_p50_ms'] = f'{np.median(window.age_ns) / 1e6:.1f}'
        values['age_max_ms'] = f'{max(window.age_ns) / 1e6:.1f}'
    for stage, median_ms in window.stage_medians_ms().items():
        values[f'{stage}_ms'] = f'{median_ms:.2f}'
    return _status(f'camera {report.name}', _verdict(report, rates), report.topic, values)


def _verdict(report: CameraReport, rates: _Rates) -> Verdict:
    if report.silence:
        return WARN, report.silence
    if rates.refused:
        level = WARN if rates.published else ERROR
        return level, f'{rates.refused:.1f} pictures/s are refused: {report.window.refusal}'
    return OK, f'{rates.received:.1f} pictures/s in, {rates.published:.1f} results/s out'


def _status(part: str, verdict: Verdict, hardware_id: str,
            values: Dict[str, object]) -> DiagnosticStatus:
    level, sentence = verdict
    pairs: List[KeyValue] = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=part, message=sentence,
                            hardware_id=hardware_id, values=pairs)
