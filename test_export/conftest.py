"""What all of these tests share: ultralytics must not write into the home folder."""
import os
import tempfile

os.environ.update(YOLO_CONFIG_DIR=tempfile.mkdtemp(), YOLO_OFFLINE='True', YOLO_AUTOINSTALL='False')
