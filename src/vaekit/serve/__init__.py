"""Models as a service over HTTP. It needs no PyTorch where it serves exported models: `vaekit serve FOLDER`.

models.py      what is served: the tasks of each model
operations.py  what can be asked of a model: what goes in, what comes out, as JSON Schemas
media.py       bodies that are files: .npy, PNG, WAV, Arrow
batcher.py     a thread that moves all tasks forward that wait
app.py         routes, and the description of all of it (OpenAPI)
protocol.py    a second face: the Open Inference Protocol
guard.py       who may ask, and what is counted
server.py      the process: its port, patience with clients, and its end
"""
