"""YOLO segmentation and detection for ROS 2 robots: one picture in, one set of detections out."""

__version__ = '0.1.0'
