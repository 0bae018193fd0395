"""The programs that run on the VM: the OpenSees-MP front end and the result push. They need the standard library and the image's packages."""
