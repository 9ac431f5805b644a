"""Layers placed on processes without a schedule: a pipeline with one micro-batch. One process computes while the others
wait, so that the table shows what micro-batches buy."""

from pipelines.strategies.pipeline import Pipeline

make_strategy = Pipeline
