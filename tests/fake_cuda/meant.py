"""Where a trial reads from the device, and copies into another layout, because it has to."""

MEANT = {
    ("sync", "preprocess", "pipelines/data/preprocess.py"): "its mean and standard deviation",
    ("sync", "preprocess", "pipelines/data/order.py"): "the weights of the classes, which are checked",
    ("sync", "build", "pipelines/techniques/batch_selection.py"): "the proxy, which is drawn on the host",
    ("sync", "build", "pipelines/models/layers.py"): "the eigenvectors of its whitening",
    ("sync", "build", "pipelines/models/torchvision.py"): "counters of its norms, which torchvision makes on the host",
    ("sync", "build", "pipelines/probes/layer_scales.py"): "a measurement of the untrained network",
    ("sync", "whiten", "pipelines/data/resident.py"): "the images of loaders that keep them on the host",
    ("sync", "whiten", "pipelines/data/preprocess.py"): "the mean and standard deviation, for the plain images",
    ("sync", "whiten", "pipelines/models/layers.py"): "cuSOLVER's eigenvectors",
    ("sync", "pretrain", "pipelines/data/preprocess.py"): "the images that have no labels",
    ("sync", "pretrain", "pipelines/techniques/contrastive.py"): "a network of its own",
    ("sync", "pretrain", "pipelines/techniques/distillation.py"): "the teacher, and its accuracy",
    ("sync", "pretrain", "pipelines/techniques/masked_image.py"): "a network of its own",
    ("sync", "pretrain", "pipelines/techniques/pretrained.py"): "a network of its own",
    ("sync", "pretrain", "pipelines/techniques/pretraining.py"): "the losses, when the pretraining has ended",
    ("sync", "augment", "pipelines/data/preprocess.py"): "the mean and standard deviation of a pool, once a trial",
    ("sync", None, "pipelines/losses.py"): "the losses of an epoch, when it has ended",
    ("sync", "evaluate", "pipelines/evaluate.py"): "the counts, when all images have been classified",
    ("sync", "final_evaluate", "pipelines/evaluate.py"): "the same",
    ("sync", None, "pipelines/techniques/fixmatch.py"): "a note for the record, when the training has ended",
    ("lists", "train", "pipelines/optim/lamb.py"): "a factor for each tensor",
    ("lists", "train", "pipelines/optim/lars.py"): "the same",
    ("layout", "train", "pipelines/data/torchvision_loader.py"): "torchvision's images have their channels first",
    ("layout", "train", "pipelines/models/classifier.py"): "the features after the last convolution, flattened",
}
"""Reads by the host and copies that belong to a trial, by kind, lap (None: between two) and file."""
