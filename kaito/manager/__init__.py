"""The live driver: threads and the wall clock around the pieces of the runtime, which have neither.

`Informers` keep the caches, a `Controller` runs its workers on one workqueue, a `Timer` acts at intervals,
and the `Manager` starts and ends them together. What they drive is the code that the simulator drives too.
"""
