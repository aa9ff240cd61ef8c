"""The methods of class activation maps that go through the `grad-cam` package."""

from __future__ import annotations

from ralr_viz.analysis.cam.ablation import Ablation
from ralr_viz.analysis.cam.method import Method

# A raw map is h·w times the package's: that makes Grad-CAM's, which averages its gradients over the map, the closed
# form of a network that ends in global average pooling. Each entry says what units this leaves.
METHODS = {
    method.key: method
    for method in (
        # the target's logit: the closed form where there is one
        Method("gradcam", "GradCAM"),
        # the logit times weights of its own
        Method("gradcam++", "GradCAMPlusPlus"),
        # the logit, without what speaks against the class
        Method("layercam", "LayerCAM"),
        # the logit: of each channel and place, what the network would lose there were it linear
        Method("hirescam", "HiResCAM"),
        # the logit: Grad-CAM with gradients averaged where the channel is active; it divides by the channel's sum
        Method("xgradcam", "XGradCAM"),
        # the layer's activation, projected
        Method(
            "eigencam",
            "EigenCAM",
            gradient=False,
            empty_tells=False,
            note="Eigen-CAM is the layer's first principal component: no class is explained, its sign is arbitrary",
        ),
        # the layer's activation: a mean of the channels with positive weights
        Method("scorecam", "ScoreCAM", gradient=False, per_channel=True, empty_tells=False),
        # the layer's activation: the share of the logit that a channel makes up, times the channel
        Ablation("ablationcam", "AblationCAM", gradient=False, per_channel=True),
    )
}
"""By key, in the order of METHOD_NAMES, which has the closed form ``cam`` before them."""
