"""What runs on the VM: the OpenSees-MP front end and the result push. Standard library, and what the image installs beside it."""
