"""The platform: jobs, not science.

    jobs        the job, its states and legal moves: no input or output
    store       all SQL of the house, and the blobs
    analyses    entry points -> manifests: form schema, inputs, outputs, documentation
    worker      lease -> environment -> child process -> log stream -> publish
    server      pages, API, event stream, uploads
    web         templates, stylesheet, small scripts

No room of this wing imports the science, NumPy or JAX: analyses run in child processes, so that a
server starts at once and no analysis can break it. `server` and `worker` meet only in the store.
"""
