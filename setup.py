"""Install the package: with colcon in a ROS 2 workspace, or with pip anywhere."""
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'yolo_seg_node'
SHARE = Path('share') / NAME
# the bag tools work without ROS 2, so they bring along the message definitions that they write
SHARED_FILES = ('package.xml', 'launch/*.launch.py', 'config/**/*', 'resource/demo/**/*',
                'environment/msg/vision_msgs/msg/*.msg')
TEST_REQUIREMENTS = ['hypothesis', 'pytest']


def data_files() -> list[tuple[str, list[str]]]:
    """Return (target folder, files) of everything installed outside the Python package."""
    folders = {'share/ament_index/resource_index/packages': [f'resource/{NAME}']}
    for pattern in SHARED_FILES:
        for path in sorted(Path().glob(pattern)):
            if path.is_file():
                folders.setdefault(str(SHARE / path.parent), []).append(str(path))
    return list(folders.items())


setup(
    name=NAME,
    version='0.1.0',
    description='YOLO instance segmentation and detection on robots with ROS 2',
    license='Apache-2.0',
    maintainer='yolo_seg_node maintainers',
    maintainer_email='noreply@example.com',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    data_files=data_files(),
    python_requires='>=3.10',
    install_requires=['jsonschema', 'numpy>=1.21', 'opencv-python-headless>=4.5', 'pyyaml'],
    # colcon runs pytest if it finds it in tests_require (Humble) or in extras_require (newer ones)
    tests_require=TEST_REQUIREMENTS,
    extras_require={
        'test': TEST_REQUIREMENTS,
        'dask': ['distributed'],
        'evaluate': ['pycocotools'],
        'export': ['onnx', 'onnxruntime'],
        'onnxruntime': ['onnxruntime'],
        'replay': ['mcap', 'mcap-ros2-support', 'rosbags', 'tqdm'],
    },
    entry_points={
        'console_scripts': [
            'yolo_seg_node = yolo_seg_node.ros.node:main',
            'yolo_seg = yolo_seg_node.tools.cli:main',
        ],
    },
)
