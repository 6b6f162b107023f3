"""One module per family of tasks. Each offers TASKS: model name -> function(Context, model name) -> [Metric].

The pre- and post-processing is that of the MANIFEST.md beside the models.
"""

import collections

from tasks import audio, detection, images, ocr, text


class Context:
    """What a task may ask for: a session on a model of the collection, and the labelled data."""

    def __init__(self, collection, open_session):
        self.collection = collection
        self.data = collection.data
        self._open = open_session
        self._sessions = {}

    def session(self, name):
        """The session on this model; opened once."""
        if name not in self._sessions:
            self._sessions[name] = self._open(self.collection.path(name))
        return self._sessions[name]

    def run(self, name, *arrays):
        """Runs the model on its inputs in the file's order; returns the outputs in the file's order."""
        session = self.session(name)
        outputs = session.run({port.name: array for port, array in zip(session.inputs, arrays, strict=True)})
        return [outputs[port.name] for port in session.outputs]


TASKS = dict(collections.ChainMap(images.TASKS, detection.TASKS, text.TASKS, ocr.TASKS, audio.TASKS))
