"""What turns a dataset into a model artefact, one package per modality."""
