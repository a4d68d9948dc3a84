"""Many builds at once: jobs known by what they are, done locally or on a Dask cluster, their results in one SQLite file.

``jobs`` says what a job is, ``child`` does one in a process of its own, which ``leash`` ties to the one that started it,
``worker`` is what a thread or a Dask worker runs, ``pools`` keeps many going, ``store`` is the file, ``plot`` the picture.
"""
