"""The verbs, a module each: ``run``, ``attach``, ``extend``, ``results``, ``build``, ``status``, ``cleanup``, ``receipt``, ``setup``.

They are handed ready-made parts (``runner.context``); none prints, and none reads the environment. A mechanism that two verbs need has a
room of its own.
"""
