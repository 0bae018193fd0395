"""The verbs, a module each: ``run``, ``attach``, ``extend``, ``results``, ``build``, ``status``, ``cleanup``, ``receipt``, ``setup``.

They are handed parts that are ready to use (``runner.context``); none prints, and none reads the environment. A mechanism that two
verbs need has a package of its own.
"""
